"""Options shared by several commands, and the parsing of their values."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import partial
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
from .help import OUTPUT, RUNNING

if TYPE_CHECKING:  # a type checker cannot read which members they have
    from ..jobs.run import WorkerCount

    Cell = CellName
    TextCell = CellName
else:
    Cell, TextCell = StrEnum("Cell", list(CELLS)), StrEnum("TextCell", STACKABLE)


# Options by the groups of `--help`.
measured = partial(typer.Option, rich_help_panel="What is measured")
learned = partial(typer.Option, rich_help_panel="What is learned")
trained = partial(typer.Option, rich_help_panel="How it is trained")
runs = partial(typer.Option, rich_help_panel=RUNNING)
written = partial(typer.Option, rich_help_panel=OUTPUT)


def files(*suffixes: str) -> Callable[[str], list[str]]:
    """Complete names of files with these suffixes, and of folders."""

    def complete(incomplete: str) -> list[str]:
        folder, name = os.path.split(incomplete)
        try:
            found = sorted(os.scandir(os.path.expanduser(folder) or "."), key=lambda entry: entry.name)
        except OSError:
            return []
        return [
            os.path.join(folder, entry.name) + "/" * entry.is_dir()
            for entry in found
            if (entry.is_dir() or entry.name.lower().endswith(suffixes))
            and entry.name.startswith(".") == name.startswith(".")
        ]

    return complete


def listed(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Complete the last of several names with commas between them."""

    def complete(incomplete: str) -> list[str]:
        before, comma, _ = incomplete.rpartition(",")
        return [before + comma + name for name in names() if name not in before.split(",")]

    return complete


class Unit(StrEnum):
    character = "character"
    word = "word"


CellOption = Annotated[Cell, learned(help="Type of recurrent cell.")]
TextCellOption = Annotated[TextCell, learned(help="Type of recurrent cell.")]
BackendOption = Annotated[
    BackendChoice | None, runs(help="Where kernels run.", show_default="FASTREC_BACKEND, else auto")
]
SeedOption = Annotated[int, runs(help="Seed of all random numbers, from 0 to 2^64-1.")]
UpdateOption = Annotated[Update, measured(help="Update units one after another or all at once.")]
FlipsOption = Annotated[
    str,
    measured(metavar="N|X", help="Units flipped in each probe: a number, as 1, or a share, as 0.1 or 1.0."),
]
NoiseOption = Annotated[float | None, measured("--noise", min=0, max=1, hidden=True)]
RuleOption = Annotated[RuleName, measured(help="How memories are learnt.")]
PatternsOption = Annotated[
    Path | None,
    measured(
        "--patterns",
        help="Patterns to store in place of random ones: a .npy file of +-1 or bool, (P, n).",
        autocompletion=files(".npy"),
    ),
]
ActivityOption = Annotated[
    float | None, measured(help="Probability of +1 in random patterns.", show_default="unbiased")
]
SelfCouplingOption = Annotated[bool, measured("--self-coupling", help="Let units couple to themselves.")]
ThresholdsOption = Annotated[
    float | None, measured(help="Threshold of every unit.", show_default="that of the rule, else 0")
]
MarginOption = Annotated[
    float | None, measured(help="Stability that the rule perceptron asks for.", show_default="0")
]
PassesOption = Annotated[
    int | None, measured("--max-passes", help="Most passes of the rule perceptron.", show_default="1000")
]
DegreeOption = Annotated[
    str,
    measured(metavar="N|exponential", help="2, or the degree of dense memories in place of couplings."),
]
TemperatureOption = Annotated[
    float,
    measured(min=0, help="Temperature of Glauber dynamics; above 0, all sweeps are made."),
]
ToleranceOption = Annotated[
    float, measured(min=0, max=1, help="Fraction of units that may be wrong after recall.")
]
ThreadsOption = Annotated[
    int | None, runs(min=1, help="Maximum number of CPU threads.", show_default="all cores")
]
WorkersOption = Annotated[
    str | None,
    runs(
        metavar="N|all",
        help="Number of worker processes, of one thread each, or of one device each; all: one for each core, "
        "or device.",
    ),
]
DaskOption = Annotated[str | None, runs(help="Address of a Dask scheduler, such as tcp://host:8786.")]
OutOption = Annotated[
    Path | None,
    written(
        help="All trials: a CSV file, or a run file (.db) that a second start resumes.",
        autocompletion=files(".csv", ".db", ".sqlite"),
    ),
]
CheckpointOption = Annotated[
    Path | None,
    written(
        help="Resume from this file (.npz) if it exists, and keep it up to date.",
        autocompletion=files(".npz"),
    ),
]
KeepOption = Annotated[
    bool,
    written(
        "--keep/--no-keep",
        help="Keep unfinished work of more than a minute in a file of this folder, which a second start goes "
        "on with.",
    ),
]
FIGURES = (".png", ".pdf", ".svg")
FigureOption = Annotated[
    Path | None, written(help=f"Figure ({', '.join(FIGURES)}).", autocompletion=files(*FIGURES))
]


def parse_workers(text: str | None, dask: str | None) -> WorkerCount:
    """A number of worker processes, or "all"; only if there is no Dask cluster."""
    if text is not None and dask is not None:
        raise typer.BadParameter("--workers and --dask exclude each other")
    if text is None or text == "all":
        return "all" if text else None
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise typer.BadParameter(
            f"{text!r} is neither a number of workers (4) nor all", param_hint="--workers"
        )
    return int(text)


def parse_loads(text: str, option: str = "--loads") -> list[float]:
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
            f"{text!r} is neither a list (0.1,0.12) nor a range (0.08:0.16:lin17)", param_hint=option
        ) from None
    return [float(f"{load:.12g}") for load in np.linspace(low, high, number)]


def parse_flips(text: str) -> int | float:
    """A number of units from "1", a share of them from "0.1" or "1.0"."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    raise typer.BadParameter(
        f"{text!r} is neither a number of units (1) nor a share of them (0.1 or 1.0)", param_hint="--flips"
    )


def parse_degree(text: str) -> Degree:
    """A degree from "3" or "exponential"."""
    if text == EXPONENTIAL:
        return EXPONENTIAL
    if text.isascii() and text.isdecimal():
        return int(text)
    raise typer.BadParameter(f"{text!r} is neither a degree (3) nor {EXPONENTIAL}", param_hint="--degree")


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
            f"{text!r} is neither a list (200,400,800) nor a range (10:10000:log13 or 100:500:lin5)",
            param_hint="--sizes",
        ) from None
    space = np.geomspace if steps.startswith("log") else np.linspace
    return [int(n) for n in np.unique(np.rint(space(low, high, number)))]


def parse_stop(text: str) -> Stop:
    """The load that is counted, from its name with a hyphen."""
    stops: dict[str, Stop] = {name.replace("_", "-"): name for name in get_args(Stop)}
    if text not in stops:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, stops))}", param_hint="--stop")
    return stops[text]


def use_threads(threads: int | None) -> None:
    """Use so many threads, the cores at most; ValueError where the environment asks for no such number."""
    set_threads(None if threads is None else min(threads, os.cpu_count() or 1))
