"""Sparsity for neural networks: patterns, masks, training with them and pruning after it."""

from ._block import Block as Block
from ._bordered_conv import BorderedConv as BorderedConv
from ._channel import Channel as Channel
from ._cost import Cost as Cost, cost as cost
from ._distributions import erk as erk, uniform as uniform
from ._drop_and_grow import drop_and_grow as drop_and_grow
from ._factorisation import Factorised as Factorised, factorise as factorise
from ._layerwise import (
    LayerwiseResult as LayerwiseResult,
    output_error as output_error,
    prune_layerwise as prune_layerwise,
)
from ._macs import count_macs as count_macs
from ._masks import (
    apply_masks as apply_masks,
    magnitude_masks as magnitude_masks,
    masks_of as masks_of,
    straight_through as straight_through,
)
from ._methods import Refitted as Refitted
from ._nm import NM as NM
from ._packed_conv import PackedConv2d as PackedConv2d, pack_columns as pack_columns
from ._pattern import AbstractPattern as AbstractPattern
from ._penalise import penalise as penalise
from ._prox_updates import ProxState as ProxState, prox_updates as prox_updates
from ._prune_updates import PruneState as PruneState, prune_updates as prune_updates
from ._refit import refit as refit
from ._report import (
    LeafSparsity as LeafSparsity,
    SparsityReport as SparsityReport,
    sparsity_report as sparsity_report,
)
from ._schedules import constant as constant, cubic as cubic, one_shot as one_shot
from ._scores import (
    magnitude as magnitude,
    obs_scores as obs_scores,
    random_scores as random_scores,
    saliency as saliency,
    snip as snip,
    wanda_scores as wanda_scores,
)
from ._sds import sds as sds
from ._shared_masks import shared_masks as shared_masks
from ._slim import slim as slim
from ._sparse_linear import SparseLinear as SparseLinear
from ._sparsegpt import sparsegpt as sparsegpt
from ._statistics import InputStatistics as InputStatistics
from ._unstructured import Unstructured as Unstructured
from ._wanda import wanda as wanda
