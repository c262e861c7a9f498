"""Many fits of one problem to parts of its own samples: what one fit alone cannot say."""

from ._bootstrap import Bootstrap as Bootstrap, bootstrap as bootstrap
from ._cross_validate import CrossValidation as CrossValidation, cross_validate as cross_validate
from ._stability_selection import (
    StabilitySelection as StabilitySelection,
    stability_selection as stability_selection,
)
