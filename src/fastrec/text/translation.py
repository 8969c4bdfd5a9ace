"""Translation of sentences: a network reads one, another one writes it in another language."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..archives import open_archive, read_text
from ..backend import BackendChoice
from ..compilation import clock
from ..display import Column, Displayed
from ..kernels.interruption import uninterrupted
from ..messages import shown
from ..progress import progress_bar
from ..rnn.cells import STACKABLE, CellName
from ..rnn.config import MAX_SIZE, Array
from ..rnn.history import History
from ..rnn.loop import TrainingUpdate
from ..rnn.optimizers import Adam
from ..rnn.padding import pad_sequences, unpad
from ..rnn.randomness import read_dropout
from ..rnn.serialization import EXTRA_TEXT, LONGEST_BESIDE
from ..streams import MAX_SEED, Seed, read_seed
from ..validation import as_bool, as_choice, as_int, as_number, number
from .decoding import read_search
from .encoder_decoder import EncoderDecoder
from .sentences import JOINER, join_words, split_sentence, starts_with_capital
from .sizes import Attention, Sizes
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AT_ONCE = 256  # sentences of one beam search
NETWORKS = ("hidden_size", "cell", "num_layers", "embedding_size", "attention", "bidirectional", "dtype")
SLACK = 10  # words that a translation may have beside twice those of the longest sentence


@dataclass(frozen=True)
class Plan:
    """How long a training lasts: so many epochs, or as many as end within a budget of seconds, at least one.

    per_epoch: updates of an epoch. decay: the last part of all updates, in which the learning rate falls.
    """

    budget: float | None
    epochs: int
    per_epoch: int
    decay: float
    begin: float = field(default_factory=clock)

    def total(self, updates: int) -> int:
        """Return the number of epochs, when so many updates have been made."""
        if self.budget is None or not updates:
            return self.epochs
        seconds = (clock() - self.begin) / updates * self.per_epoch
        return max(1, int(min(self.budget / seconds, MAX_SIZE)))

    def factor(self, updates: int) -> float:
        """Return the factor of the learning rate in the next update."""
        left = 1 - updates / (self.total(updates) * self.per_epoch)
        return min(1.0, max(0.0, left) / self.decay) if self.decay else 1.0

    def is_over(self, update: TrainingUpdate) -> bool:
        """Return whether the training ends with this update."""
        epoch, rest = divmod(update.number + 1, self.per_epoch)
        return rest == 0 and epoch >= self.total(update.number + 1)


class Weights(NamedTuple):
    """The fields of `Alignment`, which its docstring describes."""

    weights: Array
    source: list[str]
    target: list[str]


class Alignment(Displayed, Weights):
    """Which words of a sentence a translation attends to, as `fastrec.plot.attention` draws it.

    Parameters
    ----------
    weights : ndarray of shape (u, t)
        Of each word of the translation the weights of the words of the sentence, which add up to 1.
    source : list of str
        The t words of the sentence, "<unk>" for unknown ones.
    target : list of str
        The u words of the translation.

    Examples
    --------
    >>> alignment = fastrec.Alignment(np.array([[0.9, 0.1], [0.2, 0.8]]), ["the", "house"], ["la", "casa"])
    >>> fastrec.plot.attention(*alignment).get_xlabel()
    'source'
    """

    def _summary(self) -> dict[str, Any]:
        return {"source": len(self.source), "target": len(self.target)}

    def _columns(self) -> list[Column]:
        words = [(y, x) for y in self.target for x in self.source]
        target, source = zip(*words, strict=True)
        return [Column("target", target), Column("source", source), Column("weight", self.weights.ravel())]

    def _figure(self) -> Figure:
        from .. import plot

        return cast("Figure", plot.attention(*self).figure)


class Translator:
    """An `EncoderDecoder` with attention that translates sentences, word by word.

    Sentences are split into words and punctuation marks at the boundaries of Unicode (UAX #29). A capital
    letter at the beginning is taken away from words that have no other, and a translation gets one if its
    sentence has one. "￭" joins a piece to its neighbour where no space is between them: "(50%)" is "(￭",
    "50", "￭%", "￭)". So all but the kind of spaces is restored.

    Parameters
    ----------
    hidden_size : int, default 256
        Hidden units of each layer of both networks.
    cell : str, default "gru"
        As in `RNN`, but not "jordan".
    num_layers : int, default 1
        Layers of both networks.
    embedding_size : int, default 256
        Numbers that stand for a word.
    attention : {"general", "dot", "additive"} or None, default "general"
        As in `EncoderDecoder`.
    bidirectional : bool, default True
        As in `EncoderDecoder`.
    vocabulary_size : int, default 10000
        Largest number of words of each language, the most frequent ones. One symbol stands for all others:
        where a translation has it, it gets the word of the sentence with the largest weight, or nothing
        without attention.
    min_count : int, default 2
        How often a word must be in the pairs to be known.
    dtype : dtype, default np.float32
        np.float32 or np.float64.
    seed : int, numpy.random.Generator or None
        As in `EncoderDecoder`, also for the order of the pairs and dropout.
    backend : str, optional
        As in `RNN`.

    Attributes
    ----------
    source, target : Vocabulary or None
        The words of both languages, None before `fit` has seen pairs.
    model : EncoderDecoder or None
        The networks, None before `fit` has seen pairs.

    Raises
    ------
    ValueError
        For invalid arguments. Methods raise it too, and change nothing then.

    Examples
    --------
    >>> pairs = [(fastrec.number_words(n), fastrec.number_words(n, "es")) for n in range(100)]
    >>> translator = fastrec.Translator(32, embedding_size=16, seed=1)
    >>> history = translator.fit(pairs, epochs=40, batch_size=10, learning_rate=0.01, dropout=0)
    >>> translator.translate(["sixty-four", "Ninety"])
    ['sesenta y cuatro', 'Noventa']
    """

    source: Vocabulary | None
    target: Vocabulary | None
    model: EncoderDecoder | None

    def __init__(
        self,
        hidden_size: int = 256,
        cell: CellName = "gru",
        num_layers: int = 1,
        embedding_size: int = 256,
        attention: Attention | None = "general",
        bidirectional: bool = True,
        vocabulary_size: int = 10_000,
        min_count: int = 2,
        dtype: DTypeLike = np.float32,
        seed: Seed = None,
        backend: BackendChoice | None = None,
    ) -> None:
        as_choice("cell", cell, STACKABLE)
        networks = (hidden_size, cell, "tanh", num_layers, "sequences", dtype)  # of a vocabulary to come
        self._sizes = Sizes(1, 1, *networks, attention, bidirectional, embedding_size)  # type: ignore[arg-type]
        self._size = as_int("vocabulary_size", vocabulary_size, 2, MAX_SIZE)
        self._least = as_int("min_count", min_count, 1, MAX_SIZE)
        self._seed, self._backend = read_seed(seed, most=MAX_SEED - 1), backend
        self.source = self.target = self.model = None

    @property
    def seed(self) -> int:
        """The seed of the first weights, of the order of the pairs and of dropout."""
        return self._seed

    def __repr__(self) -> str:
        if self.model is None:
            return f'Translator({self._sizes.hidden_size}, "{self._sizes.cell}", not fitted)'
        source, target, model = self._fitted()
        return f"Translator({model._line()}, words={len(source)} to {len(target)})"

    def fit(
        self,
        pairs: Sequence[tuple[str, str]],
        validation: Sequence[tuple[str, str]] | None = None,
        *,
        epochs: int | None = None,
        minutes: float | None = None,
        batch_size: int = 64,
        learning_rate: float = 2e-3,
        decay: float = 0.6,
        clip: float = 1.0,
        dropout: float = 0.2,
        weight_decay: float = 0.0,
        progress: bool = True,
        callback: Callable[[Translator, History], object] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train on pairs of a sentence and its translation, with `Adam`.

        Afterwards the networks have the parameters of the epoch with the least validation loss, or training
        loss without validation, also when the training diverges or Ctrl-C ends it. A second call continues
        with the networks and the words of the first.

        Parameters
        ----------
        pairs : sequence of tuple of str
            (sentence, translation), as `read_sentence_pairs` returns them.
        validation : sequence of tuple of str, optional
            Other pairs, to take the loss of after each epoch.
        epochs : int, optional
            Passes over the pairs; 10 if minutes is not given either.
        minutes : float, optional
            Train for as many whole epochs as end within this time instead, at least one.
        batch_size : int, default 64
            Pairs per update. Those of a batch have similar lengths.
        learning_rate : float, default 2e-3
            Step size, which falls linearly to 0 at the end.
        decay : float, default 0.6
            Last part of the training in which the learning rate falls, from 0 to 1.
        clip : float, default 1.0
            Largest norm of the gradient.
        dropout : float, default 0.2
            As in `EncoderDecoder.fit`.
        weight_decay : float, default 0.0
            As in `Adam`.
        progress : bool, default True
            Show a bar with the time left, in a terminal or a notebook.
        callback : callable, optional
            Called after each epoch, with the translator and the `History` so far.
        checkpoint : path, optional
            A .npz file, replaced after every epoch. If it exists, training goes on from it, and ends with the
            same bits as an uninterrupted one. Not with minutes.

        Returns
        -------
        History
            Losses, in nats per word, and gradient norms of all epochs.

        Raises
        ------
        ValueError
            For invalid arguments, before any work.
        FloatingPointError
            If the training diverges, as `fastrec.fit` says.
        """
        sides = split_pairs("pairs", pairs)
        held = None if validation is None else split_pairs("validation", validation)
        if epochs is not None and minutes is not None:
            raise ValueError("epochs and minutes are both given; give one of them")
        if minutes is not None and checkpoint is not None:
            raise ValueError("checkpoint and minutes are both given; give epochs in place of minutes")
        budget = None if minutes is None else 60 * number("minutes", minutes, 0)
        total = as_int("epochs", 10 if epochs is None else epochs, 1, MAX_SIZE)
        batch_size = as_int("batch_size", batch_size, 1, MAX_SIZE)
        decay = as_number("decay", decay, 0, 1)
        read_dropout(self._sizes.decoder, dropout, 0)
        progress = as_bool("progress", progress)
        if callback is not None and not callable(callback):
            raise ValueError(
                f"callback is {shown(callback)}; it must be a function of a Translator and a History"
            )
        optimizer = Adam(number("learning_rate", learning_rate, 0), weight_decay=weight_decay, clip=clip)
        source, target = self.source or self._vocabulary(sides[0]), self.target or self._vocabulary(sides[1])
        model = self.model or self._network(len(source), len(target))
        sources, targets, lengths, target_lengths = padded(source, target, *sides)
        plan = Plan(budget, total, -(-len(sources) // batch_size), decay)

        def notify(_: int, history: History) -> None:
            if callback is not None:
                callback(self, history)

        with uninterrupted():
            self.source, self.target, self.model = source, target, model  # the network last, see `_fitted`
        with progress_bar("training", budget or 0, progress and budget is not None) as advance:
            before = clock()

            def is_over(update: TrainingUpdate) -> bool:
                nonlocal before
                advance(clock() - before, f"epoch {update.epoch}, loss {update.loss:.4g}")
                before = clock()
                return plan.is_over(update)

            return model.fit(
                *(sources, targets, None if held is None else padded(source, target, *held), optimizer),
                *(total if budget is None else MAX_SIZE, batch_size, lengths, target_lengths),
                seed=self._seed,
                progress=progress and budget is None,
                callback=notify,
                dropout=dropout,
                checkpoint=checkpoint,
                schedule=plan.factor,
                keep="best",
                on_update=is_over,
                similar_lengths=True,
            )

    def _vocabulary(self, sentences: Sequence[Sequence[str]]) -> Vocabulary:
        counts = Counter(chain.from_iterable(sentences))
        kept = Counter({word: count for word, count in counts.items() if count >= self._least})
        return Vocabulary._most_frequent(kept, "word", self._size)

    def _network(self, source_size: int, target_size: int) -> EncoderDecoder:
        sizes = vars(replace(self._sizes, source_size=source_size, target_size=target_size))
        return EncoderDecoder(**sizes, seed=self._seed, backend=self._backend)

    def _fitted(self) -> tuple[Vocabulary, Vocabulary, EncoderDecoder]:
        model = self.model  # before the vocabularies, as `fit` sets it last
        if model is None or self.source is None or self.target is None:
            raise ValueError("this translator has not seen pairs yet; call fit, or load one")
        return self.source, self.target, model

    def translate(self, sentences: Sequence[str], width: int = 5, length_penalty: float = 1.0) -> list[str]:
        """Translate sentences by beam search.

        Parameters
        ----------
        sentences : sequence of str
            The sentences; those without a word give "".
        width : int, default 5
            Beams, as in `EncoderDecoder.beam_search`; 1 takes the likeliest word in each step.
        length_penalty : float, default 1.0
            As in `EncoderDecoder.beam_search`: larger ones favour longer translations.

        Returns
        -------
        list of str
            The translations.

        Raises
        ------
        ValueError
            For invalid arguments, and before `fit`.
        FloatingPointError
            If the outputs of the network are not finite.
        """
        self._fitted()
        read_search(1, width, length_penalty, 1)
        texts = read_sentences("sentences", sentences)
        words = [split_sentence(text) for text in texts]
        translations = [""] * len(texts)
        rows = sorted((j for j in range(len(words)) if words[j]), key=lambda j: len(words[j]))
        with progress_bar("translating", len(rows)) as advance:
            for first in range(0, len(rows), AT_ONCE):
                some = rows[first : first + AT_ONCE]
                written, _ = self._translate([words[j] for j in some], width, length_penalty)
                for j, of_one in zip(some, written, strict=True):
                    translations[j] = join_words(of_one, starts_with_capital(texts[j]))
                advance(len(some), "translating")
        return translations

    def attention(
        self, sentence: str, translation: str | None = None, width: int = 5, length_penalty: float = 1.0
    ) -> Alignment:
        """Return which words of a sentence each word of its translation attends to.

        Parameters
        ----------
        sentence : str
            The sentence.
        translation : str, optional
            Its translation, by default that of `translate`.
        width, length_penalty : optional
            As in `translate`.

        Returns
        -------
        Alignment
            The weights, and the words of both.

        Raises
        ------
        ValueError
            For invalid arguments, without attention, and before `fit`.
        FloatingPointError
            If the outputs of the network are not finite.
        """
        source, target, model = self._fitted()
        if self._sizes.attention is None:
            raise ValueError('this translator has no attention; make one with attention="general"')
        (words,) = map(split_sentence, read_sentences("sentence", [sentence]))
        if not words:
            raise ValueError(f"sentence is {shown(sentence)}, which has no words; give another")
        if translation is None:
            (written,), weights = self._translate([words], width, length_penalty)
        else:
            (written,) = map(split_sentence, read_sentences("translation", [translation]))
            if not written:
                raise ValueError(
                    f"translation is {shown(translation)}, which has no words; give another, or leave it out"
                )
            sources, targets, *lengths = padded(source, target, [words], [written])
            weights = model.attention(sources, targets, *lengths)
        sides = ([word.replace(JOINER, "") for word in side] for side in (words, written))
        return Alignment(weights[0, : len(written)], *sides)

    def _translate(
        self, sentences: Sequence[list[str]], width: int, length_penalty: float
    ) -> tuple[list[list[str]], Array]:
        """Return the words of the translations, and the weights (n, u + 1, t) of the attention, if any."""
        source, target, model = self._fitted()
        tokens, lengths = pad_words(source, sentences)
        steps = 2 * int(lengths.max()) + SLACK
        found = model.beam_search(tokens, steps, lengths, width=width, length_penalty=length_penalty)
        symbols, ends = found.symbols[:, 0], found.lengths[:, 0]
        written = [[target.symbols[token] for token in row] for row in unpad(symbols, ends)]
        if self._sizes.attention is None:
            unknown = target.symbols[-1]
            return [[word for word in words if word != unknown] for words in written], np.zeros(0)
        weights = model.attention(tokens, symbols, lengths, ends)
        for row, step in zip(*np.nonzero(symbols == target.unknown), strict=True):
            written[row][step] = sentences[row][weights[row, step].argmax()]
        return written, weights

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write words and networks to a NumPy .npz file, replacing it in one step.

        `EncoderDecoder.load` reads the networks alone.

        Parameters
        ----------
        path : path
            A name that ends in .npz.

        Raises
        ------
        ValueError
            If the suffix is another one, and before `fit`.
        OSError
            If the file cannot be written.
        """
        source, target, model = self._fitted()
        words = {"source": source.symbols, "target": target.symbols}
        model._save(path, words | {"vocabulary_size": self._size, "min_count": self._least})

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: BackendChoice | None = None) -> Translator:
        """Read a file that `save` wrote. Nothing in the file is executed.

        Parameters
        ----------
        path : path
            The file.
        backend : str, optional
            As in `RNN`.

        Returns
        -------
        Translator
            An equal one.

        Raises
        ------
        ValueError
            If the file is foreign, truncated or damaged; the message names it.
        OSError
            If it cannot be read.
        """
        with open_archive(path, "translator") as archive:
            settings = read_text(archive, EXTRA_TEXT, "translator", LONGEST_BESIDE)
            source, target = (
                Vocabulary(tuple(settings[key]), "word", len(settings[key]) - 1)
                for key in ("source", "target")
            )
            model = EncoderDecoder._read(archive, backend)
            if (model.source_size, model.target_size) != (len(source), len(target)):
                raise ValueError(
                    f"damaged, its networks do not go with {len(source)} and {len(target)} words"
                )
            networks = {key: getattr(model._sizes, key) for key in NETWORKS}
            rest = {key: settings[key] for key in ("vocabulary_size", "min_count", "seed")}
            translator = cls(**networks, **rest, backend=backend)
        translator.source, translator.target, translator.model = source, target, model
        return translator


def split_pairs(name: str, pairs: Any) -> tuple[list[list[str]], list[list[str]]]:
    """Return the words of sentences and of their translations; ValueError unless all have some."""
    given = list(pairs) if np.iterable(pairs) and not isinstance(pairs, str) else []
    if not given:
        raise ValueError(f"{name} is {shown(pairs)}; give pairs (sentence, translation), at least one")
    for j, pair in enumerate(given):
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2):
            raise ValueError(f"{name}[{j}] is {shown(pair)}; it must be a pair (sentence, translation)")
    sides = (read_sentences(name, side) for side in zip(*given, strict=True))
    sources, targets = ([split_sentence(sentence) for sentence in side] for side in sides)
    for j, words in enumerate(zip(sources, targets, strict=True)):
        if not all(words):
            raise ValueError(f"{name}[{j}] is {shown(given[j])}; both sentences must have words")
    return sources, targets


def read_sentences(name: str, sentences: Any) -> list[str]:
    """Return sentences as a list; ValueError unless they are a sequence of str."""
    if isinstance(sentences, str) or not np.iterable(sentences):
        raise ValueError(f"{name} is {shown(sentences)}; give a list of str")
    read = list(sentences)
    for sentence in read:
        if not isinstance(sentence, str):
            raise ValueError(f"{name} holds {shown(sentence)}, which is no str; give sentences as str")
    return read


def pad_words(vocabulary: Vocabulary, sentences: Sequence[Sequence[str]]) -> tuple[Array, NDArray[np.int64]]:
    """Return the tokens (n, t) of the words of sentences, and their numbers (n,)."""
    return pad_sequences([vocabulary._tokens_of(words) for words in sentences])


def padded(
    source: Vocabulary,
    target: Vocabulary,
    sentences: Sequence[Sequence[str]],
    translations: Sequence[Sequence[str]],
) -> tuple[Array, Array, NDArray[np.int64], NDArray[np.int64]]:
    """Return sources, targets, and the lengths of both, as `EncoderDecoder.fit` takes them."""
    (sources, lengths), (targets, target_lengths) = (
        pad_words(source, sentences),
        pad_words(target, translations),
    )
    return sources, targets, lengths, target_lengths
