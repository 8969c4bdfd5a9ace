"""The finite automaton that a network computes as, found from how its hidden states behave."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import move
from ..display import Displayed, Table
from ..messages import shown
from ..validation import as_choice, as_int
from .config import MAX_SIZE, Array
from .network import RNN, require_network
from .validation import as_array, read_lengths, require_forward, steps_before

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SYMBOLS = 1000
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
        symbols = np.array(move(as_array("symbols", self.symbols), "cpu"))
        if symbols.ndim not in (1, 2) or symbols.dtype.kind not in "fiub" or not len(symbols):
            raise ValueError(
                f"symbols has shape {symbols.shape}, dtype {symbols.dtype}; give rows of numbers, or tokens"
            )
        if len(np.unique(symbols, axis=0)) < len(symbols):
            raise ValueError("symbols has equal ones; give each symbol once")
        arrays = {"symbols": symbols}
        for name in ("transitions", "outputs"):
            array = move(as_array(name, getattr(self, name)), "cpu")
            if array.dtype.kind not in "iub":
                raise ValueError(f"{name} has dtype {array.dtype}; give integers")
            arrays[name] = array.astype(np.int64)
        s, a = len(arrays["transitions"]), len(symbols)
        if arrays["transitions"].shape != (s, a) or not s:
            shape = arrays["transitions"].shape
            raise ValueError(f"transitions has shape {shape}; give states (s, {a}), a column for each symbol")
        if arrays["outputs"].shape not in ((s,), (s, a)):
            raise ValueError(f"outputs has shape {arrays['outputs'].shape}; give ({s},) or ({s}, {a})")
        if (low := arrays["transitions"].min()) < 0 or arrays["transitions"].max() >= s:
            wrong = low if low < 0 else arrays["transitions"].max()
            raise ValueError(f"transitions holds {wrong}; states are 0 to {s - 1}")
        for name, array in arrays.items():
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
        if array.ndim != 1 + self.symbols.ndim or array.shape[2:] != self.symbols.shape[1:]:
            shape = ", ".join(["b", "t", *map(str, self.symbols.shape[1:])])
            raise ValueError(f"x has shape {array.shape}; this automaton reads ({shape})")
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
        left out. A first state that is never returned to becomes the state that has its transitions, if one
        has. The states are numbered as they are first reached, by shorter sequences first: two automata that
        print the same become equal, number for number.

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
        if self.prints_on_arrival and (transitions != start).all():
            same = (transitions == transitions[start]).all(axis=1)
            start = next((q for q in reachable(transitions, start)[1:] if same[q]), start)
        arrays = select(reachable(transitions, start), transitions, outputs)
        return Automaton(self.symbols, arrays[0], arrays[1].reshape(-1, *self.outputs.shape[1:]))

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
    kind: Literal["moore", "mealy"] = "moore",
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
    On x the automaton prints what the network does; whether it does so on other sequences can be tried with
    `Automaton.run`.

    Parameters
    ----------
    rnn : RNN
        One network that reads forwards, of any cell.
    x : array_like of shape (b, t, i), or integer tokens of shape (b, t)
        Sequences; steps that are equal are the same symbol.
    lengths : array_like of int, optional
        (b,), from 0 to t, the steps of each row.
    kind : {"moore", "mealy"}, default "moore"
        Whether what is printed belongs to the state that is reached, as the outputs of a network belong to
        its hidden state, or to the step from one state to the next, which takes fewer states.
    decide : callable, optional
        Function of outputs (n, o) that returns the n integers which they stand for; by default the number of
        the largest.
    max_states : int, default 64
        Give up when there are more.
    tokens : bool, optional
        Whether x is tokens, as in `RNN.forward`.

    Returns
    -------
    Automaton
        As `Automaton.minimal` numbers it, with the symbols of x in ascending order.

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
    as_choice("kind", kind, ("moore", "mealy"))
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
    begin = flat(states[0])[:1]
    reached, some = np.unique(
        flat(states[1:].swapaxes(1, 2)[valid.T].swapaxes(0, 1)), axis=0, return_index=True
    )
    printed = asked.decide(move(trace.outputs, "cpu").swapaxes(0, 1)[valid.T])[some]
    transitions, outputs = told_apart(
        asked, np.concatenate([begin, reached]), np.append(NOTHING, printed), kind == "moore", most
    )
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

    def answers(self, states: Array, words: Array) -> tuple[Array, NDArray[np.int64]]:
        """Return the hidden states and what is printed after words (n, length) of numbers of symbols."""
        layers = self.rnn._config.num_layers * self.rnn._config.directions
        state = states.reshape(len(states), layers, -1).swapaxes(0, 1)
        tokens = self.symbols.ndim == 1
        outputs, last = self.rnn.predict(self.symbols[words], state, tokens=tokens)
        return flat(last), self.decide(outputs[:, -1])


def told_apart(
    asked: Questions, states: Array, printed: NDArray[np.int64], moore: bool, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return transitions and outputs of the classes of hidden states, that of the first hidden state first.

    printed: (n,) before the first word is read.
    """
    a = len(asked.symbols)
    words: list[Word] = [()] if moore else [(symbol,) for symbol in range(a)]
    while True:
        n = len(states)
        following, soon = asked.answers(np.repeat(states, a, axis=0), np.tile(np.arange(a), n)[:, None])
        columns = {
            word: soon.reshape(n, a)[:, word[0]] if word else printed for word in words[: 1 if moore else a]
        }
        later, classes = [], distinct(np.column_stack([*columns.values()]))
        for word in words:  # which grow
            answer = asked.answers(following, np.tile(word, (n * a, 1)))[1] if word else soon
            later.append(answer)
            for symbol, column in enumerate(answer.reshape(n, a).T):
                finer = distinct(np.column_stack([classes, column]))
                longer = (symbol, *word)
                if finer.max() > classes.max() or longer in words:
                    columns[longer], classes = column, finer
                    words += [longer] * (longer not in words)
            if classes.max() >= most:
                raise RuntimeError(
                    f"the hidden states behave in more than max_states = {most} ways, which words of up to "
                    f"{len(words[-1])} symbols tell apart; train the network further, or allow more "
                    "states"
                )
        both = distinct(
            np.concatenate([np.column_stack([columns[w] for w in words]), np.column_stack(later)])
        )
        own, after = both[:n], both[n:]
        unknown = np.flatnonzero(~np.isin(after, own))
        if not len(unknown):
            break
        _, first = np.unique(after[unknown], return_index=True)
        states = np.concatenate([states, following[unknown[first]]])
        printed = np.append(printed, soon[unknown[first]])
    known, some = np.unique(own, return_index=True)
    order = np.argsort(some)  # the first hidden state is in class 0
    transitions = np.argsort(order)[np.searchsorted(known, after.reshape(n, a)[some[order]])]
    return transitions, (printed if moore else soon.reshape(n, a))[some[order]]


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
