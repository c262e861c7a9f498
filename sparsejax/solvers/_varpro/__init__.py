"""Variable projection: non-smooth penalties as smooth problems, one file a variational form."""

from ._solver import VarPro as VarPro
