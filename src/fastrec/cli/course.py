"""`fastrec course`: experiments of a course on recurrent networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..compilation import clock
from .options import BackendOption, SeedOption, ThreadsOption, use_threads
from .outputs import require_file_for, require_picture, show, written_to

app = typer.Typer(help="Experiments of a course on recurrent networks.", no_args_is_help=True)


@app.callback()
def course() -> None:
    pass


@app.command("four-ways")
def four_ways(
    tasks: Annotated[
        str | None, typer.Option(help="Names of tasks, as addition-80,order-2.", show_default="all")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Names of methods, as lstm,momentum.", show_default="all")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Shorter sequences, minutes in place of most of an hour.")
    ] = False,
    networks: Annotated[int, typer.Option(min=1, help="Networks of each method, which learn at once.")] = 1,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV file of the table, which a second start goes on from.")
    ] = Path("four-ways.csv"),
    plot: Annotated[Path | None, typer.Option(help="Figure (png, pdf, svg).")] = Path("four-ways.png"),
) -> None:
    """Learn long-term dependencies by LSTMs, Hessian-free, echo states and momentum: a table and a figure."""
    use_threads(threads)
    from ..plot import save_figure
    from ..tasks.four_ways import four_ways as run

    require_file_for(out, ".csv")
    require_picture(plot)
    begin = clock()
    result = run(
        None if tasks is None else tasks.split(","),
        None if methods is None else methods.split(","),
        quick=quick,
        networks=networks,
        seed=seed,
        backend=backend and backend.value,
        out=out,
        progress=True,
    )
    if plot is not None:
        save_figure(result.figure(), plot)
    show(result.table())
    show(f"\n{clock() - begin:.1f} s" + (f", {written_to(out, plot)}" if out or plot else ""))
