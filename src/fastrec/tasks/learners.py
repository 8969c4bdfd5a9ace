"""How networks and reservoirs learn the tasks of `four_ways`: sequences, answers, loops of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..backend import BackendChoice, backend_of, move
from ..reservoir import EchoState
from ..rnn.config import Array
from ..rnn.fitting import fit
from ..rnn.network import RNN
from ..rnn.optimizers import Optimizer
from ..rnn.schedules import CosineDecay, Schedule
from ..streams import derive

TOLERANCE, SAFE = 0.04, 0.03  # how far off a number may be, and may be where learning ends
SHORTEST = 10  # steps that networks begin with
KNOWN = 0.1  # share of wrong answers with which they go on to longer ones
GROWTH = 2**0.5  # from one length to the next
ROUND = 2500  # sequences that are generated at a time
TESTED, VALIDATED, FITTED = 5000, 1000, 2000  # sequences to test, to choose by, and to fit a readout to
TRAINING, VALIDATION, TEST = range(3)  # where `derive` makes keys for them

Advance = Callable[[float], None]  # moves a bar by a share of the work


@dataclass(frozen=True)
class Task:
    """A task that `four_ways` sets.

    Parameters
    ----------
    name, title : str
        Its name, and what figures call it.
    make : callable
        Function of a number of sequences, their length and `seed` that returns (x, targets, mask).
    steps, quick : int
        Their length, in a long and in a short run.
    answers : int
        How many of the last targets of a sequence are answers.
    """

    name: str
    title: str
    make: Callable[..., tuple[Array, Array, Array]]
    steps: int
    quick: int
    answers: int = 1

    def draw(self, n: int, steps: int, seed: int, purpose: int, part: int = 0) -> Sequences:
        """Make n sequences for a purpose, of which each part has its own."""
        x, targets, mask = self.make(n, steps, seed=int(derive(seed, part, purpose)))
        return Sequences(x, targets, mask, mask.shape[1] - mask[:, ::-1].argmax(axis=1), self.answers)


class Sequences(NamedTuple):
    """n sequences of a task."""

    x: Array  # (n, t, i)
    targets: Array  # (n, t, 1) numbers, or (n, t) classes
    mask: NDArray[np.bool_]  # (n, t)
    lengths: NDArray[np.int64]  # (n,)
    answers: int

    @property
    def are_numbers(self) -> bool:
        """Whether the answers are numbers."""
        return self.targets.ndim == 3

    @property
    def asked(self) -> tuple[Array, Array]:
        """Rows and steps of the answers, which index (n, t) to (n, answers)."""
        return np.arange(len(self.x))[:, None], self.lengths[:, None] - np.arange(self.answers, 0, -1)

    @property
    def right(self) -> Array:
        """The right answers (n, answers)."""
        return self.targets[self.asked].reshape(len(self.x), self.answers)

    @property
    def within(self) -> NDArray[np.bool_]:
        """Which steps (n, t, 1) belong to the sequences."""
        return (np.arange(self.x.shape[1]) < self.lengths[:, None])[..., None]

    @property
    def mean(self) -> Array:
        """The mean (i,) of the inputs."""
        return self.x.mean(axis=(0, 1), where=self.within)

    def centred(self, mean: Array) -> Array:
        """The inputs without a mean."""
        return np.where(self.within, self.x - mean, 0)

    def ending_together(self) -> tuple[Array, Array]:
        """Inputs and targets (n, t, o), as numbers, of sequences whose last step is the last of all."""
        targets = self.targets
        if not self.are_numbers:
            targets = (targets[..., None] == np.arange(targets.max() + 1)).astype(np.float32)
        steps = np.arange(self.x.shape[1]) - (self.x.shape[1] - self.lengths)[:, None]
        rows, before = np.arange(len(steps))[:, None], (steps < 0)[..., None]
        x, y = (np.where(before, 0, array[rows, steps]) for array in (self.x, targets))
        return x, y

    def judge(self, answers: Array) -> Judgement:
        """Compare answers (k, n, answers, o) of k networks with the right ones."""
        right = self.right
        if self.are_numbers:
            off = np.abs(answers[..., 0] - right)
            return Judgement(
                *(np.mean(values, axis=(1, 2)) for values in (off > TOLERANCE, off > SAFE, off**2))
            )
        wrong = np.mean(answers.argmax(axis=-1) != right, axis=(1, 2))
        shifted = answers - answers.max(axis=-1, keepdims=True)
        chosen = np.take_along_axis(shifted, np.broadcast_to(right, answers.shape[:-1])[..., None], axis=-1)
        entropy = np.log(np.exp(shifted).sum(axis=-1)) - chosen[..., 0]
        return Judgement(wrong, wrong, entropy.mean(axis=(1, 2)))


class Judgement(NamedTuple):
    """Of the answers of k networks, all (k,) float64."""

    wrong: Array  # share that is wrong: numbers more than `TOLERANCE` off
    doubtful: Array  # share that is wrong or nearly: numbers more than `SAFE` off
    loss: Array  # mean of the squared error, or of the cross entropy in nats


class Learned(NamedTuple):
    """What a method has learnt."""

    judgement: Judgement
    updates: int  # made, 0 where there are none


@dataclass(frozen=True)
class Descent:
    """Networks whose weights follow gradients, on sequences that grow longer.

    Parameters
    ----------
    title : str
        What figures call it.
    build : callable
        Function of the numbers of inputs and outputs, and further arguments of `RNN`, that returns networks.
    optimizer : callable
        Function that returns the optimiser.
    updates, quick : int
        Most updates, in a long and in a short run.
    batch, every : int
        Sequences an update, and updates between two looks at validation data.
    decays : bool, default True
        Whether the learning rate falls along half a cosine over all updates.
    """

    title: str
    build: Callable[..., RNN]
    optimizer: Callable[[], Optimizer]
    updates: int
    quick: int
    batch: int
    every: int
    decays: bool = True
    cost: ClassVar[float] = 1.0  # time that it takes beside those of other methods, for bars

    def learn(
        self,
        task: Task,
        quick: bool,
        networks: int,
        seed: int,
        backend: BackendChoice | None,
        advance: Advance,
    ) -> Learned:
        """Train k networks, and judge them where their validation loss was least."""
        steps, most = (task.quick, self.quick) if quick else (task.steps, self.updates)
        advance(0)
        stages = lengths_up_to(steps)
        first = task.draw(VALIDATED, steps, seed, VALIDATION)
        mean = first.mean
        outputs = 1 if first.are_numbers else int(first.targets.max()) + 1
        options = {"models": networks, "seed": seed, "backend": backend}
        rnn = self.build(first.x.shape[2], outputs, **options)
        if first.are_numbers:
            rnn.parameters["b_out"][...] = first.right.mean()
        optimizer, made = self.optimizer(), 0
        schedule = CosineDecay(most) if self.decays else None
        for number, length in enumerate(stages):
            last = number == len(stages) - 1
            until = most if last else (made + most) // 2
            held_out = first if last else task.draw(VALIDATED, length, seed, VALIDATION)
            least, best = np.full(networks, np.inf), {k: a.copy() for k, a in rnn.parameters.items()}
            while made < until:
                count = min(self.every, until - made)
                self.train(rnn, optimizer, schedule, task, length, mean, made, count, seed)
                made += count
                advance(count / most)
                found = held_out.judge(answers_of(rnn, held_out, mean))
                better = found.loss < least
                for key, array in rnn.parameters.items():
                    rows = move(better, backend_of(array))
                    best[key][rows] = array[rows]
                least = np.where(better, found.loss, least)
                if (found.doubtful == 0).all() if last else (found.wrong <= KNOWN).all():
                    break
        for key, array in rnn.parameters.items():
            array[...] = best[key]
        advance(1 - made / most)
        return Learned(mean_of(task, steps, seed, lambda drawn: answers_of(rnn, drawn, mean)), made)

    def train(
        self,
        rnn: RNN,
        optimizer: Optimizer,
        schedule: Schedule | None,
        task: Task,
        steps: int,
        mean: Array,
        made: int,
        updates: int,
        seed: int,
    ) -> None:
        """Make updates, each on sequences of its own; networks that diverge stay as they are."""
        while updates:
            count = min(updates, max(1, ROUND // self.batch))
            drawn = task.draw(count * self.batch, steps, seed, TRAINING, made)
            with suppress(FloatingPointError):  # of the last network
                fit(
                    rnn,
                    drawn.centred(mean),
                    drawn.targets,
                    loss="mse" if drawn.are_numbers else "cross_entropy",
                    optimizer=optimizer,
                    schedule=schedule,
                    epochs=1,
                    batch_size=self.batch,
                    lengths=drawn.lengths,
                    mask=drawn.mask,
                    shuffle=False,
                    seed=seed,
                    progress=False,
                )
            updates, made = updates - count, made + count


@dataclass(frozen=True)
class Echoes:
    """Reservoirs that are drawn in several ways, of which validation data choose one for each task.

    Parameters
    ----------
    title : str
        What figures call it.
    candidates : tuple of callable
        Functions of the length of the sequences that return arguments of `EchoState`, and "ridge", that of
        its `fit`.
    """

    title: str
    candidates: tuple[Callable[[int], dict[str, Any]], ...]
    cost: ClassVar[float] = 0.05

    def learn(
        self,
        task: Task,
        quick: bool,
        networks: int,
        seed: int,
        backend: BackendChoice | None,
        advance: Advance,
    ) -> Learned:
        """Fit the readouts of k reservoirs of each kind, and judge the kind that errs least."""
        steps = task.quick if quick else task.steps
        held_out = task.draw(VALIDATED, steps, seed, VALIDATION)
        x, targets = task.draw(FITTED, steps, seed, TRAINING).ending_together()
        washout = x.shape[1] - task.answers
        best, least = None, np.inf
        for candidate in self.candidates:
            options = candidate(x.shape[1])
            ridges = options.pop("ridge")
            esn = EchoState(
                x.shape[2],
                output_size=targets.shape[2],
                models=networks,
                seed=seed,
                dtype=np.float64,
                backend=backend,
                **options,
            )
            validation = held_out.ending_together()
            esn.fit(x, targets, washout=washout, ridge=ridges, validation=validation)
            found = held_out.judge(esn.predict(validation[0])[0][:, :, washout:])
            advance(1 / len(self.candidates))
            if (error := float(found.wrong.mean() + found.loss.mean() * 1e-6)) < least:
                best, least = esn, error
        assert best is not None
        chosen = best

        def answer(sequences: Sequences) -> Array:
            return chosen.predict(sequences.ending_together()[0])[0][:, :, washout:]

        return Learned(mean_of(task, steps, seed, answer), 0)


@dataclass(frozen=True)
class Constant:
    """The one answer that is best without looking: the mean, or the most frequent class.

    Parameters
    ----------
    title : str
        What figures call it.
    """

    title: str
    cost: ClassVar[float] = 0.001

    def learn(
        self,
        task: Task,
        quick: bool,
        networks: int,
        seed: int,
        backend: BackendChoice | None,
        advance: Advance,
    ) -> Learned:
        """Take the answer from validation data."""
        steps = task.quick if quick else task.steps
        known = task.draw(VALIDATED, steps, seed, VALIDATION)
        if known.are_numbers:
            answer = np.array([known.right.mean()])
        else:
            answer = np.log(np.bincount(known.right.ravel(), minlength=known.targets.max() + 1) + 1e-300)
        advance(1)

        def always(sequences: Sequences) -> Array:
            return np.broadcast_to(answer, (networks, *sequences.right.shape, len(answer)))

        return Learned(mean_of(task, steps, seed, always), 0)


def lengths_up_to(steps: int) -> list[int]:
    """Lengths that grow up to the last, the first from `SHORTEST` on."""
    lengths = [steps]
    while (shorter := round(steps / GROWTH ** len(lengths))) >= SHORTEST:
        lengths.insert(0, shorter)
    return lengths


def answers_of(rnn: RNN, sequences: Sequences, mean: Array) -> Array:
    """The answers (k, n, answers, o) of k networks, which see inputs without a mean."""
    outputs, _ = rnn.predict(sequences.centred(mean), lengths=sequences.lengths)
    return outputs[:, *sequences.asked]


def mean_of(task: Task, steps: int, seed: int, answer: Callable[[Sequences], Array]) -> Judgement:
    """The judgement of answers to the sequences of the test, which are made in parts of equal size."""

    def parts() -> Iterator[Judgement]:
        for part in range(TESTED // VALIDATED):
            sequences = task.draw(VALIDATED, steps, seed, TEST, part)
            yield sequences.judge(answer(sequences))

    return Judgement(*(np.mean(values, axis=0) for values in zip(*parts(), strict=True)))
