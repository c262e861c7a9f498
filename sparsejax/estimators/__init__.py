"""Estimators for scikit-learn: its interface and meanings, certified solutions."""

from ._elastic_net import ElasticNet as ElasticNet, ElasticNetCV as ElasticNetCV
from ._lasso import Lasso as Lasso, LassoCV as LassoCV
from ._lasso_tuned import LassoTuned as LassoTuned
