"""Solvers: each a first-class peer and a check on the others."""

from ._auto import Auto as Auto
from ._base import AbstractSolver as AbstractSolver
from ._bregman import Bregman as Bregman
from ._coordinate_descent import CoordinateDescent as CoordinateDescent
from ._fista import FISTA as FISTA
from ._gram import AbstractGramSolver as AbstractGramSolver
from ._gram_coordinate_descent import GramCoordinateDescent as GramCoordinateDescent
from ._gram_fista import GramFISTA as GramFISTA
from ._hard_thresholding import HardThresholdingPursuit as HardThresholdingPursuit
from ._irls import IRLS as IRLS
from ._local_search import LocalSearch as LocalSearch
from ._lockstep import Lockstep as Lockstep
from ._multi_stage import MultiStage as MultiStage
from ._polished_fista import PolishedFISTA as PolishedFISTA
from ._primal_dual import PrimalDual as PrimalDual
from ._prox_newton import ProxNewton as ProxNewton
from ._semismooth_newton import SemismoothNewton as SemismoothNewton
from ._varpro import VarPro as VarPro
from ._working_set import WorkingSet as WorkingSet
