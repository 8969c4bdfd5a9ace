"""Two-cycles of synchronous updates: a search for one, and its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..backend import BackendChoice, move, resolve
from ..display import Column, Displayed
from ..kernels import words
from ..streams import Seed, read_seed, stream_key
from ..validation import as_int, require_memory
from .network import HopfieldNetwork
from .recall import RecallResult
from .states import MAX_UNITS, PackedStates, draw_patterns, unpack_states

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class OscillationResult(Displayed):
    """A network and a start state that cycles under synchronous and converges under asynchronous updates.

    Attributes
    ----------
    network : HopfieldNetwork
        The network.
    start : ndarray of int8, shape (n,)
        The start state.
    sync, async_ : RecallResult
        Recall from the start by both kinds of updates, with energies (sweeps + 1,).
    cycle : ndarray of int8, shape (2, n)
        The two states between which synchronous updates alternate in the end.

    Examples
    --------
    >>> import fastrec
    >>> fastrec.find_oscillation(n=50, p=10)
    OscillationResult(n=50, p=10, cycling_units=3, sync_steps=10, async_sweeps=4)
    """

    network: HopfieldNetwork
    start: NDArray[np.int8]
    sync: RecallResult
    async_: RecallResult
    cycle: NDArray[np.int8]

    def _summary(self) -> dict[str, Any]:
        return {
            "n": self.network.n,
            "p": self.network.n_patterns,
            "cycling_units": np.count_nonzero(self.cycle[0] != self.cycle[1]),
            "sync_steps": int(self.sync.sweeps),
            "async_sweeps": int(self.async_.sweeps),
        }

    def _columns(self) -> list[Column]:
        runs = {"sync": self.sync.energies, "async": self.async_.energies}
        names = [Column("update", [name for name, run in runs.items() for _ in run])]
        sweeps = np.concatenate([np.arange(len(run)) for run in runs.values()])
        return [*names, Column("sweep", sweeps), Column("energy", np.concatenate(list(runs.values())))]

    def _figure(self) -> Figure:
        from fastrec import plot

        return plot.oscillation_figure(self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the energies of both recalls against the sweep.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            The axes to draw into; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes
            The axes; the new figure is its ``figure``.

        Examples
        --------
        >>> import fastrec
        >>> fastrec.find_oscillation(n=50, p=10).plot().get_xlabel()
        'time (sweeps, or synchronous steps)'
        """
        from fastrec import plot

        return plot.draw_oscillation(ax, self) if ax is not None else self._figure().axes[0]


def find_oscillation(
    n: int, p: int, seed: Seed = 0, backend: BackendChoice | None = None
) -> OscillationResult:
    """Search for a start state that cycles under synchronous and converges under asynchronous updates.

    Networks of random patterns are tried in turn, each from 64 random start states, 4096 in all.  Cycles are
    common except at loads p/n below about 0.02; with p = 1 they need an even n.

    Parameters
    ----------
    n : int
        Number of units.
    p : int
        Number of memories.
    seed : int, numpy.random.Generator or None, default 0
        Seed of patterns, start states and asynchronous orders: 0 to 2^64 - 1, a generator to draw it from, or
        None for a fresh one.  The first network stores ``random_patterns(p, n, seed)``.  The result holds it
        as ``async_.seed``.
    backend : str, optional
        "cpu", "gpu", "reference" or "auto"; by default the one in force.

    Returns
    -------
    OscillationResult
        The network, the start state, and both recalls from it.

    Raises
    ------
    ValueError
        If no start state is found, as for n = 1, or for invalid arguments.

    Examples
    --------
    >>> import fastrec
    >>> found = fastrec.find_oscillation(n=50, p=10)
    >>> int(found.sync.period), bool(found.async_.converged)
    (2, True)
    """
    n, p = as_int("n", n, 1, MAX_UNITS), as_int("p", p, 1, 2**31 - 1 - 64)
    name, seed = resolve(backend), read_seed(seed)
    key = stream_key(seed, n)
    for first, k in ((0, 1), (1, 3), (4, 12), (16, 48)):  # the first network nearly always has one
        require_memory("find_oscillation", 8 * k * (p + 64) * words(n), backend=name)
        drawn = draw_patterns(key, first, k, p + 64, n, name)
        patterns = PackedStates._of(drawn[:, :p].copy(), n)
        starts = PackedStates._of(drawn[:, p:].copy(), n)
        networks = HopfieldNetwork(n, backend=name)
        networks.store(patterns)
        oscillates = move(networks.recall(starts, update="sync").period, "cpu") == 2
        if oscillates.any():
            oscillates &= move(networks.recall(starts, seed=seed).converged, "cpu")
        if not oscillates.any():
            continue
        t, row = np.unravel_index(int(oscillates.argmax()), oscillates.shape)
        start = unpack_states(starts.words[t, row], n, name, "cpu")
        network = HopfieldNetwork(n, backend=backend)
        network.store(PackedStates._of(patterns.words[t], n))
        sync = network.recall(start, update="sync", record_energy=True)
        other = network.recall(sync.states, update="sync", max_sweeps=1).states
        async_ = network.recall(start, seed=seed, record_energy=True)
        return OscillationResult(network, start, sync, async_, np.stack([sync.states, other]))
    raise ValueError(
        f"none of 4096 starts oscillates with n = {n}, p = {p}, seed = {seed}; try a load p/n above 0.1"
    )
