"""Estimators for scikit-learn: its interface and meanings, certified solutions."""

from ._basis_pursuit import BasisPursuit as BasisPursuit
from ._concave import (
    CappedL1Regression as CappedL1Regression,
    MCPRegression as MCPRegression,
    SCADRegression as SCADRegression,
)
from ._concave_cv import MCPRegressionCV as MCPRegressionCV, SCADRegressionCV as SCADRegressionCV
from ._cox_lasso import CoxLasso as CoxLasso
from ._elastic_net import ElasticNet as ElasticNet, ElasticNetCV as ElasticNetCV
from ._generalized import GeneralizedLinearEstimator as GeneralizedLinearEstimator
from ._generalized_cv import GeneralizedLinearEstimatorCV as GeneralizedLinearEstimatorCV
from ._graphical_lasso import (
    AdaptiveGraphicalLasso as AdaptiveGraphicalLasso,
    GraphicalLasso as GraphicalLasso,
)
from ._group_lasso import GroupLasso as GroupLasso, GroupLassoCV as GroupLassoCV
from ._lasso import Lasso as Lasso, LassoCV as LassoCV
from ._lasso_tuned import LassoTuned as LassoTuned
from ._linear_svc import LinearSVC as LinearSVC
from ._log_link import GammaLasso as GammaLasso, PoissonLasso as PoissonLasso
from ._multi_task_lasso import (
    MultiTaskLasso as MultiTaskLasso,
    MultiTaskLassoCV as MultiTaskLassoCV,
)
from ._slope import SLOPE as SLOPE
from ._sparse_group_lasso import SparseGroupLasso as SparseGroupLasso
from ._sparse_logistic import (
    SparseLogisticRegression as SparseLogisticRegression,
    SparseLogisticRegressionCV as SparseLogisticRegressionCV,
)
from ._sqrt_lasso import SqrtLasso as SqrtLasso
from ._trace_norm import TraceNormRegression as TraceNormRegression
