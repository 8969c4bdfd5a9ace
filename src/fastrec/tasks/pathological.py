"""Pathological tasks: what decides the answer is seen long before the answer is asked for.

They are those of Hochreiter & Schmidhuber (Neural Comput. 9, 1735, 1997) as Martens & Sutskever (ICML 2011)
and Sutskever et al. (ICML 2013) pose them, so that gradients that vanish leave nothing to learn from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..rnn.config import MAX_SIZE
from ..streams import Seed, generator
from ..validation import as_int, require_memory

Numbers = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]
Symbols = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.bool_]]

SHORTEST, LONGEST = 10, 10**6  # steps
NOISE, FIRST, END, BEGIN = 4, 4, 6, 7  # of temporal order: symbols of noise, X, the last and the first symbol


def adding_problem(n: int, steps: int, seed: Seed = 0) -> Numbers:
    """Make sequences of random numbers, two of which are marked and to be added at the end.

    The first input is uniform from 0 to 1. The second is 1 at two marked steps, the one from step 1 to
    steps/10, the other after that up to steps/2, and -1 at the first and at the last step. Sequences have
    from `steps` to 1.1 `steps` steps, and zeros after that. An answer is taken as wrong if it is more than
    0.04 off.

    Parameters
    ----------
    n : int
        Number of sequences.
    steps : int
        The least length, from 10.
    seed : int, numpy.random.Generator or None, default 0
        As in `RNN`.

    Returns
    -------
    x : ndarray of shape (n, t, 2)
        float32, with t = steps + steps // 10.
    targets : ndarray of shape (n, t, 1)
        float32, the sum of the marked numbers at the last step of each sequence, 0 elsewhere.
    mask : ndarray of shape (n, t)
        bool, True at that step alone.

    Raises
    ------
    ValueError
        For sizes that are out of range or do not fit into memory.

    Examples
    --------
    >>> x, targets, mask = fastrec.adding_problem(2, steps=10, seed=1)
    >>> bool(np.allclose((x[..., 0] * (x[..., 1] == 1)).sum(axis=1), targets[mask][:, 0]))
    True
    """
    return two_numbers(n, steps, seed, np.add)


def multiplication_problem(n: int, steps: int, seed: Seed = 0) -> Numbers:
    """Make the sequences of `adding_problem`, with the product of the marked numbers as the target.

    Parameters
    ----------
    n, steps, seed
        As in `adding_problem`.

    Returns
    -------
    x, targets, mask : ndarray
        As in `adding_problem`.

    Raises
    ------
    ValueError
        For sizes that are out of range or do not fit into memory.

    Examples
    --------
    >>> x, products, mask = fastrec.multiplication_problem(100, steps=50, seed=1)
    >>> x.shape, products.shape, bool((products[mask] < 1).all())
    ((100, 55, 2), (100, 55, 1), True)
    """
    return two_numbers(n, steps, seed, np.multiply)


def temporal_order(n: int, steps: int, symbols: int = 2, seed: Seed = 0) -> Symbols:
    """Make sequences of random symbols in which two or three are X or Y; say which, in their order.

    Symbols 0 to 3 are noise, 4 is X and 5 is Y; 7 begins a sequence and 6 ends it. The marked ones lie from
    steps/10 to steps/5 and from steps/2 to 3 steps/5; three of them from steps/10, steps/3 and 2 steps/3 on,
    each within a tenth of the steps. Lengths are as in `adding_problem`.

    Parameters
    ----------
    n, steps
        As in `adding_problem`.
    symbols : {2, 3}
        Number of marked symbols: 4 or 8 classes, of which the first marked symbol is the highest bit.
    seed : int, numpy.random.Generator or None, default 0
        As in `RNN`.

    Returns
    -------
    x : ndarray of shape (n, t, 8)
        float32, 1 for the symbol of each step, with t = steps + steps // 10.
    targets : ndarray of shape (n, t)
        int32, the class at the last step of each sequence, 0 elsewhere.
    mask : ndarray of shape (n, t)
        bool, True at that step alone.

    Raises
    ------
    ValueError
        For sizes that are out of range or do not fit into memory.

    Examples
    --------
    >>> x, targets, mask = fastrec.temporal_order(1, steps=10, seed=2)
    >>> x[0].argmax(axis=1).tolist(), targets[mask].tolist()
    ([7, 5, 1, 2, 3, 4, 2, 1, 1, 6, 0], [2])
    """
    two = as_int("symbols", symbols, 2, 3) == 2
    rng, n, steps, ends, mask = begin(n, steps, 8, seed)
    shown_symbols, rows = rng.integers(NOISE, size=mask.shape), np.arange(n)
    classes = np.zeros(n, np.int32)
    for start in (steps // 10, steps // 2) if two else (steps // 10, steps // 3, 2 * steps // 3):
        second = rng.integers(2, size=n, dtype=np.int32)
        shown_symbols[rows, start + rng.integers(steps // 10, size=n)] = FIRST + second
        classes = 2 * classes + second
    shown_symbols[:, 0], shown_symbols[rows, ends] = BEGIN, END
    x = one_hot(shown_symbols, 8)
    x[np.arange(mask.shape[1]) > ends[:, None]] = 0
    return x, np.where(mask, classes[:, None], 0).astype(np.int32), mask


def random_permutation(n: int, steps: int, symbols: int = 100, seed: Seed = 0) -> Symbols:
    """Make sequences of random symbols to predict, of which only the last can be known: it repeats the first.

    The first symbol is 0 or 1, the others are drawn from 2 to symbols - 1. An answer is what is predicted
    last.

    Parameters
    ----------
    n : int
        Number of sequences.
    steps : int
        Their length, from 2.
    symbols : int, default 100
        Number of symbols, from 3.
    seed : int, numpy.random.Generator or None, default 0
        As in `RNN`.

    Returns
    -------
    x : ndarray of shape (n, steps, symbols)
        float32, 1 for the symbol of each step.
    targets : ndarray of shape (n, steps)
        int32, the symbol of the next step, at the last step that of the first.
    mask : ndarray of shape (n, steps)
        bool, True everywhere.

    Raises
    ------
    ValueError
        For sizes that are out of range or do not fit into memory.

    Examples
    --------
    >>> x, targets, mask = fastrec.random_permutation(1, steps=5, symbols=9, seed=1)
    >>> x[0].argmax(axis=1).tolist(), targets[0].tolist()
    ([0, 4, 7, 7, 5], [4, 7, 7, 5, 0])
    """
    n, steps = as_int("n", n, 1, MAX_SIZE), as_int("steps", steps, 2, LONGEST)
    symbols = as_int("symbols", symbols, 3, MAX_SIZE)
    require_memory(f"x of {n} sequences of {steps} steps", n * steps * (4 * symbols + 17))
    rng = generator(seed)
    drawn = rng.integers(2, symbols, (n, steps), np.int32)
    drawn[:, 0] = rng.integers(2, size=n)
    return one_hot(drawn, symbols), np.roll(drawn, -1, axis=1), np.ones(drawn.shape, np.bool_)


def noiseless_memory(n: int, delay: int, bits: int = 5, values: int = 2, seed: Seed = 0) -> Symbols:
    """Make strings to repeat after a delay in which nothing happens.

    The inputs are the symbols of the string, then a blank, and one step before the string is asked for a
    signal; the target is a blank until then. With bits=10 and values=5 this is the task of 20 bits.

    Parameters
    ----------
    n : int
        Number of sequences.
    delay : int
        Steps from the end of the string to its repetition, from 1.
    bits : int, default 5
        Number of symbols in the string.
    values : int, default 2
        Number of different symbols.
    seed : int, numpy.random.Generator or None, default 0
        As in `RNN`.

    Returns
    -------
    x : ndarray of shape (n, t, values + 2)
        float32, 1 for the symbol of each step, with t = 2 bits + delay; `values` is the blank, values + 1 the
        signal.
    targets : ndarray of shape (n, t)
        int32, the blank, and in the last steps the string.
    mask : ndarray of shape (n, t)
        bool, True everywhere.

    Raises
    ------
    ValueError
        For sizes that are out of range or do not fit into memory.

    Examples
    --------
    >>> x, targets, mask = fastrec.noiseless_memory(1, delay=2, bits=3, seed=1)
    >>> x[0].argmax(axis=1).tolist(), targets[0].tolist()
    ([0, 0, 1, 2, 3, 2, 2, 2], [2, 2, 2, 2, 2, 0, 0, 1])
    """
    n, delay = as_int("n", n, 1, MAX_SIZE), as_int("delay", delay, 1, LONGEST)
    bits, values = as_int("bits", bits, 1, LONGEST), as_int("values", values, 2, LONGEST)
    steps = 2 * bits + delay
    require_memory(f"x of {n} sequences of {steps} steps", n * steps * (4 * values + 25))
    rng = generator(seed)
    string = rng.integers(values, size=(n, bits), dtype=np.int32)
    inputs, targets = np.full((2, n, steps), values, np.int32)
    inputs[:, :bits], targets[:, -bits:] = string, string
    inputs[:, -bits - 1] = values + 1
    return one_hot(inputs, values + 2), targets, np.ones((n, steps), np.bool_)


def two_numbers(n: int, steps: int, seed: Seed, operation: Callable[..., Any]) -> Numbers:
    """The sequences of `adding_problem`, whose target is an operation on the marked numbers."""
    rng, n, steps, ends, mask = begin(n, steps, 2, seed)
    x, rows = np.zeros((*mask.shape, 2), np.float32), np.arange(n)
    x[..., 0] = rng.random(mask.shape, np.float32)
    tenth = steps // 10
    first = rng.integers(1, tenth + 1, size=n)
    second = rng.integers(tenth + 1, steps // 2 + 1, size=n)
    x[rows, first, 1] = x[rows, second, 1] = 1
    x[:, 0, 1] = x[rows, ends, 1] = -1
    x[np.arange(mask.shape[1]) > ends[:, None]] = 0
    answers = operation(x[rows, first, 0], x[rows, second, 0])
    return x, np.where(mask, answers[:, None], 0).astype(np.float32)[..., None], mask


def begin(
    n: int, steps: int, inputs: int, seed: Seed
) -> tuple[np.random.Generator, int, int, NDArray[np.int64], NDArray[np.bool_]]:
    """A generator of random numbers, the checked sizes, the last step of each sequence, and its mask."""
    n, steps = as_int("n", n, 1, MAX_SIZE), as_int("steps", steps, SHORTEST, LONGEST)
    longest = steps + steps // 10
    require_memory(f"x of {n} sequences of {longest} steps", n * longest * (4 * inputs + 25))
    rng = generator(seed)
    ends = rng.integers(steps - 1, longest, size=n)
    return rng, n, steps, ends, np.arange(longest) == ends[:, None]


def one_hot(symbols: NDArray[np.integer[Any]], size: int) -> NDArray[np.float32]:
    """Symbols (n, t) as (n, t, size), 1 where the symbol is."""
    x = np.zeros((*symbols.shape, size), np.float32)
    np.put_along_axis(x, symbols[..., None], 1, axis=-1)
    return x
