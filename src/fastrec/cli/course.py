"""`fastrec course`: the topics of a course on recurrent networks, and its longest experiment."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from ..compilation import clock
from .options import (
    BackendOption,
    FigureOption,
    SeedOption,
    ThreadsOption,
    files,
    listed,
    measured,
    use_threads,
    written,
)
from .outputs import require_file_for, require_picture, show, took
from .resuming import advised, kept_in
from .topics import COURSE
from .usage import Command, Commands

app = typer.Typer(cls=Commands)


@app.callback(invoke_without_command=True)
def course(context: typer.Context) -> None:
    """A course on recurrent networks: its topics, and what to run and read for each.

    Examples::
      fastrec course
    """
    if context.invoked_subcommand is None:
        show(list_of_topics())


def list_of_topics() -> str:
    """The topics with their commands, pages and scripts, as docs/course.md has them in tables."""
    lines = ["docs/course.md has links; ./scripts/gallery NAME draws a picture."]
    for part, topics in COURSE.items():
        lines += ["", part]
        for topic in topics:
            scripts = [f"./scripts/gallery {name}" for name in topic.scripts]
            pages = dict.fromkeys(f"docs/{page.partition('#')[0]}" for page in topic.read)
            lines += [
                f"  {topic.title}",
                *(f"      {line}" for line in (topic.run, *scripts, *pages) if line),
            ]
    return "\n".join(lines)


def task_names() -> Iterable[str]:
    """Return the names of the tasks."""
    from ..tasks.four_ways import TASKS

    return TASKS


def method_names() -> Iterable[str]:
    """Return the names of the methods."""
    from ..tasks.four_ways import METHODS

    return METHODS


@app.command("four-ways", cls=Command)
def four_ways(
    tasks: Annotated[
        str | None,
        measured(
            help="Names of tasks, as addition-80,order-2.",
            show_default="all",
            autocompletion=listed(task_names),
        ),
    ] = None,
    methods: Annotated[
        str | None,
        measured(
            help="Names of methods, as lstm,momentum.",
            show_default="all",
            autocompletion=listed(method_names),
        ),
    ] = None,
    quick: Annotated[
        bool, measured("--quick", help="Shorter sequences, minutes in place of about an hour.")
    ] = False,
    networks: Annotated[int, measured(min=1, help="Networks of each method, which learn at once.")] = 1,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    out: Annotated[
        Path | None,
        written(
            help="CSV file of the table, which a second start goes on from.", autocompletion=files(".csv")
        ),
    ] = Path("four-ways.csv"),
    plot: FigureOption = Path("four-ways.png"),
) -> None:
    """Learn long-term dependencies by LSTMs, Hessian-free, echo states and momentum: a table and a figure.

    Examples::
      fastrec course four-ways --quick --tasks order-2
    """
    use_threads(threads)
    from ..plot import save_figure
    from ..tasks.four_ways import four_ways as run

    require_file_for(out, ".csv")
    require_picture(plot)
    begin = clock()
    with advised(lambda: ("nothing is kept without --out", "") if out is None else kept_in(out)):
        result = run(
            *(
                None if names is None else [name.strip() for name in names.split(",")]
                for names in (tasks, methods)
            ),
            quick=quick,
            networks=networks,
            seed=seed,
            backend=backend,
            out=out,
            progress=True,
        )
    if plot is not None:
        save_figure(result.figure(), plot)
    show(result._table())
    show(f"\n{took(clock() - begin, out, plot)}")
