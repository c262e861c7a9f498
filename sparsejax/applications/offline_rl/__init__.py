"""Offline reinforcement learning from small data, with a part of the weights: Sparse-Reg."""

from ._algorithm import AbstractAlgorithm as AbstractAlgorithm
from ._awac import AWAC as AWAC
from ._bc import BC as BC
from ._evaluation import (
    Evaluation as Evaluation,
    Interval as Interval,
    interquartile_mean as interquartile_mean,
)
from ._figures import draw_curves as draw_curves
from ._held_out import HeldOut as HeldOut
from ._iql import IQL as IQL
from ._load import load as load
from ._methods import ALGORITHMS as ALGORITHMS, methods as methods
from ._outside import OutsideEvaluation as OutsideEvaluation, hopper as hopper
from ._policy import Policy as Policy
from ._rules import (
    SET as SET,
    SNIP as SNIP,
    AbstractRule as AbstractRule,
    Magnitude as Magnitude,
    RigL as RigL,
)
from ._task import (
    AbstractTask as AbstractTask,
    Episode as Episode,
    returns as returns,
    rollout as rollout,
)
from ._tasks import Cartpole as Cartpole, Distracted as Distracted, Pendulum as Pendulum
from ._td3_bc import TD3BC as TD3BC
from ._train import (
    Evaluate as Evaluate,
    Progress as Progress,
    Trained as Trained,
    train as train,
)
from ._transitions import (
    Transitions as Transitions,
    collect as collect,
    whole_episodes as whole_episodes,
)
