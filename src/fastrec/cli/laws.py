"""`fastrec laws`: the classical laws of storage capacity beside exact measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..compilation import clock
from .options import BackendOption, SeedOption, ThreadsOption, WorkersOption, parse_workers, use_threads
from .outputs import require_file_for, require_picture, show, written_to


def laws(
    only: Annotated[
        str | None, typer.Option(help="Names of laws, as hebb-all,storkey.", show_default="all")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small networks, a minute in place of most of an hour.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder of run files, made if there is none; a second start resumes them."),
    ] = None,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    out: Annotated[Path | None, typer.Option(help="CSV file of the table.")] = Path("laws.csv"),
    plot: Annotated[Path | None, typer.Option(help="Figure (png, pdf, svg).")] = Path("laws.png"),
) -> None:
    """Measure storage capacities of all rules and memories beside their laws: a table and a figure."""
    use_threads(threads)
    from ..hopfield.laws import capacity_laws
    from ..plot import laws_figure, save_figure

    require_file_for(out, ".csv")
    require_picture(plot)
    if folder is not None:
        folder.mkdir(exist_ok=True)
    begin = clock()
    result = capacity_laws(
        None if only is None else only.split(","),
        quick=quick,
        seed=seed,
        backend=backend,
        folder=folder,
        progress=True,
        workers=parse_workers(workers, None),
    )
    if out is not None:
        result.save(out)
    if plot is not None:
        save_figure(laws_figure(result), plot)
    show(result.table())
    show(f"\n{clock() - begin:.1f} s" + (f", {written_to(out, plot)}" if out or plot else ""))
