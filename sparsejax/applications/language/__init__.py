"""Language models: Llama, GPT-2 and OPT from files, perplexity, and pruning block by block."""

from ._gpt import GPT as GPT, GPTConfig as GPTConfig
from ._llama import Llama as Llama, LlamaConfig as LlamaConfig
from ._load import (
    load as load,
    load_tokeniser as load_tokeniser,
    save as save,
    smollm2_path as smollm2_path,
)
from ._model import AbstractLanguageModel as AbstractLanguageModel
from ._perplexity import (
    chunks as chunks,
    cross_entropy as cross_entropy,
    perplexity as perplexity,
)
from ._prune import Pruned as Pruned, prune as prune
