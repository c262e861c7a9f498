"""Who speaks: global-aware filters (DS-TDNN) and ECAPA-TDNN, trained and used on recordings."""

from ._audio import (
    Voices as Voices,
    load_voices as load_voices,
    read_wave as read_wave,
    resampled as resampled,
    voices_of as voices_of,
)
from ._augment import crop as crop, spec_augment as spec_augment
from ._ds_tdnn import (
    DS_B as DS_B,
    DS_L as DS_L,
    DS_S as DS_S,
    DSTDNN as DSTDNN,
    DSConfig as DSConfig,
)
from ._dynamic_filter import DynamicFilter as DynamicFilter
from ._ecapa import (
    ECAPA as ECAPA,
    ECAPA_512 as ECAPA_512,
    ECAPA_1024 as ECAPA_1024,
    ECAPA_L as ECAPA_L,
    ECAPAConfig as ECAPAConfig,
)
from ._features import log_mel as log_mel, normalised as normalised
from ._figures import (
    draw_errors as draw_errors,
    draw_filters as draw_filters,
    draw_scores as draw_scores,
)
from ._global_filter import GlobalFilter as GlobalFilter
from ._make import filters as filters, macs_per_frame as macs_per_frame, make as make
from ._margin import AAMSoftmax as AAMSoftmax
from ._prints import (
    embeddings as embeddings,
    score as score,
    trials as trials,
    voiceprints as voiceprints,
)
from ._recogniser import (
    Recogniser as Recogniser,
    load as load,
    load_prints as load_prints,
    save as save,
    save_prints as save_prints,
)
from ._resemblyzer import Resemblyzer as Resemblyzer, load_resemblyzer as load_resemblyzer
from ._scores import (
    EqualError as EqualError,
    ErrorRates as ErrorRates,
    equal_error as equal_error,
    error_rates as error_rates,
    min_dcf as min_dcf,
)
from ._synthetic import espeak_voice as espeak_voice, formant_voice as formant_voice
from ._training import Trained as Trained, train as train
