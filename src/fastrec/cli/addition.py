"""`fastrec addition`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..backend import resolve
from .options import (
    BackendOption,
    CellOption,
    FigureOption,
    KeepOption,
    SeedOption,
    ThreadsOption,
    files,
    learned,
    measured,
    trained,
    use_threads,
    written,
)
from .outputs import require_file_for, require_picture, show, written_to
from .process import fail
from .resuming import training_kept

if TYPE_CHECKING:
    from ..tasks.addition import AdditionResult


def addition(
    networks: Annotated[int, trained(min=1, help="Number of networks, each with its own seed.")] = 64,
    cell: CellOption = "lstm",
    hidden_size: Annotated[int, learned("--hidden", min=1, help="Number of hidden units.")] = 3,
    columns: Annotated[int, learned(help="Binary digits of the training numbers.")] = 8,
    delay: Annotated[int, learned(help="Steps from two digits to the digit of their sum.")] = 2,
    epochs: Annotated[int, trained(help="Passes over the 2048 training pairs, at most.")] = 40,
    until: Annotated[
        int, trained(min=0, help="Stop when this many networks add without an error; 0: never.")
    ] = 1,
    learning_rate: Annotated[float, trained(help="Learning rate of Adam.")] = 0.03,
    test_pairs: Annotated[int, measured(help="Number of pairs to test the best network.")] = 1000,
    test_columns: Annotated[int, measured(help="Binary digits of the test numbers.")] = 1000,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    keep: KeepOption = True,
    plot: FigureOption = Path("addition.png"),
    save: Annotated[
        Path | None, written(help="File for the best network (.npz).", autocompletion=files(".npz"))
    ] = None,
) -> None:
    """Train many small recurrent networks to add binary numbers, then test the best on far longer ones.

    Examples::
      fastrec addition --networks 32 --save adder.npz
    """
    use_threads(threads)
    from ..plot import save_figure
    from ..tasks.addition import addition as train

    require_picture(plot)
    require_file_for(save, ".npz")
    with training_kept(None, keep) as (checkpoint, _):
        try:
            result = train(
                networks,
                cell,
                hidden_size=hidden_size,
                columns=columns,
                delay=delay,
                epochs=epochs,
                learning_rate=learning_rate,
                test_pairs=test_pairs,
                test_columns=test_columns,
                seed=seed,
                until=until or None,
                checkpoint=checkpoint,
                backend=resolve(backend, domain="rnn"),
            )
        except RuntimeError as error:  # none of the networks has learnt it
            fail(str(error))
        if plot is not None:
            save_figure(result.figure(), plot)
        if save is not None:
            result.best.save(save)
    show(result)
    show(learnt(result))
    if plot or save:
        show(written_to(plot, save))


def learnt(result: AdditionResult) -> str:
    """A line that says whether the best network has learnt the automaton of binary addition."""
    from ..tasks.addition import addition_automaton

    try:
        found = result.automaton()
    except RuntimeError as error:
        return f"it is no automaton: {error}"
    expected = addition_automaton(result.delay)
    if found.is_equivalent(expected, after=result.delay):
        return f"it computes as an automaton of {found.states} states, which is that of binary addition"
    return f"it computes as an automaton of {found.states} states, not that of binary addition"
