"""The `fastrec` command."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import nullcontext, suppress
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

try:
    import numpy as np
    import typer
except KeyboardInterrupt:  # before `hear_interrupts`
    print("fastrec: interrupted", file=sys.stderr)
    sys.exit(130)

from . import __version__
from .arguments import human
from .backend import BACKENDS, BackendError, device, device_memory, lacking, resolve
from .progress import on_terminal

app = typer.Typer(
    help="Hopfield networks and recurrent neural networks in compiled kernels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Backend(StrEnum):
    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"
    reference = "reference"


class Criterion(StrEnum):
    all = "all"
    newest = "newest"


class Stop(StrEnum):
    first_failure = "first-failure"
    largest = "largest"


class Cell(StrEnum):
    elman = "elman"
    jordan = "jordan"
    gru = "gru"
    lstm = "lstm"


class TextCell(StrEnum):
    elman = "elman"
    gru = "gru"
    lstm = "lstm"


class Unit(StrEnum):
    character = "character"
    word = "word"


class Update(StrEnum):
    asynchronous = "async"
    synchronous = "sync"


BackendOption = Annotated[
    Backend | None, typer.Option(help="Where the kernels run.  [default: FASTREC_BACKEND, else auto]")
]
SeedOption = Annotated[int, typer.Option(help="Seed of all random numbers, 0 to 2^64-1.")]
UpdateOption = Annotated[Update, typer.Option(help="One unit after another, or all at once.")]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Most threads on the CPU.  [default: all cores]")
]


WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Run in so many processes of one thread each.")
]
DaskOption = Annotated[
    str | None, typer.Option(help="Run on the Dask cluster with this scheduler, tcp://host:8786.")
]
OutOption = Annotated[
    Path | None,
    typer.Option(help="Every trial: a CSV file, or a run file (.db) that a second start resumes."),
]


def require_one_executor(workers: int | None, dask: str | None) -> None:
    if workers is not None and dask is not None:
        raise typer.BadParameter("--workers and --dask exclude each other")


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


def use_threads(threads: int | None) -> None:
    """Limit Numba to so many threads, the cores at most; it reads this when it is first imported."""
    given = os.environ.get("NUMBA_NUM_THREADS")
    if threads is None and given:
        if not (given.isascii() and given.isdigit() and int(given[:9])):
            raise ValueError(f"NUMBA_NUM_THREADS is {given!r}; it must be a whole number, 1 or more")
        threads = int(given[:9])
    if threads is not None:
        os.environ["NUMBA_NUM_THREADS"] = str(min(threads, os.cpu_count() or 1))


@app.command()
def capacity(
    sizes: Annotated[
        str, typer.Option(help="Units: a list 200,400,800, or first:last:logK or :linK for K sizes.")
    ] = "10:10000:log13",
    trials: Annotated[int, typer.Option(help="Independent networks of each size.")] = 100,
    criterion: Annotated[Criterion, typer.Option(help="Which memories must come back.")] = Criterion.all,
    stop: Annotated[
        Stop, typer.Option(help="Count up to the first load that fails, or to the largest that passes.")
    ] = Stop.first_failure,
    corruption: Annotated[int, typer.Option(help="Bits flipped in each probe.")] = 1,
    update: UpdateOption = Update.asynchronous,
    max_sweeps: Annotated[int, typer.Option(help="Sweeps before a recall is given up.")] = 100,
    max_patterns: Annotated[
        int | None, typer.Option(help="Where the search ends.  [default: a chance below 1e-9 to pass]")
    ] = None,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    out: OutOption = Path("capacity.csv"),
    plot: Annotated[Path | None, typer.Option(help="Picture (png, pdf, svg).")] = Path("capacity.png"),
) -> None:
    """How many memories a Hopfield network holds, for a range of sizes: a table, a CSV file and a picture."""
    require_one_executor(workers, dask)
    use_threads(threads)
    from .files import require_writable
    from .hopfield.capacity import capacity_scaling
    from .hopfield.executors import dask_executor
    from .plot import capacity_scaling_figure, require_format, save_figure

    numbers = parse_sizes(sizes)
    if plot is not None:
        require_format(plot)
        require_writable(plot)
    begin = time.monotonic()
    name = resolve(backend and backend.value, domain="capacity")
    if name == "gpu":
        print(f"on {describe_device()}\n")
    with nullcontext() if dask is None else dask_executor(dask) as executor:
        scaling = capacity_scaling(
            numbers,
            trials,
            out,
            criterion=criterion.value,
            stop="largest" if stop is Stop.largest else "first_failure",
            corruption=corruption,
            update=update.value,
            seed=seed,
            backend=name,
            max_sweeps=max_sweeps,
            max_patterns=max_patterns,
            executor=executor,
            workers=workers,
        )
    if plot is not None:  # before the table, whose reader may leave (`| head`)
        save_figure(capacity_scaling_figure(scaling), plot)
    print(scaling.table())
    if len(scaling) > 2:
        try:
            print(f"\n{scaling.fit()}")
        except ValueError as error:  # such as one trial of each size: everything else is of use
            print(f"\nno fit: {error}")
    written = [str(path) for path in (out, plot) if path is not None]
    print(
        f"\n{time.monotonic() - begin:.1f} s" + (f", written to {' and '.join(written)}" if written else "")
    )


RunArgument = Annotated[Path, typer.Argument(help="Run file (.db, .sqlite).")]


@app.command()
def export(
    run: RunArgument,
    out: Annotated[Path, typer.Argument(help="CSV or Parquet file.")],
) -> None:
    """Write every row of a run file, finished or not, to a CSV or Parquet file."""
    from .hopfield.runs import export as write

    print(f"{write(run, out)} rows written to {out}")


@app.command()
def plot(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option(help="Picture (png, pdf, svg).  [default: KIND.png]")] = None,
) -> None:
    """Table and picture of a run file, finished or not."""
    from .files import require_writable
    from .hopfield.results import ScalingResult
    from .hopfield.retrieval import RetrievalResult
    from .hopfield.runs import read
    from .plot import capacity_scaling_figure, require_format, retrieval_figure, save_figure

    if out is not None:
        require_format(out)
        require_writable(out)
    kind = read(run)[0]
    picture = out or Path(f"{kind}.png")
    require_writable(picture)
    if kind == "capacity":
        scaling = ScalingResult.load(run)
        table, figure = scaling.table(), capacity_scaling_figure(scaling)
    else:
        found = RetrievalResult.load(run)
        table, figure = found.table(), retrieval_figure(found)
    save_figure(figure, picture)
    print(f"{table}\n\nwritten to {picture}")


@app.command()
def retrieval(
    sizes: Annotated[str, typer.Option(help="Units: as of `fastrec capacity`.")] = "1000,2000,5000",
    loads: Annotated[
        str, typer.Option(help="p/n: a list 0.1,0.12, or first:last:linK for K of them.")
    ] = "0.08:0.16:lin17",
    trials: Annotated[int, typer.Option(help="Independent networks of each size and load.")] = 10,
    probes: Annotated[int, typer.Option(help="Memories of each that are probed.")] = 100,
    noise: Annotated[float, typer.Option(min=0, max=1, help="Share of the units flipped in a probe.")] = 0.0,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the units that may be wrong in the end.")
    ] = 0.05,
    update: UpdateOption = Update.asynchronous,
    max_sweeps: Annotated[int, typer.Option(help="Sweeps before a recall is given up.")] = 100,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    dask: DaskOption = None,
    out: OutOption = Path("retrieval.csv"),
    plot: Annotated[Path | None, typer.Option(help="Picture (png, pdf, svg).")] = Path("retrieval.png"),
) -> None:
    """How close to a memory recall ends, against the load: a table, a file of all trials and a picture."""
    use_threads(threads)
    from .files import require_writable
    from .hopfield.executors import dask_executor
    from .hopfield.retrieval import retrieval_scaling
    from .plot import require_format, retrieval_figure, save_figure

    numbers, alphas = parse_sizes(sizes), parse_loads(loads)
    require_one_executor(workers, dask)
    if plot is not None:
        require_format(plot)
        require_writable(plot)
    with nullcontext() if dask is None else dask_executor(dask) as executor:
        found = retrieval_scaling(
            numbers,
            alphas,
            trials,
            probes,
            noise,
            update.value,
            seed,
            resolve(backend and backend.value, domain="hopfield"),
            tolerance=tolerance,
            max_sweeps=max_sweeps,
            out=out,
            progress=True,
            executor=executor,
            workers=workers,
        )
    if plot is not None:
        save_figure(retrieval_figure(found), plot)
    print(found.table())
    if written := [str(path) for path in (out, plot) if path is not None]:
        print(f"\nwritten to {' and '.join(written)}")


@app.command()
def addition(
    networks: Annotated[
        int, typer.Option(min=1, help="Networks to train at once, each with its own seed.")
    ] = 64,
    cell: Annotated[Cell, typer.Option(help="Kind of hidden units.")] = Cell.lstm,
    hidden: Annotated[int, typer.Option(min=1, help="Hidden units.")] = 3,
    columns: Annotated[int, typer.Option(help="Columns of the numbers to train on.")] = 8,
    delay: Annotated[int, typer.Option(help="Steps from a column to the digit of its sum.")] = 2,
    epochs: Annotated[int, typer.Option(help="Passes over the 2048 pairs to train on.")] = 40,
    learning_rate: Annotated[float, typer.Option(help="Step size of Adam.")] = 0.03,
    test_pairs: Annotated[int, typer.Option(help="Pairs to test the best network on.")] = 1000,
    test_columns: Annotated[int, typer.Option(help="Columns of those.")] = 1000,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    plot: Annotated[Path | None, typer.Option(help="Learning curves (png, pdf, svg).")] = Path(
        "addition.png"
    ),
    save: Annotated[Path | None, typer.Option(help="Keep the best network (.npz).")] = None,
) -> None:
    """Train many small recurrent networks to add binary numbers; test the best on far longer ones."""
    use_threads(threads)
    from .files import require_suffix, require_writable
    from .plot import require_format, save_figure
    from .rnn.addition import addition as train

    if plot is not None:
        require_format(plot)
        require_writable(plot)
    if save is not None:
        require_suffix(save, ".npz")
        require_writable(save)
    try:
        result = train(
            networks,
            cell.value,
            hidden_size=hidden,
            columns=columns,
            delay=delay,
            epochs=epochs,
            learning_rate=learning_rate,
            test_pairs=test_pairs,
            test_columns=test_columns,
            seed=seed,
            backend=resolve(backend and backend.value, domain="rnn"),
        )
    except RuntimeError as error:  # none of the networks has learnt it
        fail(str(error))
    if plot is not None:
        save_figure(result.figure(), plot)
    if save is not None:
        result.best.save(save)
    print(result)
    if written := [str(path) for path in (plot, save) if path is not None]:
        print(f"written to {' and '.join(written)}")


text = typer.Typer(help="Models of text: train one on a file, write with it.", no_args_is_help=True)
app.add_typer(text, name="text")


@text.command("train")
def text_train(
    file: Annotated[Path, typer.Argument(help="Text to learn from, UTF-8.")],
    out: Annotated[Path, typer.Option(help="The model (.npz).")] = Path("model.npz"),
    hidden: Annotated[int, typer.Option(min=1, help="Hidden units of a layer.")] = 512,
    layers: Annotated[int, typer.Option(min=1, help="Layers.")] = 2,
    cell: Annotated[TextCell, typer.Option(help="Kind of hidden units.")] = TextCell.gru,
    embedding: Annotated[int | None, typer.Option(min=1, help="Size of embeddings.  [default: none]")] = None,
    unit: Annotated[Unit, typer.Option(help="What the text is cut into.")] = Unit.character,
    vocabulary: Annotated[
        int | None, typer.Option(min=2, help="Most symbols to keep, the rest is unknown.  [default: all]")
    ] = None,
    held_out: Annotated[float, typer.Option(min=0, max=0.9, help="Share at the end not to train on.")] = 0.1,
    epochs: Annotated[float | None, typer.Option(help="Passes through the text.  [default: 20]")] = None,
    minutes: Annotated[float | None, typer.Option(help="Train for so long instead.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Places read side by side.")] = 32,
    steps: Annotated[int, typer.Option(min=1, help="Symbols of each before an update.")] = 100,
    learning_rate: Annotated[float, typer.Option(help="Step size of Adam.")] = 2e-3,
    decay: Annotated[
        float, typer.Option(min=0, max=1, help="Last part of the training, in which that falls to 0.")
    ] = 0.6,
    clip: Annotated[float, typer.Option(help="Largest norm of a gradient.")] = 1.0,
    dropout: Annotated[
        float, typer.Option(min=0, max=0.99, help="Chance of a hidden unit to be left out.")
    ] = 0.5,
    weight_decay: Annotated[float, typer.Option(min=0, help="Of AdamW.")] = 0.0,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Go on from this file (.npz) if it is there; kept up to date.")
    ] = None,
    curve: Annotated[Path | None, typer.Option(help="Losses (.csv).")] = None,
    plot: Annotated[Path | None, typer.Option(help="Their picture (png, pdf, svg).")] = Path("text.png"),
    prompt: Annotated[
        str | None, typer.Option(help="What samples begin with.  [default: a new line]")
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Count n-grams to compare with.")] = True,
) -> None:
    """Train a recurrent network to predict the next character of a text: a model, a table and a picture."""
    use_threads(threads)
    from .files import require_suffix, require_writable
    from .plot import require_format, save_figure, text_curve_figure
    from .rnn.history import TextHistory
    from .rnn.ngrams import ngram_table
    from .rnn.text import CharModel, hold_out, read_prompt
    from .rnn.vocabulary import Vocabulary

    require_suffix(out, ".npz")
    for path in (out, plot, curve):
        if path is not None:
            require_writable(path)
    if plot is not None:
        require_format(plot)
    if curve is not None:
        require_suffix(curve, ".csv")
    if checkpoint is not None and checkpoint.resolve() == out.resolve():
        raise ValueError(f"--checkpoint and --out are both {out}; give two files")
    read = read_text(file)
    if prompt is not None:
        read_prompt(Vocabulary.of(read, unit.value, vocabulary), prompt)
    name = resolve(backend and backend.value, domain="rnn")
    model = CharModel(hidden, cell.value, layers, embedding, unit.value, vocabulary, seed=seed, backend=name)
    begin = shown = time.monotonic()
    headed = False

    def tell(model: CharModel, curves: TextHistory) -> None:
        nonlocal shown, headed
        assert model.rnn is not None and model.vocabulary is not None
        if curves.best == len(curves.passes) - 1:  # so that whatever ends the training leaves a model
            model.save(out)
        if not headed:
            headed = True
            size = f"{len(read)} characters, {len(model.vocabulary)} symbols"
            print(f"{file}: {size}; {layers} x {hidden} {cell.value}, {model.rnn.n_parameters} parameters\n")
            head = f"{'passes':>7} {'seconds':>8} {'symbols/s':>10} {'train':>7}"
            print(head if curves.held_out is None else f"{head} {'held out':>9} {'bits':>6}")
        held, rate = curves.held_out, curves.symbols[-1] / curves.seconds[-1]
        row = f"{curves.passes[-1]:7.2f} {curves.seconds[-1]:8.0f} {rate:10.0f} {curves.train[-1]:7.4f}"
        print(row if held is None else f"{row} {held[-1]:9.4f} {held[-1] / np.log(2):6.3f}", flush=True)
        if time.monotonic() - shown > 20:
            shown = time.monotonic()
            lines = model.sample(prompt, 160, 0.8, seed=seed).splitlines()
            print("\n".join(["", *(f"    {line}" for line in lines), ""]), flush=True)

    curves = model.fit(
        read,
        held_out,
        epochs=epochs,
        minutes=minutes,
        batch_size=batch,
        steps=steps,
        learning_rate=learning_rate,
        decay=decay,
        clip=clip,
        dropout=dropout,
        weight_decay=weight_decay,
        checkpoint=checkpoint,
        callback=tell,
    )
    model.save(out)
    if curve is not None:
        curves.save(curve)
    trained = time.monotonic() - begin
    assert model.vocabulary is not None
    tokens = model.vocabulary.encode(read)
    known, held = hold_out(tokens, held_out)
    found: dict[str, float] = {}
    if plot is not None:  # before what may take long
        save_figure(text_curve_figure(curves, {}), plot)
    if len(held) > 1:
        if baselines:
            table = ngram_table(known, held, len(model.vocabulary))
            found = {f"{n}-gram": value for n, value in table.items()}
        found["this model"] = model._score(held, 1 + len(held) // 2**20)
        print(f"\n{'held out':>12} {'nats/symbol':>12} {'bits/symbol':>12}")
        for key, value in found.items():
            print(f"{key:>12} {value:12.4f} {value / np.log(2):12.4f}")
    if plot is not None:
        save_figure(text_curve_figure(curves, {key: found[key] for key in found if "gram" in key}), plot)
    written = " and ".join(str(path) for path in (out, curve, plot) if path is not None)
    print(f"\ntrained in {trained:.0f} s, written to {written}")


@text.command("sample")
def text_sample(
    model: Annotated[Path, typer.Argument(help="A model that `fastrec text train` wrote.")],
    prompt: Annotated[str | None, typer.Option(help="What to go on with.  [default: a new line]")] = None,
    length: Annotated[int, typer.Option(min=1, help="Symbols to write.")] = 1000,
    temperature: Annotated[
        float, typer.Option(help="0 takes the likeliest, 1 draws as the model says.")
    ] = 0.8,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw from the so many likeliest only.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest with this probability.")
    ] = None,
    greedy: Annotated[bool, typer.Option(help="The likeliest, as --temperature 0.")] = False,
    samples: Annotated[int, typer.Option(min=1, help="Texts to write.")] = 1,
    rounded: Annotated[
        bool, typer.Option("--rounded", help="Weights of 16 bits, faster on the CPU.")
    ] = False,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Write text with a trained model, to the terminal as it comes."""
    use_threads(threads)
    from .rnn.text import CharModel

    name = resolve(backend and backend.value, domain="rnn")
    writer = CharModel.load(model, name)
    if rounded and writer.rnn is not None:
        writer.rnn = writer.rnn.rounded()
    given = (prompt, length, 0.0 if greedy else temperature, top_k, top_p, seed)
    if samples == 1:
        shown = prompt or ""
        for piece in writer.stream(*given):
            print(shown + piece, end="", flush=True)
            shown = ""
        print()
        return
    for i, drawn in enumerate(writer.sample(*given, samples=samples)):
        print(f"{'' if i == 0 else chr(10)}--- {i} ---\n{prompt or ''}{drawn}")


def show_what_can_be() -> None:
    """Print "?" for characters of a text, or of the name of a file, that the terminal does not have."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def read_text(file: Path) -> str:
    """The text of a file without its byte order mark; line ends of all kinds become "\\n"."""
    try:
        found = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text: byte {error.start} cannot be read") from None
    if not found:
        raise ValueError(f"{file}: the text is empty; give one to learn from")
    return found


@app.command()
def recall(
    text: Annotated[str, typer.Argument(help="Letters, digits: each is a memory.")] = "ATOM",
    side: Annotated[int, typer.Option(min=4, max=512, help="Pictures are side x side units.")] = 32,
    noise: Annotated[float, typer.Option(min=0, max=1, help="Share of the units flipped.")] = 0.25,
    update: UpdateOption = Update.asynchronous,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    out: Annotated[Path | None, typer.Option(help="Picture (png, pdf, svg).")] = Path("recall.png"),
) -> None:
    """Store pictures of letters, corrupt them and recall them: a table of overlaps and a picture."""
    use_threads(threads)
    from .files import require_writable
    from .hopfield.network import HopfieldNetwork
    from .hopfield.patterns import corrupt
    from .plot import glyphs, recall_figure, require_format, save_figure

    letters = list(dict.fromkeys(text))
    if not letters:
        raise ValueError("text is empty; give at least one letter")
    if out is not None:
        require_format(out)
        require_writable(out)
    pictures = glyphs(letters, side)
    memories = pictures.reshape(len(letters), -1)
    network = HopfieldNetwork(side * side, backend=resolve(backend and backend.value))
    network.store(memories)
    probes = corrupt(memories, noise, seed, network.backend)
    result = network.recall(probes, update=update.value, seed=seed)
    if out is not None:  # before the table, whose reader may leave
        shape = pictures.shape
        save_figure(recall_figure(pictures, probes.reshape(shape), result.states.reshape(shape)), out)
    print(
        f"{len(letters)} memories of {side} x {side} = {network.n} units, {noise:.0%} flipped, {update.value}"
    )
    print(f"{'memory':>6} {'overlap before':>15} {'after':>7} {'sweeps':>7} {'flips':>7}  stops at")
    before, after = (np.diagonal(network.overlaps(states)) for states in (probes, result.states))
    for i, letter in enumerate(letters):
        kind = {0: "nothing yet", 1: "a fixed point", 2: "a two-cycle"}[int(result.period[i])]
        if np.array_equal(result.states[i], memories[i]):
            kind = "the memory"
        row = f"{letter:>6} {before[i]:15.3f} {after[i]:7.3f} {result.sweeps[i]:7d} {result.flips[i]:7d}"
        print(f"{row}  {kind}")
    if out is not None:
        print(f"written to {out}")


@app.command()
def bench(
    only: Annotated[
        str | None,
        typer.Option(help="Some of overlaps,store,recall,capacity,elman,gru,lstm.  [default: all]"),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each job is timed.")] = 5,
    threads: ThreadsOption = None,
    out: Annotated[Path | None, typer.Option(help="Keep the report (.json).")] = None,
    against: Annotated[Path | None, typer.Option(help="An earlier report to compare with.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture (png, pdf, svg).")] = None,
) -> None:
    """How fast fastrec is on this machine, beside NumPy, PyTorch and JAX, and how near its limit."""
    use_threads(threads)
    from .bench.jobs import JOBS
    from .bench.report import Report, run
    from .bench.timing import machine
    from .files import require_suffix, require_writable
    from .plot import require_format, save_figure

    jobs = list(JOBS) if only is None else [name.strip() for name in only.split(",")]
    if unknown := [name for name in jobs if name not in JOBS]:
        raise typer.BadParameter(f"--only names {unknown[0]!r}; there are {', '.join(JOBS)}")
    before = None if against is None else Report.load(against)
    if out is not None:
        require_suffix(out, ".json")
        require_writable(out)
    if plot is not None:
        require_format(plot)
        require_writable(plot)
    if before and before.machine != machine():
        print(f"{against} is of another machine: {before.machine}\n", file=sys.stderr)
    report = run(jobs, rounds, lambda lines: print(lines, flush=True), before)
    if report.compiling > 1:
        print(f"\nbefore, {report.compiling:.0f} s to compile kernels, which are kept on disk")
    if out is not None:
        report.save(out)
    if plot is not None:
        save_figure(report.figure(), plot)
    if written := [str(path) for path in (out, plot) if path is not None]:
        print(f"\nwritten to {' and '.join(written)}")


@app.command()
def info() -> None:
    """Version, backends, devices, threads and the cache of compiled kernels."""
    import platform

    use_threads(None)
    default = resolve(None)
    print(f"fastrec   {__version__} (Python {platform.python_version()}, NumPy {np.__version__})")
    for name in BACKENDS:
        print(f"{name:<10}{lacking(name) or 'available'}")
    print(f"default   {default}")
    if lacking("cpu") is None:
        from .kernels.cpu.jit import describe

        for key, value in describe().items():
            print(f"{key:<10}{value}")
    if lacking("gpu") is None:
        from .hopfield.capacity import room

        scan, recall = room(device_memory()[0], device().multiprocessors)
        print(f"device    {describe_device()}")
        print(f"room      for a capacity trial of n = {scan}, async recall at load 0.1 of n = {recall}")


def describe_device() -> str:
    """The device that "gpu" runs on, its compute capability and its memory."""
    found, (free, total) = device(), device_memory()
    return (
        f"{found.name}, compute capability {found.capability}, {human(free)} of {human(total)} of memory free"
    )


def version(asked: bool) -> None:
    if asked:
        print(f"fastrec {__version__}")
        raise typer.Exit


@app.callback()
def options(
    show: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def fail(message: str, status: int = 1) -> NoReturn:
    if sys.stderr is not None:
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)  # names of files have any
        try:
            print(f"fastrec: {line}", file=sys.stderr)
        except OSError:  # the reader left, and Python would try again as it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.exit(status)


ENDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM, which batch systems send, under a name that typer does not turn into an exit code
    of its own.

    number: of the signal, once it came.  told: whether that was said.
    """

    number, told = 0, False


def hear_interrupts() -> None:
    """Let Ctrl-C and SIGTERM end the process, within about a second even from inside a long kernel call.

    Python runs a signal's handler between byte codes, so never during a kernel.  The wakeup socket is
    written at once, and the thread that waits for it ends a process that has not ended by itself.
    """

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        for each in ENDS:  # a second one would cut the end of the first short
            signal.signal(each, signal.SIG_IGN)
        Interrupted.number = number
        raise Interrupted

    def tell(lost: sys.UnraisableHookArgs) -> None:
        # Compilation calls back into Python, where no exception can go on: the thread below ends the process.
        if not issubclass(lost.exc_type, Interrupted):
            told_before(lost)

    def watch() -> None:
        while (number := receiver.recv(1)[0]) not in ENDS:
            pass
        time.sleep(1)
        if sys.stderr is not None and not Interrupted.told:
            end = "\r\x1b[K\x1b[?25h" if on_terminal() else ""  # clear the bar, show the cursor
            with suppress(OSError):
                os.write(2, f"{end}fastrec: {ENDS[signal.Signals(number)]}\n".encode())
        os._exit(128 + number)

    told_before, sys.unraisablehook = sys.unraisablehook, tell
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    for each in ENDS:
        signal.signal(each, interrupt)
    signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()


def flush_output() -> None:
    """Write what was printed; if that fails raise and drop it, or Python would try again as it ends."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise type(error)(f"standard output: {error.strerror}") from None


def prepare_streams() -> None:
    """Keep what is printed, warned and written apart, whatever the command was started with."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file to be opened would get its number and what is printed
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    show_what_can_be()
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(logging.Formatter("fastrec: %(message)s"))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # warns of a home that it cannot write to


def main() -> None:
    """Run the command line: exit code 0, 1 for an error (one line), 2 for wrong usage, 130 for Ctrl-C, 143
    for SIGTERM."""
    try:
        prepare_streams()
        hear_interrupts()
        try:
            try:
                app()
            except OSError as error:
                if hasattr(error, "result"):  # of a job whose file could not be written in the end
                    with suppress(OSError):
                        print(error.result)
                        flush_output()
                raise
            finally:
                flush_output()
        except BaseException:
            if Interrupted.number:  # lost in compilation, see `tell`, which then failed for want of its work
                raise Interrupted from None
            raise
    except BrokenPipeError:  # the reader of the output left (`| head`)
        sys.exit(1)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error) or type(error).__name__)
    except (ValueError, BackendError, MemoryError, ArithmeticError) as error:
        fail(str(error) or type(error).__name__)
    except KeyboardInterrupt:
        fail("interrupted", 130)
    except Interrupted:
        Interrupted.told = True
        fail(ENDS[signal.Signals(Interrupted.number)], 128 + Interrupted.number)
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("cupy", "cupy_backends"):
            raise
        fail(f"the device failed: {error}")
