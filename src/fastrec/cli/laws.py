"""`fastrec laws`: the classical laws of storage capacity beside exact measurement."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from ..compilation import clock
from .options import (
    BackendOption,
    FigureOption,
    KeepOption,
    SeedOption,
    ThreadsOption,
    WorkersOption,
    files,
    listed,
    measured,
    parse_workers,
    runs,
    use_threads,
    written,
)
from .outputs import require_file_for, require_picture, show, took
from .resuming import trials_kept


def names() -> Iterable[str]:
    """Return the names of the laws."""
    from ..hopfield.laws import LAWS

    return LAWS


def laws(
    laws: Annotated[
        str | None,
        measured(
            "--only",
            help="Names of laws, as hebb-all,storkey.",
            show_default="all",
            autocompletion=listed(names),
        ),
    ] = None,
    quick: Annotated[
        bool, measured("--quick", help="Small networks, a minute in place of most of an hour.")
    ] = False,
    folder: Annotated[
        Path | None,
        runs(help="Folder of run files, made if there is none; a second start resumes them."),
    ] = None,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    keep: KeepOption = True,
    out: Annotated[Path | None, written(help="CSV file of the table.", autocompletion=files(".csv"))] = Path(
        "laws.csv"
    ),
    plot: FigureOption = Path("laws.png"),
) -> None:
    """Measure storage capacities of all rules and memories beside their laws: a table and a figure.

    Examples::
      fastrec laws --quick
      fastrec laws --only storkey --folder runs
    """
    use_threads(threads)
    from ..hopfield.laws import capacity_laws
    from ..plot import laws_figure, save_figure

    require_file_for(out, ".csv")
    require_picture(plot)
    if folder is not None:
        folder.mkdir(exist_ok=True)
    begin = clock()
    with trials_kept(folder, keep, "--folder runs"):
        result = capacity_laws(
            None if laws is None else laws.split(","),
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
        show(result._table())
    show(f"\n{took(clock() - begin, out, plot)}")
