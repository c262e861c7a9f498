"""Differential equations and functions by sparse networks: problems, training, references."""

from ._box import Box as Box
from ._derivatives import derivatives as derivatives
from ._figures import (
    draw_error as draw_error,
    draw_solution as draw_solution,
    draw_weights as draw_weights,
)
from ._problem import Problem as Problem, Reference as Reference, networks as networks
from ._problems import (
    PROBLEMS as PROBLEMS,
    allen_cahn as allen_cahn,
    burgers as burgers,
    function_fit as function_fit,
    schroedinger as schroedinger,
    singular as singular,
)
from ._references import (
    allen_cahn_method_of_lines as allen_cahn_method_of_lines,
    burgers_cole_hopf as burgers_cole_hopf,
    burgers_method_of_lines as burgers_method_of_lines,
    method_of_lines as method_of_lines,
    schroedinger_split_step as schroedinger_split_step,
)
from ._solve import (
    Progress as Progress,
    Solved as Solved,
    errors as errors,
    predict as predict,
    solve as solve,
)
from ._terms import Condition as Condition, Data as Data
