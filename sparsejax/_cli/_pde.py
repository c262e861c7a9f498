"""``python -m sparsejax pde``: an equation, or noisy samples, by sparse networks."""

import inspect
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.markup import escape

import sparsejax as sj
from sparsejax.applications import pde
from sparsejax.nn._leaves import chosen_leaves

from ._command import Command, add_counts, positive
from ._errors import UserError, explained
from ._report import make_table, write_json
from ._runs import progress_bars, results, save_leaves, unfinished_of

_ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "sin": jnp.sin}


def _strengths(text: str) -> tuple[float, ...]:
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = ()
    if not found or not all(0 <= strength < np.inf for strength in found):
        raise ArgumentTypeError(f"must be numbers >= 0 with commas between, not {text!r}")
    return found


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--problem", choices=tuple(pde.PROBLEMS), default="burgers", help="default: %(default)s"
    )
    parser.add_argument(
        "--viscosity", type=positive, metavar="V", help="of burgers (default: 0.1/pi)"
    )
    parser.add_argument(
        "--conditions",
        choices=("soft", "hard"),
        help="initial and boundary conditions as terms of the loss, or built in (burgers, "
        "allen-cahn, schroedinger)",
    )
    parser.add_argument(
        "--strength",
        type=_strengths,
        default=(2e-4,),
        metavar="S",
        help="of the l1 norm of the weights: one, or one for each matrix as in 1e-4,3e-4,3e-4,1e-5 "
        "(default: 2e-4); 0 is dense",
    )
    parser.add_argument("--activation", choices=tuple(_ACTIVATIONS), default="tanh")
    parser.add_argument(
        "--learning-rate", type=positive, default=2e-3, metavar="R", help="default: %(default)s"
    )
    add_counts(
        parser,
        ("num", 1, None, "points in the domain, or samples (default: as many as are usual)"),
        ("width", 1, 32, "of the hidden layers"),
        ("depth", 1, 3, "hidden layers"),
        ("seeds", 1, 1, "networks, trained together"),
        ("steps", 0, 6000, "of proximal Adam"),
        ("refit-steps", 0, 150, "of Levenberg-Marquardt on the weights left"),
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("sparsejax-pde"),
        metavar="DIR",
        help="folder for report.json, weights.npz and figures (default: %(default)s); an "
        "interrupted run is kept in DIR-unfinished and goes on from there",
    )


def _problem(args: Namespace) -> pde.Problem:
    make = pde.PROBLEMS[args.problem]
    options = {name: getattr(args, name) for name in ("viscosity", "conditions", "num")}
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in inspect.signature(make).parameters:
            raise UserError(f"--{name} does not go with --problem {args.problem}.")
    return make(**given)


def _run(args: Namespace, console: Console) -> None:
    unfinished = unfinished_of(args.out)
    problem = _problem(args)
    activation = _ACTIVATIONS[args.activation]
    networks = pde.networks(problem, tuple(range(args.seeds)), args.width, args.depth, activation)
    penalty = [sj.penalties.L1(strength) for strength in args.strength]
    with explained():
        pde.errors(problem, networks)  # the reference is there, before hours of training
    with progress_bars(console) as progress:
        tasks = {
            name: progress.add_task(name, total=steps)
            for name, steps in (("descent", args.steps), ("refit", args.refit_steps))
        }
        solved = pde.solve(
            problem,
            networks,
            penalty[0] if len(penalty) == 1 else penalty,
            steps=args.steps,
            refit_steps=args.refit_steps,
            learning_rate=args.learning_rate,
            checkpoint=unfinished / "run",
            callback=lambda now: progress.update(tasks[now.phase], completed=now.done),
        )
    report = _report(args, problem, solved)
    _print(report, console)
    with results(args.out, unfinished, console) as folder:
        write_json(report, folder / "report.json")
        weights = eqx.filter(solved.networks, eqx.is_inexact_array)
        save_leaves(weights, folder / "weights.npz")
        _draw(problem, solved.network(0), folder)


def _report(args: Namespace, problem: pde.Problem, solved: pde.Solved) -> dict[str, Any]:
    names = chosen_leaves(eqx.filter(solved.networks, eqx.is_inexact_array), None)
    found = [sj.nn.sparsity_report(solved.network(i)).leaves for i in range(args.seeds)]
    kept = ("strength", "width", "depth", "activation", "learning_rate", "steps", "refit_steps")
    return {
        "problem": problem.name,
        "settings": {name: getattr(args, name) for name in kept},
        "terms": [term.name for term in problem.terms],
        "networks": [
            {
                "seed": i,
                "relative_l2_error": float(error),
                "loss": solved.history[-1].losses[i] if solved.history else None,
                "sparsity": sum(report[n].zeros for n in names)
                / sum(report[n].size for n in names),
                "sparsity_by_matrix": {name: report[name].sparsity for name in names},
            }
            for i, (error, report) in enumerate(
                zip(pde.errors(problem, solved.networks), found, strict=True)
            )
        ],
        "history": [step._asdict() for step in solved.history],
        "jax": jax.__version__,
    }


def _sparsity(leaves: list[sj.nn.LeafSparsity]) -> float:
    return sum(leaf.zeros for leaf in leaves) / sum(leaf.size for leaf in leaves)


def _print(report: dict[str, Any], console: Console) -> None:
    by_matrix = list(report["networks"][0]["sparsity_by_matrix"])
    short = [name.removesuffix(".weight") for name in by_matrix]
    table = make_table(
        f"{escape(report['problem'])}: zeros by matrix", "seed", "relative L2", "zeros", *short
    )
    for network in report["networks"]:
        zeros = [f"{network['sparsity_by_matrix'][name]:.1%}" for name in by_matrix]
        error = f"{network['relative_l2_error']:.3e}"
        table.add_row(str(network["seed"]), error, f"{network['sparsity']:.1%}", *zeros)
    console.print(table)


def _draw(problem: pde.Problem, network: Any, folder: Path) -> None:
    from matplotlib.figure import Figure

    for name, draw in (("solution", pde.draw_solution), ("error", pde.draw_error)):
        figure = Figure(figsize=(7.0, 4.5), layout="constrained")
        draw(problem, network, figure.subplots())
        figure.savefig(folder / f"{name}.png", dpi=120)
    layers = len(chosen_leaves(eqx.filter(network, eqx.is_inexact_array), None))
    figure = Figure(figsize=(4.0 * layers, 3.5), layout="constrained")
    for layer, ax in enumerate(figure.subplots(1, layers, squeeze=False)[0]):
        pde.draw_weights(network, layer, ax)
    figure.savefig(folder / "weights.png", dpi=120)


COMMAND = Command(
    name="pde",
    help="solve a differential equation by sparse networks",
    description=(
        "Train networks whose weights are mostly zero on a differential equation (or on noisy "
        "samples of a function with singularities): proximal Adam with an l1 norm for each weight "
        "matrix, then Levenberg-Marquardt on the weights left. Reports the error against a "
        "reference and the zeros of every matrix, with figures. Run again with the same options, "
        "an interrupted run goes on. Equations of your own: see sparsejax.applications.pde.Problem."
    ),
    add_arguments=_add_arguments,
    run=_run,
)
