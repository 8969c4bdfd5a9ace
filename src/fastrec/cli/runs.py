"""`fastrec export` and `plot`: the contents of a run file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..jobs.store import SUFFIXES
from .options import FIGURES, files
from .outputs import require_picture, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RunArgument = Annotated[
    Path, typer.Argument(help="Run file (.db, .sqlite).", autocompletion=files(*SUFFIXES))
]


def export(
    run: RunArgument,
    out: Annotated[
        Path, typer.Argument(help="CSV or Parquet file to write.", autocompletion=files(".csv", ".parquet"))
    ],
) -> None:
    """Write every row of a run file, finished or not, to a CSV or Parquet file.

    Examples::
      fastrec export run.db run.csv
    """
    from ..jobs.export import export as write

    show(f"{write(run, out)} rows written to {out}{unchecked(run)}")


def plot(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Figure (.png, .pdf, .svg).",
            show_default="KIND.png",
            autocompletion=files(*FIGURES),
        ),
    ] = None,
) -> None:
    """Print the table and draw the figure of a run file, finished or not.

    Examples::
      fastrec plot run.db --out run.png
    """
    from ..files import require_writable
    from ..hopfield import PhaseResult, RetrievalResult, ScalingResult
    from ..jobs.store import read
    from ..plot import capacity_scaling_figure, phase_figure, retrieval_figure, save_figure

    require_picture(out)
    kind = read(run)[0]
    picture = out or Path(f"{kind}.png")
    require_writable(picture)
    kinds: dict[str, tuple[Any, Callable[[Any], Figure]]] = {
        "capacity": (ScalingResult, capacity_scaling_figure),
        "retrieval": (RetrievalResult, retrieval_figure),
        "phase": (PhaseResult, phase_figure),
    }
    result_type, draw = kinds[kind]
    result = result_type.load(run)
    save_figure(draw(result), picture)
    show(result._table())
    show(f"\nwritten to {picture}{unchecked(run)}")


def unchecked(run: Path) -> str:
    """What is to be said of a run that 0.1.0 began."""
    from ..jobs.database import require_run_file

    return "" if require_run_file(run).checked else "; an earlier version began this run, without checksums"
