"""Figures of paths, cross-validation, convergence, selection, sparse layers and singular values.

Every function draws on the Matplotlib Axes it is given and returns it. With ``ax=None`` it opens a
new pyplot figure, as an interactive user expects; with an Axes it never touches pyplot's global
state. Matplotlib is imported inside the functions: ``import sparsejax`` does not pay for it.
"""

from ._convergence import convergence as convergence
from ._cross_validation import cross_validation as cross_validation
from ._path import path as path
from ._selection import selection as selection
from ._singular_values import singular_values as singular_values
from ._sparsity import sparsity as sparsity
