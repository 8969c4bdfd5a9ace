"""`fastrec export` and `plot`: the contents of a run file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .outputs import require_picture, show

RunArgument = Annotated[Path, typer.Argument(help="Run file (.db, .sqlite).")]


def export(
    run: RunArgument,
    out: Annotated[Path, typer.Argument(help="CSV or Parquet file to write.")],
) -> None:
    """Write every row of a run file, finished or not, to a CSV or Parquet file."""
    from ..jobs.export import export as write

    show(f"{write(run, out)} rows written to {out}{unchecked(run)}")


def plot(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option(help="Figure (png, pdf, svg).", show_default="KIND.png")] = None,
) -> None:
    """Print the table and draw the figure of a run file, finished or not."""
    from ..files import require_writable
    from ..hopfield import RetrievalResult, ScalingResult
    from ..jobs.store import read
    from ..plot import capacity_scaling_figure, retrieval_figure, save_figure

    require_picture(out)
    kind = read(run)[0]
    picture = out or Path(f"{kind}.png")
    require_writable(picture)
    if kind == "capacity":
        scaling = ScalingResult.load(run)
        table, figure = scaling.table(), capacity_scaling_figure(scaling)
    else:
        result = RetrievalResult.load(run)
        table, figure = result.table(), retrieval_figure(result)
    save_figure(figure, picture)
    show(f"{table}\n\nwritten to {picture}{unchecked(run)}")


def unchecked(run: Path) -> str:
    """What is to be said of a run that 0.1.0 began."""
    from ..jobs.database import require_run_file

    return "" if require_run_file(run).checked else "; an earlier version began this run, without checksums"
