"""Architecture search by gradients, robust through sparsity: cells, relaxations, search."""

from . import hypergradients as hypergradients, relaxations as relaxations
from ._architecture import (
    all_cells as all_cells,
    count_operation as count_operation,
    discretise as discretise,
    entropy as entropy,
    one_hot as one_hot,
)
from ._augment import Augmentation as Augmentation, Shift as Shift
from ._data import (
    Samples as Samples,
    Task as Task,
    load_task as load_task,
    mnist1d as mnist1d,
)
from ._figures import draw_cell as draw_cell, draw_search as draw_search
from ._measures import accuracy as accuracy, curvature as curvature
from ._operations import OPERATIONS as OPERATIONS
from ._retrain import Network as Network, Retrained as Retrained, retrain as retrain
from ._search import Progress as Progress, Searched as Searched, search as search
from ._space import SPACES as SPACES, Space as Space
from ._supernet import Supernet as Supernet
from ._table import Table as Table, table as table
