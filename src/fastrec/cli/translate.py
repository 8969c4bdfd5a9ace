"""`fastrec translate train` and `translate run`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..backend import resolve
from ..messages import install_command
from .options import (
    BackendOption,
    CheckpointOption,
    KeepOption,
    SeedOption,
    TextCellOption,
    ThreadsOption,
    files,
    learned,
    trained,
    use_threads,
    written,
)
from .outputs import Rows, require_file_for, require_two_files, show, written_to
from .resuming import training_kept
from .usage import Command, Commands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..rnn.history import History
    from ..text.translation import Translator


class Attention(StrEnum):
    general = "general"
    dot = "dot"
    additive = "additive"
    none = "none"


WidthOption = Annotated[int, typer.Option(min=1, help="Beams of the search; 1 takes the likeliest words.")]
PenaltyOption = Annotated[float, typer.Option(min=0, help="Larger ones favour longer translations.")]

app = typer.Typer(
    cls=Commands, help="Translation: train on pairs of sentences, translate others.", no_args_is_help=True
)


@app.command(cls=Command)
def train(
    file: Annotated[
        Path,
        typer.Argument(
            help="Lines of a sentence, a tab and its translation, UTF-8.", autocompletion=files("")
        ),
    ],
    out: Annotated[Path, written(help="File for the model (.npz).", autocompletion=files(".npz"))] = Path(
        "translator.npz"
    ),
    validation: Annotated[
        Path | None,
        learned(help="File of held-out pairs.", show_default="part of the first", autocompletion=files("")),
    ] = None,
    held_out: Annotated[
        float, learned(min=0, max=0.9, help="Fraction held out, at the end of the file.")
    ] = 0.05,
    hidden_size: Annotated[
        int, learned("--hidden", min=1, help="Number of hidden units of each layer.")
    ] = 256,
    num_layers: Annotated[int, learned("--layers", min=1, help="Number of layers.")] = 1,
    cell: TextCellOption = "gru",
    embedding_size: Annotated[int, learned("--embedding", min=1, help="Embedding size.")] = 256,
    attention: Annotated[Attention, learned(help="Scores of the attention.")] = Attention.general,
    bidirectional: Annotated[bool, learned(help="Read sentences in both directions.")] = True,
    vocabulary_size: Annotated[
        int, learned("--vocabulary", min=2, help="Number of words of each language to keep.")
    ] = 10_000,
    min_count: Annotated[int, learned(min=1, help="How often a word must be there to be kept.")] = 2,
    epochs: Annotated[int | None, trained(help="Passes over the pairs.", show_default="10")] = None,
    minutes: Annotated[float | None, trained(help="Training time, instead of --epochs.")] = None,
    batch_size: Annotated[int, trained("--batch", min=1, help="Pairs per update.")] = 64,
    learning_rate: Annotated[float, trained(help="Learning rate of Adam.")] = 2e-3,
    decay: Annotated[
        float, trained(min=0, max=1, help="Last fraction of the training, in which the rate falls to 0.")
    ] = 0.6,
    clip: Annotated[float, trained(help="Maximum norm of a gradient.")] = 1.0,
    dropout: Annotated[float, trained(min=0, max=0.99, help="Probability to drop a hidden unit.")] = 0.2,
    weight_decay: Annotated[float, trained(min=0, help="Weight decay of Adam.")] = 0.0,
    width: WidthOption = 5,
    length_penalty: PenaltyOption = 1.0,
    seed: SeedOption = 0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
    checkpoint: CheckpointOption = None,
    keep: KeepOption = True,
) -> None:
    """Train a network to translate; write the model, and print BLEU on held-out pairs (needs sacrebleu).

    Examples::
      fastrec translate train pairs.tsv --minutes 10
    """
    use_threads(threads)
    from ..text.sentences import read_sentence_pairs
    from ..text.translation import Translator

    require_file_for(out, ".npz")
    require_two_files(checkpoint, out)
    pairs = read_sentence_pairs(file)
    if validation is not None:
        held = read_sentence_pairs(validation)
    else:
        kept = len(pairs) - round(held_out * len(pairs))
        pairs, held = pairs[:kept], pairs[kept:]
        if not pairs:
            raise ValueError(
                f"--held-out {held_out:g} leaves none of the {len(held)} pairs in {file} to train on; give a "
                "smaller fraction"
            )
    name = resolve(backend, domain="rnn")
    scores: Any = None if attention is Attention.none else attention.value
    sizes = (hidden_size, cell, num_layers, embedding_size, scores, bidirectional, vocabulary_size, min_count)
    translator = Translator(*sizes, seed=seed, backend=name)
    rows: Rows | None = None

    def tell(translator: Translator, history: History) -> None:
        nonlocal rows
        epoch = len(history.train) - 1
        if history.best_epoch == epoch:  # so that whatever ends the training leaves a model
            translator.save(out)
        if rows is None:
            assert translator.source is not None and translator.target is not None
            assert translator.model is not None
            words = f"{len(translator.source)} and {len(translator.target)} words"
            show(f"{file}: {len(pairs)} pairs, {words}; {translator.model.n_parameters} parameters\n")
            rows = Rows({"epoch": 5, "seconds": 8, "train": 7, "held out": 9})
            expect(history.seconds[0] * (epochs or 10))
        loss = "" if history.validation is None else f"{history.validation[-1]:.4f}"
        rows.add(str(epoch), f"{sum(history.seconds):.0f}", f"{history.train[-1]:.4f}", loss)

    with training_kept(checkpoint, keep and minutes is None) as (checkpoint, expect):
        translator.fit(
            pairs,
            held or None,
            epochs=epochs,
            minutes=minutes,
            batch_size=batch_size,
            learning_rate=learning_rate,
            decay=decay,
            clip=clip,
            dropout=dropout,
            weight_decay=weight_decay,
            callback=tell,
            checkpoint=checkpoint,
        )
        translator.save(out)
    if held:
        translations = translator.translate([sentence for sentence, _ in held], width, length_penalty)
        for (sentence, _), translation in list(zip(held, translations, strict=True))[:5]:
            show(f"\n    {sentence}\n    {translation}")
        show(f"\nBLEU of {len(held)} held-out pairs: {bleu(translations, [right for _, right in held])}")
    show(f"\n{written_to(out)}")


@app.command(cls=Command)
def run(
    model: Annotated[
        Path, typer.Argument(help="Model written by `fastrec translate train`.", autocompletion=files(".npz"))
    ],
    sentences: Annotated[
        list[str] | None, typer.Argument(help="Sentences.", show_default="lines of standard input")
    ] = None,
    width: WidthOption = 5,
    length_penalty: PenaltyOption = 1.0,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Translate sentences with a trained model, one a line.

    Examples::
      fastrec translate run translator.npz "one hundred and two"
    """
    use_threads(threads)
    from ..text.sentences import decode_lines
    from ..text.translation import Translator

    translator = Translator.load(model, resolve(backend, domain="rnn"))
    given = sentences or decode_lines(sys.stdin.buffer.read(), "standard input")
    for translation in translator.translate(given, width, length_penalty):
        show(translation)


def bleu(translations: Sequence[str], references: Sequence[str]) -> str:
    """BLEU of a corpus, or what to install for it."""
    try:
        from sacrebleu import corpus_bleu
    except ImportError:
        return f"not computed, as sacrebleu is not installed; {install_command('sacrebleu')}"
    return f"{corpus_bleu(translations, [references]).score:.1f}"
