"""Training of a model of text: a text is read at many places at once, round and round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ..backend import move
from ..compilation import clock
from ..kernels.interruption import uninterrupted
from ..rnn.config import MAX_SIZE, Array
from ..rnn.dataset import Sequences
from ..rnn.fitting import update_draws
from ..rnn.history import MUCH, TextHistory
from ..rnn.loop import SLACK, EpochMeans, Learner, Step, is_true
from ..rnn.network import RNN
from ..rnn.randomness import Drawn
from ..rnn.truncation import evaluate, windows

FEWEST, MOST = 20, 250  # updates between evaluations: a pass through the text, within these bounds
STRETCH = 256  # steps of a text that are scored at a time
TRAINED_PER_SCORED = 4  # symbols trained on for each that is scored at an evaluation, at least
PIECES = 64  # that the held-out text is cut into at most, to be scored side by side


def hold_out(tokens: NDArray[np.int32], share: float) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the tokens to train on, and those of a share at the end that is held out."""
    end = len(tokens) - int(share * len(tokens))
    return tokens[:end], tokens[end:]


def score(rnn: RNN, tokens: NDArray[np.int32], pieces: int) -> float:
    """Return the mean loss of encoded tokens, cut into pieces side by side; a rest is left out."""
    rows = max(1, min(pieces, len(tokens) // STRETCH))
    steps = (len(tokens) - 1) // rows
    x, targets = (tokens[i : i + rows * steps].reshape(1, rows, steps) for i in (0, 1))
    data = Sequences(x, targets, np.ones((rows, steps), np.bool_), None)
    at, total, start = rnn._device(), 0.0, None
    for begin in range(0, steps, STRETCH):
        part = data.stretch(begin, min(begin + STRETCH, steps))
        losses, trace = evaluate(rnn, at, part, "cross_entropy", start)
        total += rnn._public_loss(losses)
        start = trace.state[:, None]
    return total / (rows * steps)


@dataclass(frozen=True)
class TextReader:
    """Reads a text (n,) int32 at `rows` places side by side, round and round, `steps` symbols at a time."""

    tokens: NDArray[np.int32]
    rows: int
    steps: int

    @classmethod
    def fitting(cls, tokens: NDArray[np.int32], rows: int, steps: int) -> TextReader:
        """Make a reader, with fewer places or steps where a text is too short for them."""
        steps = min(steps, len(tokens) - 1)
        return cls(tokens, min(rows, (len(tokens) - 1) // steps), steps)

    @property
    def updates_per_pass(self) -> float:
        """Number of updates in a pass through the text."""
        return (len(self.tokens) - 1) / (self.rows * self.steps)

    @property
    def symbols_per_update(self) -> int:
        """Number of symbols that an update learns from."""
        return self.rows * self.steps

    def window(self, update: int) -> Sequences:
        """Return the symbols that an update learns from."""
        n = len(self.tokens) - 1
        begin = np.arange(self.rows)[:, None] * (n // self.rows) + update * self.steps
        at = (begin + np.arange(self.steps)) % n
        counted = np.ones(at.shape, np.bool_)
        return Sequences(self.tokens[at][None], self.tokens[at + 1][None], counted, None)


@dataclass
class TextLearner(Learner):
    """The learner of `CharModel.fit`.

    epochs: passes through the text, None where a budget of seconds says when to end.  replans: whether the
    plan of a checkpoint is replaced by that of these arguments.
    """

    reader: TextReader
    seed: int
    dropout: float
    decay: float
    epochs: float | None
    budget: float | None
    callback: Callable[[TextHistory], object] | None
    replans: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        c, reader, epochs = self.model._config, self.reader, self.epochs
        self.draw: Callable[[], Drawn] = update_draws(c, self.seed, self.optimizer, self.dropout)
        self.rate: float = float(self.optimizer.learning_rate)
        self.every: int = int(min(max(ceil(reader.updates_per_pass), FEWEST), MOST))
        # Scoring all of a long text would take longer than learning from it.
        self.scored: int = max(STRETCH, self.every * reader.symbols_per_update // TRAINED_PER_SCORED)
        last = MAX_SIZE if epochs is None else max(1, round(epochs * reader.updates_per_pass))
        decays = MAX_SIZE if epochs is None else round((1 - self.decay) * last)
        self.plan: NDArray[np.int64] = np.array(
            [0, decays, last]
        )  # updates made, those before the rate falls, and all
        self.first_update: tuple[int, float] | None = None  # number and time of the first, which may compile
        self.carried: Array = np.zeros((c.num_layers, reader.rows, c.state), c.dtype)
        self.best: dict[str, Array] = {
            key: move(array, "cpu").copy() for key, array in self.model.parameters.items()
        }
        self.least: NDArray[np.float64] = np.array(np.inf)  # loss of the best evaluation
        self.untrained: NDArray[np.float64] = np.array(np.nan)  # loss before the training

    def extra_arrays(self) -> dict[str, Array]:
        best = {f"best.{key}": array for key, array in self.best.items()}
        losses = {"least": self.least, "untrained": self.untrained}
        return {"plan": self.plan, "state": self.carried, **losses, **best}

    def fits(self, stored: Mapping[str, Array]) -> bool:
        seconds, (made, decays, last) = stored["history.seconds"], map(int, stored["plan"])
        if made != min(last, len(seconds) * self.every) or not made <= last <= MAX_SIZE:
            return False
        if self.replans:
            return True
        if self.budget is None or last == MAX_SIZE:
            return [decays, last] == self.plan[1:].tolist()
        # `plan_decay` plans what the speed promises for the rest of the budget.
        most = 100 * made * self.budget / max(float(seconds.sum()), 1e-9)
        return 0 < decays <= made and last - made <= most

    def work(self) -> tuple[float, float]:
        if self.budget is not None:
            return self.budget, float(self.log.seconds.sum())
        return float(self.plan[2]), float(self.plan[0])

    def is_finished(self) -> bool:
        return bool(self.plan[0] >= self.plan[2]) or super().is_finished()

    def steps(self, means: EpochMeans, advance: Callable[[float, str], None]) -> Iterator[Step]:
        at, reader, plan = self.device, self.reader, self.plan
        spent, begin, first = float(self.log.seconds.sum()), clock(), int(plan[0])
        before = begin
        while plan[0] < min(plan[2], (first // self.every + 1) * self.every):
            made, decays, last = map(int, plan)
            factor = 1.0 if made < decays else (last - made) / (last - decays)
            self.optimizer.learning_rate = max(self.rate * factor, np.finfo(float).tiny)
            part, whole = reader.window(made), (reader.steps, reader.steps)
            start = at.take(self.carried)[:, None] if made else None
            cut = windows(self.model, at, part, *whole, "cross_entropy", "mean", start, self.draw)
            for losses, gradients, _, trace in cut:
                yield Step(made - first, losses, gradients, 1)
                if not made and self.validation is None:
                    self.untrained[...] = means.losses[0]
                    self.least[...] = self.untrained + MUCH
                self.carried[...] = move(trace.state, "cpu")
            plan[0] += 1
            now = clock()
            if self.first_update is None:
                self.first_update = (made + 1, now)
            elif self.budget is not None and last == MAX_SIZE:
                self.plan_decay(self.budget, spent + now - begin, now)
            speed = reader.symbols_per_update * (plan[0] - first) / (now - begin)
            amount = 1 if self.budget is None else now - before
            advance(amount, f"{speed:,.0f} symbols/s, loss {means.losses[0]:.3f}")
            before = now

    def plan_decay(self, budget: float, spent: float, now: float) -> None:
        """Once the time before the learning rate falls is over, plan how many updates fit into the rest."""
        if spent >= (1 - self.decay) * budget and self.first_update is not None:
            made, (first, then) = int(self.plan[0]), self.first_update
            rest = (budget - spent) * (made - first) / (now - then)
            self.plan[1:] = made, made + max(1, round(rest))

    def validate(self) -> Array:
        return np.array([score(self.model, self.validation[: self.scored], PIECES)])

    def begin_epoch(self) -> None:
        if not self.plan[0] and self.validation is not None:
            self.least[...] = self.untrained[...] = self.validate()[0]

    def end_epoch(self) -> None:
        curves = self.log.curves
        last = float(curves.get("validation", curves["train"])[-1, 0])
        if last < self.least:
            with uninterrupted():  # `restore` takes all of them
                self.least[...] = last
                for key, array in self.best.items():
                    array[...] = move(self.model.parameters[key], "cpu")

    def after_checkpoint(self) -> None:
        # Later than the callback of `fit`, so that what a callback raises loses nothing.
        if self.callback is not None:
            self.stopped |= is_true(self.callback(self.history()))

    def restore(self, networks: NDArray[np.bool_]) -> str:
        """Give the network the parameters of the best evaluation, or those before the training."""
        with uninterrupted():
            for key, array in self.best.items():
                self.model.parameters[key][...] = move(array, self.device.backend)
        best = self.history().best
        return "those before the training" if best < 0 else f"those of evaluation {best}, the best"

    def require_success(self) -> None:
        """Raise FloatingPointError if the training has only made the network worse."""
        curves, uniform = self.history(), np.log(self.model.output_size)
        losses = curves.train if curves.held_out is None else curves.held_out
        least = losses.min(where=np.isfinite(losses), initial=np.inf)
        learnt = curves.train.min() < uniform - MUCH  # perhaps by heart
        if curves.best < 0 and least > self.untrained + (SLACK if learnt else MUCH):
            raise FloatingPointError(
                f"training diverged: the least loss is {least:.4g} nats per symbol, and it was "
                f"{self.untrained:.4g} before; use a smaller learning_rate or clip; the parameters are those "
                "before the training"
            )

    def history(self) -> TextHistory:
        """Return the curves so far."""
        curves, reader = self.log.history(), self.reader
        made = np.minimum(np.arange(1, curves.epochs + 1) * self.every, self.plan[0])
        symbols = made * reader.symbols_per_update
        return TextHistory(
            symbols,
            symbols / (len(reader.tokens) - 1),
            curves.train,
            curves.validation,
            curves.gradient_norm,
            curves.seconds.cumsum(),
            self.seed,
            None if np.isnan(self.untrained) else float(self.untrained),
        )
