"""`fastrec text train` and `text sample`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..backend import resolve
from ..display import Table
from .options import (
    FIGURES,
    BackendOption,
    CheckpointOption,
    KeepOption,
    SeedOption,
    TextCellOption,
    ThreadsOption,
    Unit,
    files,
    learned,
    trained,
    use_threads,
    written,
)
from .outputs import Rows, require_file_for, require_picture, require_two_files, show, written_to
from .resuming import training_kept
from .usage import Command, Commands

app = typer.Typer(
    cls=Commands, help="Language models: train one on a text, generate text with it.", no_args_is_help=True
)


@app.command(cls=Command)
def train(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Text to learn from, UTF-8.", show_default="Romeo and Juliet", autocompletion=files("")
        ),
    ] = None,
    out: Annotated[Path, written(help="File for the model (.npz).", autocompletion=files(".npz"))] = Path(
        "model.npz"
    ),
    hidden_size: Annotated[
        int, learned("--hidden", min=1, help="Number of hidden units of each layer.")
    ] = 512,
    num_layers: Annotated[int, learned("--layers", min=1, help="Number of layers.")] = 2,
    cell: TextCellOption = "gru",
    embedding_size: Annotated[
        int | None, learned("--embedding", min=1, help="Embedding size.", show_default="none")
    ] = None,
    unit: Annotated[Unit, learned(help="Symbols of the text.")] = Unit.character,
    vocabulary_size: Annotated[
        int | None,
        learned(
            "--vocabulary", min=2, help="Number of symbols to keep; others are unknown.", show_default="all"
        ),
    ] = None,
    held_out: Annotated[
        float, learned(min=0, max=0.9, help="Fraction held out, at the end of the text.")
    ] = 0.1,
    epochs: Annotated[float | None, trained(help="Passes through the text.", show_default="20")] = None,
    minutes: Annotated[float | None, trained(help="Training time, instead of --epochs.")] = None,
    batch_size: Annotated[int, trained("--batch", min=1, help="Places read in parallel.")] = 32,
    steps: Annotated[int, trained(min=1, help="Symbols of each place per update.")] = 100,
    learning_rate: Annotated[float, trained(help="Learning rate of Adam.")] = 2e-3,
    decay: Annotated[
        float, trained(min=0, max=1, help="Last fraction of the training, in which the rate falls to 0.")
    ] = 0.6,
    clip: Annotated[float, trained(help="Maximum norm of a gradient.")] = 1.0,
    dropout: Annotated[float, trained(min=0, max=0.99, help="Probability to drop a hidden unit.")] = 0.5,
    weight_decay: Annotated[float, trained(min=0, help="Weight decay of AdamW.")] = 0.0,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    checkpoint: CheckpointOption = None,
    keep: KeepOption = True,
    curve: Annotated[
        Path | None, written(help="File for the losses (.csv).", autocompletion=files(".csv"))
    ] = None,
    plot: Annotated[
        Path | None, written(help="Their figure (.png, .pdf, .svg).", autocompletion=files(*FIGURES))
    ] = Path("text.png"),
    prompt: Annotated[
        str | None, written(help="Text that samples continue.", show_default="a new line")
    ] = None,
    baselines: Annotated[bool, written(help="Compare with n-gram models.")] = True,
) -> None:
    """Train a recurrent network to predict the next character of a text; write the model and a figure.

    Examples::
      fastrec text train --minutes 5
      fastrec text train novel.txt --out novel.npz --plot novel.png
    """
    use_threads(threads)
    from ..plot import save_figure, text_curve_figure
    from ..rnn.history import TextHistory
    from ..text.example import example_text
    from ..text.language_model import CharModel, read_prompt
    from ..text.ngrams import ORDERS, ngram_table, require_counts
    from ..text.reading import read_file
    from ..text.training import hold_out, score
    from ..text.vocabulary import Vocabulary

    require_file_for(out, ".npz")
    require_picture(plot)
    require_file_for(curve, ".csv")
    require_two_files(checkpoint, out)
    title, read = ("Romeo and Juliet", example_text()) if file is None else (str(file), read_file(file))
    symbols = Vocabulary.of(read, unit.value, vocabulary_size)
    if prompt is not None:
        read_prompt(symbols, prompt)
    if baselines and held_out:
        known, _ = hold_out(symbols.encode(read), held_out)
        require_counts(max(ORDERS), len(known), "; give --no-baselines, or a shorter text")
    name = resolve(backend, domain="rnn")
    model = CharModel(
        hidden_size, cell, num_layers, embedding_size, unit.value, vocabulary_size, seed=seed, backend=name
    )
    begin = shown = time.monotonic()
    rows: Rows | None = None

    def tell(model: CharModel, curves: TextHistory) -> None:
        nonlocal shown, rows
        assert model.rnn is not None and model.vocabulary is not None
        if curves.best == len(curves.passes) - 1:  # so that whatever ends the training leaves a model
            model.save(out)
        held = curves.held_out
        if rows is None:
            size = f"{len(read)} characters, {len(model.vocabulary)} symbols"
            shape = f"{num_layers} x {hidden_size} {cell!s}"
            show(f"{title}: {size}; {shape}, {model.rnn.n_parameters} parameters\n")
            heads = {"passes": 7, "seconds": 8, "symbols/s": 10, "train": 7}
            rows = Rows(heads if held is None else heads | {"held out": 9, "bits": 6})
            expect(60 * minutes if minutes else curves.seconds[-1] / curves.passes[-1] * (epochs or 20))
        rate, seconds = curves.symbols[-1] / curves.seconds[-1], f"{curves.seconds[-1]:.0f}"
        losses = () if held is None else (f"{held[-1]:.4f}", f"{held[-1] / np.log(2):.3f}")
        rows.add(f"{curves.passes[-1]:.2f}", seconds, f"{rate:.0f}", f"{curves.train[-1]:.4f}", *losses)
        if time.monotonic() - shown > 20:
            shown = time.monotonic()
            lines = model.sample(prompt, 160, 0.8, seed=seed).splitlines()
            show("\n".join(["", *(f"    {line}" for line in lines), ""]), flush=True)

    with training_kept(checkpoint, keep) as (checkpoint, expect):
        curves = model.fit(
            read,
            held_out,
            epochs=epochs,
            minutes=minutes,
            batch_size=batch_size,
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
    assert model.rnn is not None and model.vocabulary is not None
    known, held = hold_out(model.vocabulary.encode(read), held_out)
    losses: dict[str, float] = {}
    if plot is not None:  # before what may take long
        save_figure(text_curve_figure(curves, {}), plot)
    if len(held) > 1:
        if baselines:
            grams = ngram_table(known, held, len(model.vocabulary))
            losses = {f"{n}-gram": value for n, value in grams.items()}
        losses["this model"] = score(model.rnn, held, 1 + len(held) // 2**20)
        table = [[key, f"{value:.4f}", f"{value / np.log(2):.4f}"] for key, value in losses.items()]
        show(Table("", ("held out", "nats/symbol", "bits/symbol"), table))
    if plot is not None:
        save_figure(text_curve_figure(curves, {key: losses[key] for key in losses if "gram" in key}), plot)
    show(f"\ntrained in {trained:.0f} s, {written_to(out, curve, plot)}")


@app.command(cls=Command)
def sample(
    model: Annotated[
        Path, typer.Argument(help="Model written by `fastrec text train`.", autocompletion=files(".npz"))
    ],
    prompt: Annotated[str | None, typer.Option(help="Text to continue.", show_default="a new line")] = None,
    length: Annotated[int, typer.Option(min=1, help="Number of symbols to generate.")] = 1000,
    temperature: Annotated[
        float, typer.Option(help="0 takes the likeliest symbol, 1 draws as the model predicts.")
    ] = 0.8,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw from the k likeliest symbols only.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest symbols of this total probability.")
    ] = None,
    greedy: Annotated[bool, typer.Option(help="Like --temperature 0.")] = False,
    samples: Annotated[int, typer.Option(min=1, help="Number of texts to generate.")] = 1,
    rounded: Annotated[
        bool, typer.Option("--rounded", help="Use 16-bit weights, faster on the CPU.")
    ] = False,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Generate text with a trained model and print it as it is drawn.

    Examples::
      fastrec text sample model.npz --prompt "ROMEO:" --length 500
    """
    use_threads(threads)
    from ..text.language_model import CharModel

    name = resolve(backend, domain="rnn")
    writer = CharModel.load(model, name)
    if rounded and writer.rnn is not None:
        writer.rnn = writer.rnn.rounded()
    options = (prompt, length, 0.0 if greedy else temperature, top_k, top_p, seed)
    if samples == 1:
        shown = prompt or ""
        for piece in writer.stream(*options):
            show(shown + piece, end="", flush=True)
            shown = ""
        show("")
        return
    for i, drawn in enumerate(writer.sample(*options, samples=samples)):
        show(f"{'' if i == 0 else chr(10)}--- {i} ---\n{prompt or ''}{drawn}")
