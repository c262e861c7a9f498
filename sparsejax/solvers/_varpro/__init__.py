"""Variable projection: non-smooth penalties as smooth problems, one file a variational form."""

from ._low_rank import per_task as per_task
from ._solver import VarPro as VarPro
