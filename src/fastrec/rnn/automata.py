"""The finite automaton that a network computes as, found from how its hidden states behave."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import move
from ..display import Column, Displayed, Table, by_index
from ..messages import shown
from ..validation import as_int
from .config import MAX_SIZE, Array
from .network import RNN, require_network
from .validation import as_array, read_lengths, require_forward, steps_before

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SYMBOLS = 1000
MOST_SEQUENCES = 100  # that are read from every state
NOTHING = -1  # what the start of a Moore automaton prints, before it has read a symbol

Word = tuple[int, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Automaton(Displayed):
    """A finite automaton that prints an integer for each symbol that it reads.

    Attributes
    ----------
    symbols : ndarray of shape (a, i) or (a,)
        What it reads: rows of numbers, or integer tokens.
    transitions : ndarray of shape (s, a)
        The state, 0..s-1, that follows each state and symbol, int64. State 0 is the first.
    outputs : ndarray of shape (s,) or (s, a)
        What is printed, int64: on arriving in a state (Moore's automata; -1 for nothing, in a first state
        that is never returned to), or on reading a symbol in a state (Mealy's).

    Raises
    ------
    ValueError
        For arrays whose shapes do not fit, and transitions to states that do not exist.

    Examples
    --------
    The parity of the ones so far:

    >>> parity = fastrec.Automaton([0, 1], transitions=[[0, 1], [1, 0]], outputs=[0, 1])
    >>> outputs, states = parity.run([[1, 1, 0, 1]])
    >>> outputs
    array([[1, 0, 0, 1]])
    """

    symbols: NDArray[Any]
    transitions: NDArray[np.int64]
    outputs: NDArray[np.int64]

    def __post_init__(self) -> None:
        names = ("symbols", "transitions", "outputs")
        arrays = {name: move(as_array(name, getattr(self, name)), "cpu") for name in names}
        symbols, transitions, outputs = arrays.values()
        if symbols.ndim not in (1, 2) or symbols.dtype.kind not in "fiub" or not symbols.size:
            raise ValueError(
                f"symbols has shape {symbols.shape}, dtype {symbols.dtype}; give rows of numbers, or tokens"
            )
        a, s = len(symbols), len(transitions) if transitions.ndim else 0
        if not np.isfinite(symbols).all() or len(np.unique(symbols, axis=0)) < a:
            raise ValueError("symbols has equal ones, or numbers that are not finite; give each symbol once")
        if not s or transitions.shape != (s, a) or transitions.dtype.kind not in "iu":
            raise ValueError(
                f"transitions has shape {transitions.shape} and dtype {transitions.dtype}; it must be "
                f"integers (s, {a}), a row for each state and a column for each symbol"
            )
        for extreme in (transitions.min(), transitions.max()):
            if not 0 <= extreme < s:
                raise ValueError(f"transitions holds {extreme}; states are 0 to {s - 1}")
        if outputs.shape not in ((s,), (s, a)) or outputs.dtype.kind not in "iub":
            raise ValueError(
                f"outputs has shape {outputs.shape} and dtype {outputs.dtype}; it must be integers ({s},) or "
                f"({s}, {a})"
            )
        for extreme in (outputs.min(), outputs.max()):
            if not NOTHING <= extreme < 2**31:
                raise ValueError(f"outputs holds {extreme}; it must be from -1 to 2^31 - 1")
        for name, array in arrays.items():
            array = array.astype(array.dtype.newbyteorder("=") if name == "symbols" else np.int64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def states(self) -> int:
        """Number of states."""
        return len(self.transitions)

    @property
    def prints_on_arrival(self) -> bool:
        """Whether what is printed depends on the state that is reached alone, as Moore's automata have it."""
        return self.outputs.ndim == 1

    def _printed(self) -> NDArray[np.int64]:
        """What is printed (s, a) for each state and symbol."""
        return self.outputs[self.transitions] if self.prints_on_arrival else self.outputs

    def _summary(self) -> dict[str, Any]:
        kind = "Moore" if self.prints_on_arrival else "Mealy"
        return {"states": self.states, "symbols": len(self.symbols), "kind": kind}

    def _columns(self) -> list[Column]:
        state, _, *rest = by_index(("state", "symbol"), next=self.transitions, prints=self._printed())
        return [state, Column("symbol", self._names() * self.states), *rest]

    def _names(self) -> list[str]:
        """The symbols as text."""
        rows = self.symbols.reshape(len(self.symbols), -1)
        digits = bool(((rows >= 0) & (rows <= 9) & (rows == np.round(rows))).all())
        return [
            "".join(f"{v:.0f}" for v in row) if digits else ",".join(f"{v:g}" for v in row) for row in rows
        ]

    def _table(self) -> Table:
        return self.table()

    def table(self) -> Table:
        """Return the transitions as a table of text, with a row for each state and a column for each symbol.

        Returns
        -------
        Table
            Whose ``text()`` is aligned. Mealy's automata show "state / what is printed".

        Examples
        --------
        >>> print(fastrec.Automaton([0, 1], [[0, 1], [1, 0]], [0, 1]).table().text())
        2 states: the next one by what is read
        state  prints  0  1
            0       0  0  1
            1       1  1  0
        """
        arrival = self.prints_on_arrival
        rows = []
        for state, (targets, printed) in enumerate(zip(self.transitions, self._printed(), strict=True)):
            cells = (
                map(str, targets)
                if arrival
                else (f"{t} / {y}" for t, y in zip(targets, printed, strict=True))
            )
            rows.append([str(state), *[str(self.outputs[state])] * arrival, *cells])
        heads = ["state", *["prints"] * arrival, *self._names()]
        return Table(f"{self.states} states: the next one by what is read", heads, rows)

    def _figure(self) -> Figure:
        from .. import plot

        return plot.automaton_figure(self)

    def plot(self, path: str | os.PathLike[str] | None = None, ax: Axes | None = None) -> Axes:
        """Draw the states as circles, and the transitions as arrows with the symbols that are read.

        Parameters
        ----------
        path : path, optional
            File to write the figure to, in the format of its suffix.
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; the default is a new figure, as of `History.plot`.

        Returns
        -------
        matplotlib.axes.Axes
            The axes drawn into.

        Raises
        ------
        ValueError
            If the suffix names no format.
        OSError
            If the file cannot be written.
        """
        from ..plot import automata, figures

        return figures.draw_and_save(path, ax, self._figure, lambda axes: automata.draw_automaton(axes, self))

    def run(
        self, x: ArrayLike, lengths: ArrayLike | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Run the automaton over b sequences, each from the first state.

        Parameters
        ----------
        x : array_like
            (b, t, i) or tokens (b, t), as the network reads them.
        lengths : array_like of int, optional
            (b,), from 0 to t, the steps of each row.

        Returns
        -------
        outputs : ndarray of shape (b, t)
            What is printed at each step, int64; -1 after the end of a row.
        states : ndarray of shape (b, t + 1)
            The states, from the first one on, int64; after the end of a row its last one.

        Raises
        ------
        ValueError
            If x has another shape, or a step is none of the symbols.
        """
        array = move(as_array("x", x), "cpu")
        fits = array.ndim == 1 + self.symbols.ndim and array.shape[2:] == self.symbols.shape[1:]
        if not fits or not len(array) or array.dtype.kind not in "fiub":
            shape = ", ".join(["b", "t", *map(str, self.symbols.shape[1:])])
            raise ValueError(
                f"x has shape {array.shape} and dtype {array.dtype}; this automaton reads numbers ({shape})"
            )
        b, t = array.shape[:2]
        valid = steps_before(np.full(b, t) if lengths is None else read_lengths(lengths, b, t), t)
        read = self._number(array, valid)
        printed = self._printed()
        outputs, states = np.full((b, t), NOTHING), np.zeros((b, t + 1), np.int64)
        for step in range(t):
            now, symbol = states[:, step], read[:, step]
            outputs[:, step] = np.where(valid[:, step], printed[now, symbol], NOTHING)
            states[:, step + 1] = np.where(valid[:, step], self.transitions[now, symbol], now)
        return outputs, states

    def _number(self, x: Array, valid: Array) -> NDArray[np.int64]:
        """The numbers (b, t) of the symbols of x, 0 where steps are not valid (b, t)."""
        numbers = np.zeros(valid.shape, np.int64)
        rows, inverse = np.unique(x[valid], axis=0, return_inverse=True)
        where = {tuple(np.atleast_1d(symbol).tolist()): j for j, symbol in enumerate(self.symbols)}
        known = [where.get(tuple(np.atleast_1d(row).tolist()), NOTHING) for row in rows]
        if NOTHING in known:
            raise ValueError(
                f"x holds {shown(rows[known.index(NOTHING)].tolist())}, which is none of the "
                f"{len(self.symbols)} symbols; give sequences of these"
            )
        numbers[valid] = np.array(known, np.int64)[inverse.ravel()]
        return numbers

    def minimal(self) -> Automaton:
        """Return the automaton with the fewest states that prints the same, numbered in the order of symbols.

        States that print the same from then on become one (Moore 1956), and those that are never reached are
        left out. What the first state prints is not seen before it is returned to: the first state that is
        arrived in and has the same transitions takes its place, if one has. The states are numbered as they
        are first reached, by shorter sequences first: two automata that print the same become equal, number
        for number.

        Returns
        -------
        Automaton
            With the same symbols.

        Examples
        --------
        >>> fastrec.Automaton([0, 1], [[2, 1], [1, 0], [0, 3], [3, 2]], [0, 1, 0, 1]).minimal()
        Automaton(states=2, symbols=2, kind=Moore)
        """
        transitions, outputs = select(reachable(self.transitions), self.transitions, self.outputs)
        outputs = outputs.reshape(len(outputs), -1)
        if self.prints_on_arrival and transitions.min() > 0:
            outputs[0] = NOTHING  # nobody sees what it prints
        block, count = distinct(outputs), 0
        while block.max() >= count:
            count = block.max() + 1
            block = distinct(np.column_stack([block, block[transitions]]))
        _, some = np.unique(block, return_index=True)
        transitions, outputs, start = block[transitions[some]], outputs[some], block[0]
        if self.prints_on_arrival:  # the first state that is arrived in and goes on like the start
            same = (transitions == transitions[start]).all(axis=1)
            arrived = transitions[reachable(transitions, start)].ravel().tolist()
            start = next((q for q in arrived if same[q]), start)
        arrays = select(reachable(transitions, start), transitions, outputs)
        return Automaton(self.symbols, arrays[0], arrays[1].reshape(-1, *self.outputs.shape[1:]))

    def mealy(self) -> Automaton:
        """Return the automaton with the fewest states that prints the same on reading, not on arriving.

        Returns
        -------
        Automaton
            Mealy's, as `minimal` numbers it.

        Examples
        --------
        Binary addition needs no more than the carry:

        >>> fastrec.addition_automaton(), fastrec.addition_automaton().mealy()
        (Automaton(states=4, symbols=4, kind=Moore), Automaton(states=2, symbols=4, kind=Mealy))
        """
        return Automaton(self.symbols, self.transitions, self._printed()).minimal()

    def is_equivalent(self, other: Automaton, after: int = 0) -> bool:
        """Return whether two automata print the same, whatever they read.

        Parameters
        ----------
        other : Automaton
            Of either kind; its symbols may have another order.
        after : int, default 0
            First step whose output is compared, such as the delay of a task.

        Returns
        -------
        bool
            False also if they do not read the same symbols.

        Raises
        ------
        ValueError
            For invalid arguments.

        Examples
        --------
        >>> moore = fastrec.Automaton([0, 1], [[0, 1], [1, 0]], [0, 1])
        >>> mealy = fastrec.Automaton([0, 1], [[0, 1], [1, 0]], [[0, 1], [1, 0]])
        >>> moore.is_equivalent(mealy)
        True
        """
        if not isinstance(other, Automaton):
            raise ValueError(f"other is {shown(other)}; it must be an Automaton")
        after = as_int("after", after, 0, MAX_SIZE)
        if self.symbols.shape != other.symbols.shape:
            return False
        order, theirs = (np.unique(one.symbols, axis=0, return_index=True) for one in (self, other))
        if (order[0] != theirs[0]).any():
            return False
        ours = self.transitions[:, order[1]], self._printed()[:, order[1]]
        others = other.transitions[:, theirs[1]], other._printed()[:, theirs[1]]
        # A path of more steps than there are pairs has a loop, and so there are longer ones to its end.
        after = min(after, self.states * other.states)
        pairs = [(0, 0, 0)]
        known = {*pairs}
        for mine, its, step in pairs:
            if step == after and (ours[1][mine] != others[1][its]).any():
                return False
            later = [min(step + 1, after)] * len(order[1])
            reached = {*zip(ours[0][mine].tolist(), others[0][its].tolist(), later, strict=True)} - known
            pairs += reached
            known |= reached
        return True


def automaton(
    rnn: RNN,
    x: ArrayLike,
    lengths: ArrayLike | None = None,
    *,
    decide: Callable[[Array], ArrayLike] | None = None,
    max_states: int = 64,
    tokens: bool | None = None,
) -> Automaton:
    """Find the finite automaton that a trained network computes as.

    Hidden states belong to one state of the automaton if the network prints the same from them on, whatever
    it reads next. Those of all steps of x are told apart by the words of symbols that they are continued
    with: first by what is printed, then by words that grow by a symbol at their beginning wherever that tells
    more of them apart, until none does (Angluin, Information and Computation 75, 87, 1987, with hidden states
    in place of prefixes). Hidden states that such words lead to, and that behave like none before, are added.
    At last 100 sequences of x are read from every state; where the network does not print what the automaton
    does, a word is found that tells more of them apart. Whether it prints the same on other sequences can be
    tried with `Automaton.run`.

    Parameters
    ----------
    rnn : RNN
        One network that reads forwards, of any cell.
    x : array_like of shape (b, t, i), or integer tokens of shape (b, t)
        Sequences; steps that are equal are the same symbol.
    lengths : array_like of int, optional
        (b,), from 0 to t, the steps of each row.
    decide : callable, optional
        Function of outputs (n, o) that returns the n integers which they stand for; by default the number of
        the largest.
    max_states : int, default 64
        Give up when there are more, the first one not counted.
    tokens : bool, optional
        Whether x is tokens, as in `RNN.forward`.

    Returns
    -------
    Automaton
        Moore's, because the outputs of a network belong to its hidden state; `Automaton.mealy` has fewer
        states. Numbered as by `Automaton.minimal`, with the symbols of x in ascending order.

    Raises
    ------
    ValueError
        For invalid arguments.
    RuntimeError
        If there are more than max_states.

    Examples
    --------
    A network learns the parity of the bits so far:

    >>> bits = np.random.default_rng(0).integers(0, 2, (256, 12))
    >>> parity = np.cumsum(bits, axis=1) % 2
    >>> rnn = fastrec.RNN(2, 6, 2, seed=1)
    >>> history = fastrec.fit(rnn, bits, parity, optimizer=fastrec.Adam(0.02), epochs=20, seed=0)
    >>> found = fastrec.automaton(rnn, bits)
    >>> found.transitions
    array([[0, 1],
           [1, 0]])
    >>> found.outputs
    array([0, 1])
    """
    require_network(rnn)
    c = rnn._config
    if c.models is not None:
        raise ValueError(f"rnn holds {c.models} networks; give one of them, such as rnn.copy(model=0)")
    require_forward(c, "an automaton reads one step after the other")
    most = as_int("max_states", max_states, 1, MAX_SIZE)
    if decide is None and (c.output_size or c.hidden_size) == 1:
        raise ValueError("decide is None, and one output is always the largest; give lambda y: y[:, 0] > 0.5")
    if decide is not None and not callable(decide):
        raise ValueError(f"decide is {shown(decide)}; it must be a function of outputs (n, o)")
    trace = rnn.forward(x, lengths=lengths, tokens=tokens)
    array = move(as_array("x", x), "cpu")
    b, t = array.shape[:2]
    valid = steps_before(np.full(b, t) if lengths is None else move(read_lengths(lengths, b, t), "cpu"), t)
    symbols = np.unique(array[valid], axis=0)
    if not 0 < len(symbols) <= MOST_SYMBOLS:
        raise ValueError(
            f"x has {len(symbols)} different steps, each a symbol; give from 1 to {MOST_SYMBOLS} of them"
        )
    asked = Questions(rnn, symbols, decide)
    states = np.stack([move(trace.state_at(step), "cpu") for step in range(t + 1)])  # (t + 1, layers, b, s)
    after = flat(states[1:].swapaxes(1, 2)[valid.T].swapaxes(0, 1))
    reached, some = np.unique(after, axis=0, return_index=True)
    printed = asked.decide(move(trace.outputs, "cpu").swapaxes(0, 1)[valid.T])[some]
    numbers = np.zeros((b, t), np.int64)
    numbers[valid] = np.unique(array[valid], axis=0, return_inverse=True)[1].ravel()
    sequences = numbers[:MOST_SEQUENCES], valid[:MOST_SEQUENCES]
    states = np.concatenate([flat(states[0])[:1], reached])
    transitions, outputs = told_apart(asked, states, np.append(NOTHING, printed), sequences, most)
    return Automaton(symbols, transitions, outputs).minimal()


@dataclass(frozen=True)
class Questions:
    """What a network is asked: where a symbol leads from hidden states, and what it prints after a word.

    Hidden states are rows (n, layers s).
    """

    rnn: RNN
    symbols: NDArray[Any]
    read: Callable[[Array], ArrayLike] | None

    def decide(self, outputs: Array) -> NDArray[np.int64]:
        """Return the integers (n,) that outputs (n, o) stand for."""
        if self.read is None:
            return outputs.argmax(axis=1)
        printed = move(as_array("decide(outputs)", self.read(outputs)), "cpu")
        if printed.shape != outputs.shape[:1] or printed.dtype.kind not in "iub":
            raise ValueError(
                f"decide returned shape {printed.shape} and dtype {printed.dtype}; it must be "
                f"{len(outputs)} integers, one a row"
            )
        return printed.astype(np.int64)

    def outputs(self, states: Array, words: Array) -> tuple[NDArray[np.int64], Array]:
        """Return what is printed along words (n, t) of numbers of symbols, and the last hidden states."""
        layers, (n, t) = self.rnn.num_layers, words.shape
        state = states.reshape(n, layers, -1).swapaxes(0, 1)
        outputs, last = self.rnn.predict(self.symbols[words], state, tokens=self.symbols.ndim == 1)
        return self.decide(outputs.reshape(n * t, -1)).reshape(n, t), flat(last)

    def answers(self, states: Array, word: Word) -> NDArray[np.int64]:
        """Return what is printed (n,) after a word."""
        return self.outputs(states, np.tile(word, (len(states), 1)))[0][:, -1]


def told_apart(
    asked: Questions,
    states: Array,
    printed: NDArray[np.int64],
    sequences: tuple[NDArray[np.int64], NDArray[np.bool_]],
    most: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return transitions and outputs of the classes of hidden states, that of the first hidden state first.

    printed: (n,) on the way to the hidden states.  sequences: see `contradiction`.
    """
    a = len(asked.symbols)
    words: list[Word] = [()]
    while True:
        n = len(states)
        soon, following = asked.outputs(np.repeat(states, a, axis=0), np.tile(np.arange(a), n)[:, None])
        columns: dict[Word, NDArray[np.int64]] = {(): printed}
        later, classes = [], distinct(printed)
        for word in words:  # which grow
            if word not in columns:
                columns[word] = asked.answers(states, word)
                classes = distinct(np.column_stack([classes, columns[word]]))
            later.append(asked.answers(following, word) if word else soon[:, 0])
            for symbol, column in enumerate(later[-1].reshape(n, a).T):
                finer = distinct(np.column_stack([classes, column]))
                longer = (symbol, *word)
                if finer.max() > classes.max() or longer in words:
                    columns[longer], classes = column, finer
                    words += [longer] * (longer not in words)
            if len(np.unique(classes[1:])) > most:
                raise RuntimeError(
                    f"the hidden states behave in more than max_states = {most} ways, which words of up to "
                    f"{max(map(len, words))} symbols tell apart; train the network further, or allow more"
                )
        own = np.column_stack([columns[word] for word in words])
        both = distinct(np.concatenate([own, np.column_stack(later)]))
        unknown = np.flatnonzero(~np.isin(both[n:], both[:n]))
        if len(unknown):
            some = unknown[np.unique(both[n:][unknown], return_index=True)[1]]
            states, printed = np.concatenate([states, following[some]]), np.append(printed, soon[some, 0])
            continue
        some = np.sort(np.unique(both[:n], return_index=True)[1])  # one of each class, the first one first
        number = np.zeros(both.max() + 1, np.int64)
        number[both[some]] = np.arange(len(some))
        transitions = number[both[n:].reshape(n, a)[some]]
        longer = contradiction(asked, states[some], transitions, printed[some], *sequences)
        if longer in words:
            return transitions, printed[some]
        words.append(longer)


def contradiction(
    asked: Questions,
    states: Array,
    transitions: NDArray[np.int64],
    printed: NDArray[np.int64],
    sequences: NDArray[np.int64],
    valid: NDArray[np.bool_],
) -> Word:
    """Return a word that tells apart hidden states of one class, () if none is found.

    The sequences (b, t), of which not all steps are valid, are read from one hidden state of each class.
    Where the network does not print what the automaton does, a part of the sequence is such a word: somewhere
    the hidden state that the network reaches behaves unlike the one that stands for its class (Rivest &
    Schapire, Information and Computation 103, 299, 1993).
    """
    s, (b, t) = len(states), sequences.shape
    outputs, _ = asked.outputs(np.repeat(states, b, axis=0), np.tile(sequences, (s, 1)))
    path = np.empty((t + 1, s, b), np.int64)
    path[0] = np.arange(s)[:, None]
    for step in range(t):
        path[step + 1] = transitions[path[step], sequences[:, step]]
    wrong = np.argwhere((printed[path[1:]] != outputs.reshape(s, b, t).transpose(2, 0, 1)) & valid.T[:, None])
    if not len(wrong):
        return ()
    last, begin, row = wrong[0]  # the earliest
    word = sequences[row, : last + 1].tolist()
    answers = [
        int(asked.answers(states[[path[i, begin, row]]], tuple(word[i:]))[0]) for i in range(len(word))
    ]
    changes = [i for i, (one, other) in enumerate(pairwise(answers)) if one != other]
    return tuple(word[changes[0] + 1 :]) if changes else ()


def flat(states: Array) -> Array:
    """States (layers, n, s) as rows (n, layers s)."""
    return states.swapaxes(0, 1).reshape(states.shape[1], -1)


def distinct(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers (n,) from 0 that are equal where rows (n, m) are."""
    return np.unique(rows, axis=0, return_inverse=True)[1].ravel()


def reachable(transitions: NDArray[np.int64], start: int = 0) -> list[int]:
    """The states that can be reached, in the order in which they are, symbol by symbol."""
    order = [int(start)]
    for state in order:
        order += [q for q in dict.fromkeys(transitions[state].tolist()) if q not in order]
    return order


def select(
    order: list[int], transitions: NDArray[np.int64], outputs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Copies of transitions and outputs with the states of `order`, and numbered by it."""
    number = np.zeros(len(transitions), np.int64)
    number[order] = np.arange(len(order))
    return number[transitions[order]], outputs[order]
