"""Options shared by several commands, and the parsing of their values."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import numpy as np
import typer
from numpy.typing import NDArray

from ..backend import BackendChoice
from ..files import require_file
from ..hopfield.arguments import RuleName
from ..hopfield.interaction import EXPONENTIAL, Degree
from ..hopfield.recall import Update
from ..hopfield.storage_capacity.definition import Stop
from ..rnn.cells import CELLS, STACKABLE, CellName
from ..threads import set_threads

if TYPE_CHECKING:  # a type checker cannot read which members they have
    from ..jobs.run import WorkerCount

    Cell = CellName
    TextCell = CellName
else:
    Cell, TextCell = StrEnum("Cell", list(CELLS)), StrEnum("TextCell", STACKABLE)


class Unit(StrEnum):
    character = "character"
    word = "word"


CellOption = Annotated[Cell, typer.Option(help="Type of recurrent cell.")]
TextCellOption = Annotated[TextCell, typer.Option(help="Type of recurrent cell.")]
BackendOption = Annotated[
    BackendChoice | None, typer.Option(help="Where kernels run.", show_default="FASTREC_BACKEND, else auto")
]
SeedOption = Annotated[int, typer.Option(help="Seed of all random numbers, from 0 to 2^64-1.")]
UpdateOption = Annotated[Update, typer.Option(help="Update units one after another or all at once.")]
FlipsOption = Annotated[
    str,
    typer.Option(
        metavar="<int|float>", help="Units flipped in each probe: a number, as 1, or a share, as 0.1 or 1.0."
    ),
]
NoiseOption = Annotated[float | None, typer.Option("--noise", min=0, max=1, hidden=True)]
RuleOption = Annotated[RuleName, typer.Option(help="How memories are learnt.")]
PatternsOption = Annotated[
    Path | None,
    typer.Option(
        "--patterns", help="Patterns to store in place of random ones: a .npy file of +-1 or bool, (P, n)."
    ),
]
ActivityOption = Annotated[
    float | None, typer.Option(help="Probability of +1 in random patterns.", show_default="unbiased")
]
SelfCouplingOption = Annotated[bool, typer.Option("--self-coupling", help="Let units couple to themselves.")]
ThresholdsOption = Annotated[
    float | None, typer.Option(help="Threshold of every unit.", show_default="that of the rule, else 0")
]
MarginOption = Annotated[
    float | None, typer.Option(help="Stability that the rule perceptron asks for.", show_default="0")
]
PassesOption = Annotated[
    int | None, typer.Option("--max-passes", help="Most passes of the rule perceptron.", show_default="1000")
]
DegreeOption = Annotated[
    str,
    typer.Option(
        metavar="<int|exponential>", help="2, or the degree of dense memories in place of couplings."
    ),
]
TemperatureOption = Annotated[
    float,
    typer.Option(min=0, help="Temperature of Glauber dynamics; above 0, all sweeps are made."),
]
ToleranceOption = Annotated[
    float, typer.Option(min=0, max=1, help="Fraction of units that may be wrong after recall.")
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Maximum number of CPU threads.", show_default="all cores")
]
WorkersOption = Annotated[
    str | None,
    typer.Option(
        metavar="<int|all>",
        help="Number of worker processes, of one thread each, or of one device each; all: one for each core, "
        "or device.",
    ),
]
DaskOption = Annotated[str | None, typer.Option(help="Address of a Dask scheduler, such as tcp://host:8786.")]
OutOption = Annotated[
    Path | None,
    typer.Option(help="All trials: a CSV file, or a run file (.db) that a second start resumes."),
]


def parse_workers(text: str | None, dask: str | None) -> WorkerCount:
    """A number of worker processes, or "all"; only if there is no Dask cluster."""
    if text is not None and dask is not None:
        raise typer.BadParameter("--workers and --dask exclude each other")
    if text is None or text == "all":
        return "all" if text else None
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise typer.BadParameter(f"{text!r} is neither a number of workers (4) nor all")
    return int(text)


def parse_loads(text: str) -> list[float]:
    """Loads from a list "0.1,0.12", or 17 evenly spaced ones from "0.08:0.16:lin17"."""
    try:
        if ":" not in text:
            return [float(part) for part in text.split(",")]
        first, last, steps = text.split(":")
        low, high, number = float(first), float(last), int(steps.removeprefix("lin"))
        if not (0 <= low <= high < 1e6 and 1 <= number <= 10**4 and steps.startswith("lin")):
            raise ValueError
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither a list (0.1,0.12) nor a range (0.08:0.16:lin17)"
        ) from None
    return [float(f"{load:.12g}") for load in np.linspace(low, high, number)]


def parse_flips(text: str) -> int | float:
    """A number of units from "1", a share of them from "0.1" or "1.0"."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    raise typer.BadParameter(f"{text!r} is neither a number of units (1) nor a share of them (0.1 or 1.0)")


def parse_degree(text: str) -> Degree:
    """A degree from "3" or "exponential"."""
    if text == EXPONENTIAL:
        return EXPONENTIAL
    if text.isascii() and text.isdecimal():
        return int(text)
    raise typer.BadParameter(f"{text!r} is neither a degree (3) nor {EXPONENTIAL}")


def read_patterns(path: Path | None) -> NDArray[Any] | None:
    """The array in a .npy file, where it stays; ValueError if there is none."""
    if path is None:
        return None
    require_file(path)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(array, np.ndarray):
            return array
    except (ValueError, EOFError):
        pass
    raise ValueError(f"{path}: no .npy file of numbers; write one with numpy.save(path, patterns)")


def parse_sizes(text: str) -> list[int]:
    """Sizes from a list "200,400,800", or 13 from "10:10000:log13", evenly spaced in log n (lin13: in n)."""
    try:
        if ":" not in text:
            return [int(part) for part in text.split(",")]
        first, last, steps = text.split(":")
        low, high, number = int(first), int(last), int(steps[3:])
        if not (1 <= low <= high < 2**31 and 1 <= number <= 10**4 and steps[:3] in ("log", "lin")):
            raise ValueError
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither a list (200,400,800) nor a range (10:10000:log13 or 100:500:lin5)"
        ) from None
    space = np.geomspace if steps.startswith("log") else np.linspace
    return [int(n) for n in np.unique(np.rint(space(low, high, number)))]


def parse_stop(text: str) -> Stop:
    """The load that is counted, from its name with a hyphen."""
    stops: dict[str, Stop] = {name.replace("_", "-"): name for name in get_args(Stop)}
    if text not in stops:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, stops))}")
    return stops[text]


def use_threads(threads: int | None) -> None:
    """Use so many threads, the cores at most; ValueError where the environment asks for no such number."""
    set_threads(None if threads is None else min(threads, os.cpu_count() or 1))
