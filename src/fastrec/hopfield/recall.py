"""Recall: its result, the orders of its sweeps, and the choice between patterns and couplings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..backend import BackendChoice, array_module, backend_of, kernels, move, resolve
from ..display import Column, Displayed, span
from ..messages import shown
from ..streams import Seed, read_seed, stream_key
from ..validation import as_array, as_int, available_memory, require_memory
from .states import MAX_UNITS, by_row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Update = Literal["async", "sync"]
"""How units are updated: one after another, each seeing all earlier updates, or all at once."""

Order = Literal["random", "sequential"] | NDArray[Any] | Sequence[Sequence[int]]
"""In which order asynchronous sweeps take the units, an array holds a permutation for each sweep."""

FEW_UNITS, FEW_ROWS = 2**14, 64  # of recall on the gpu: see `choose_representation`


@dataclass(frozen=True, eq=False, repr=False)
class Averages(Displayed):
    """Averages over the last sweeps of a recall at a temperature, of each row.

    Arrays have the shape of those of `RecallResult`, and further axes as named.

    Attributes
    ----------
    sweeps : int
        Sweeps after which the state was counted.
    states : ndarray of float64
        The average of each unit, along the last axis or axes, in the coding of the network.
    overlaps : ndarray of float64 or None
        The average overlaps with the p stored patterns, along the last axis; None of given couplings.
    energy : ndarray of float64
        The average energy.
    edwards_anderson : ndarray of float64
        The order parameter of Edwards and Anderson, the mean over the units of the squared average of each.
        So many sweeps K of states that were independent would add (1 - q) / K to it.

    Examples
    --------
    >>> import fastrec
    >>> net = fastrec.HopfieldNetwork(500)
    >>> net.store(patterns := fastrec.random_patterns(p=5, n=500, seed=1))
    >>> result = net.recall(patterns, temperature=0.4, max_sweeps=200, average=100, seed=2)
    >>> result.averages
    Averages(sweeps=100, states=(5, 500), overlaps=(5, 5), energy=-244..-238, edwards_anderson=0.95..0.97)
    """

    sweeps: int
    states: Any
    overlaps: Any
    energy: Any
    edwards_anderson: Any

    def _summary(self) -> dict[str, Any]:
        energy, order = (np.atleast_1d(move(array, "cpu")) for array in (self.energy, self.edwards_anderson))
        return {
            "sweeps": self.sweeps,
            "states": self.states.shape,
            **({} if self.overlaps is None else {"overlaps": self.overlaps.shape}),
            "energy": span([energy.min(), energy.max()]),
            "edwards_anderson": span([order.min(), order.max()]),
        }

    def _columns(self) -> list[Column]:
        return by_row(energy=self.energy, edwards_anderson=self.edwards_anderson)


@dataclass(frozen=True, eq=False, repr=False)
class RecallResult(Displayed):
    """The result of `HopfieldNetwork.recall`.

    Arrays have the shape of the probes without the last axis: (b,), (k, b), or none (NumPy scalars) for a
    single probe (n,); with ``repeats=`` an axis of that length comes first.  All are CuPy arrays if the
    probes were.

    Attributes
    ----------
    states : ndarray of int8 or PackedStates
        The states at which the rows stopped, of the shape of the probes, after the axis of repeats; packed if
        the probes were.
    converged : ndarray of bool
        Whether the row reached a fixed point.
    period : ndarray of int32
        1 at a fixed point, the number of states of a cycle (synchronous updates only; 2 where couplings are
        symmetric), 0 if max_sweeps ended the row.
    sweeps : ndarray of int32
        Number of sweeps, including the last one of a converged row, in which no unit flips.
    flips : ndarray of int64
        Number of flips of units; a unit that flips twice counts twice.
    energies : ndarray of float64 or None
        With "energy" in ``record=`` the energy at the start and after each sweep, or flip with
        ``by="update"``, along the last axis; nan once a row has stopped.
    seed : int or None
        The seed of the random orders, and of the draws at a temperature, so that a recall can be repeated or
        go on; None where nothing was drawn.
    overlaps : ndarray of float64 or None
        With "overlap" the overlaps with the p stored patterns at the same times, along the last two axes.
    trajectory : ndarray of int8, PackedStates or None
        With "states" the states at the same times, along the axis before that of the units; once a row has
        stopped its last one.
    turns : ndarray of int32 or None
        With ``by="update"`` the sweep, from 0 on, and the unit of each flip, along the last two axes; -1 once
        a row has stopped.
    averages : Averages or None
        With ``average=`` the averages over the last sweeps.

    Examples
    --------
    >>> import fastrec
    >>> patterns = fastrec.random_patterns(p=5, n=100, seed=1)
    >>> net = fastrec.HopfieldNetwork(100)
    >>> net.store(patterns)
    >>> net.recall(fastrec.corrupt(patterns, flips=10, seed=2), seed=3)
    RecallResult(states=(5, 100), fixed_points=5, two_cycles=0, unfinished=0, sweeps=2, flips=10)
    """

    # Any stands for NumPy's scalars, for PackedStates and for arrays of CuPy.
    states: NDArray[np.int8] | Any
    converged: NDArray[np.bool_] | Any
    period: NDArray[np.int32] | Any
    sweeps: NDArray[np.int32] | Any
    flips: NDArray[np.int64] | Any
    energies: NDArray[np.float64] | Any = None
    seed: int | None = None
    overlaps: NDArray[np.float64] | Any = None
    trajectory: NDArray[np.int8] | Any = None
    turns: NDArray[np.int32] | Any = None
    averages: Averages | None = None

    def _summary(self) -> dict[str, Any]:
        period, sweeps, flips = (
            np.atleast_1d(move(array, "cpu")) for array in (self.period, self.sweeps, self.flips)
        )
        return {
            "states": self.states.shape,
            "fixed_points": np.count_nonzero(period == 1),
            "two_cycles": np.count_nonzero(period == 2),
            **({"longer_cycles": np.count_nonzero(period > 2)} if (period > 2).any() else {}),
            "unfinished": np.count_nonzero(period == 0),
            "sweeps": span([sweeps.min(), sweeps.max()]),
            "flips": span([flips.min(), flips.max()]),
        }

    def _columns(self) -> list[Column]:
        names = ("converged", "period", "sweeps", "flips")
        return by_row(**{name: getattr(self, name) for name in names})

    def _figure(self) -> Figure | None:
        from fastrec import plot

        return None if self.energies is None else plot.energy_figure(self)


def read_orders(order: Any, n: int, backend: str) -> Any:
    """Orders of sweeps as the kernels take them: int32 (sweeps, n) where the backend computes.

    There are no rows for "random" orders, which the kernels draw.
    """
    xp = array_module(backend)
    if isinstance(order, str):
        if order == "random":
            return xp.empty((0, n), dtype=np.int32)
        if order == "sequential":
            return xp.arange(n, dtype=np.int32)[None]
        raise ValueError(
            f'order is {shown(order)}; it must be "random", "sequential" or integers (sweeps, n)'
        )
    array = as_array("order", order)
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != n or not len(array):
        raise ValueError(
            f"order has shape {array.shape}, dtype {array.dtype}; it must be integers (sweeps, {n})"
        )
    # Copied before it is checked: kernels index with it, so nobody else may change it afterwards.
    array, xp = array.copy(), array_module(backend_of(array))
    wrong = (xp.sort(array, axis=1) != xp.arange(n)).any(axis=1)
    if wrong.any():
        raise ValueError(f"order[{int(wrong.argmax())}] is not a permutation of 0..{n - 1}")
    return move(xp.ascontiguousarray(array, dtype=np.int32), backend)


def sweeps_left(orders: Any, first_sweep: int) -> int:
    """How many sweeps given orders (sweeps, n) hold from one on; ValueError if there are none."""
    if first_sweep >= len(orders):
        raise ValueError(f"first_sweep is {first_sweep}; order holds sweeps 0 to {len(orders) - 1}")
    return len(orders) - first_sweep


def random_orders(
    n: int, sweeps: int, seed: Seed = None, *, first_sweep: int = 0, backend: BackendChoice | None = None
) -> NDArray[np.int32]:
    """Return the random orders of asynchronous sweeps that `HopfieldNetwork.recall` draws.

    Parameters
    ----------
    n : int
        Number of units.
    sweeps : int
        Number of sweeps.
    seed : int, numpy.random.Generator or None, default None
        0 to 2^64 - 1, a generator to draw it from, or None for a fresh one.
    first_sweep : int, default 0
        Number of the first sweep, 0 to 2^31 - 1.  The order of a sweep depends on seed, n and its number.
    backend : str, optional
        "cpu", "gpu", "reference" or "auto"; by default the one in force.

    Returns
    -------
    ndarray of int32, shape (sweeps, n)
        A permutation of 0, ..., n - 1 for each sweep, to be given as ``order=``.

    Raises
    ------
    ValueError
        If n or sweeps is not a positive integer, another argument is invalid, or memory does not suffice.

    Examples
    --------
    >>> import fastrec
    >>> fastrec.random_orders(5, sweeps=2, seed=1)
    array([[0, 2, 1, 3, 4],
           [1, 0, 4, 3, 2]], dtype=int32)
    """
    n, sweeps = as_int("n", n, 1, MAX_UNITS), as_int("sweeps", sweeps, 1, 2**31 - 1)
    first_sweep, name = as_int("first_sweep", first_sweep, 0, 2**31 - 1), resolve(backend)
    require_memory("random_orders", 4 * sweeps * n, backend=name)
    orders = array_module(name).empty((sweeps, n), dtype=np.int32)
    key, draw = stream_key(read_seed(seed), n), kernels("hopfield", name).random_order
    for sweep in range(sweeps):
        draw(key, 0, 0, first_sweep + sweep, orders[sweep])
    result: NDArray[np.int32] = move(orders, "cpu")
    return result


def narrowest(bound: int) -> np.dtype[Any]:
    """The narrowest signed dtype that holds couplings from -bound to bound."""
    return np.min_scalar_type(-bound - 1)  # what holds -bound - 1 holds bound too


def choose_representation(
    k: int,
    b: int,
    n: int,
    p: int,
    update: Update,
    have_weights: bool,
    backend: str = "cpu",
    hot: bool = False,
) -> Literal["patterns", "weights"]:
    """The representation that recalls b rows of k networks with fewer operations, if it fits in memory.

    Operations are counted in additions of one unit of one pattern by the CPU kernels.  A sweep from patterns
    takes n p.  From weights, asynchronous recall takes 4 (n^2 + n flips) in all, with about 3 n / 4 flips,
    synchronous recall 2 n^2 a sweep, and weights that are missing n^2 p / 8.  Sweeps are few below the load
    at which memories are lost, then tens.  On the gpu, matrix units make weights and synchronous fields in
    no time: weights serve asynchronous recall, where a flip then costs one row, except for few rows of large
    networks, each of which would keep one multiprocessor busy alone.  Weights that are missing may take half
    of the free memory, with the fields of all rows.

    hot: at a temperature units flip all the time, one in twenty or so, which changes n fields in memory or p
    overlaps in a cache.  The gpu works from weights alone then.
    """
    if hot and backend == "gpu":
        return "weights"
    sweeps = 4 if p < 0.1 * n else 30
    from_patterns = b * sweeps * n * p
    from_weights = b * n * n * (7 if update == "async" else 2 * sweeps)
    if hot:
        fewer = 4 * p > n
    elif backend == "gpu":
        fewer = update == "async" and (have_weights or n <= FEW_UNITS or k * b >= FEW_ROWS)
    else:
        fewer = from_weights + (0 if have_weights else n * n * p // 8) < from_patterns
    if not fewer:
        return "patterns"
    if have_weights or (free := available_memory(backend)) is None:
        return "weights"
    return "weights" if k * n * (n * narrowest(p).itemsize + 9 * b) <= free // 2 else "patterns"
