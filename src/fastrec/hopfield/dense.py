"""Dense associative memories: energies of higher degree than two in the overlaps, or exponential ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import BackendChoice, array_module, backend_of, kernels, move, resolve
from ..kernels import words
from ..messages import shown
from ..streams import Seed, read_seed, stream_key
from ..validation import as_choice, as_int, format_bytes, number, require_memory
from .arguments import read_record
from .attention import read_continuous, recall_by_attention, require_finite
from .dynamics import Recordable, up_to_the_end
from .interaction import Degree, Interaction, read_degree
from .memory import BLOCK_OVERLAPS, PatternMemory, in_shape
from .packed import PackedPatterns
from .recall import Order, RecallResult, read_orders, sweeps_left
from .serialization import load_dense, save_dense
from .states import MAX_UNITS, Coding, PackedStates, States, array_of

ENERGY_NUMBERS = 16  # int32 of memory for each overlap that an energy is computed from

DenseUpdate = Literal["async", "sync", "attention"]
"""How units are updated: as by `Update`, or continuous ones by attention."""


class DenseMemory(PatternMemory[PackedPatterns]):
    """A dense associative memory of n binary units, which holds far more patterns than n.

    The energy of a state s is -sum_mu F(M_mu), with the overlaps M_mu = sum_i x_i s_i with the patterns x,
    and F(M) = M^degree or exp(M).  A unit takes the state of lower energy, and keeps its own where both are
    equal: the sign of sum_mu [F(rest_mu + x_i) - F(rest_mu - x_i)], with the overlap that all other units
    make.  Of degree 2 it is Hebb's network without self-coupling.  At odd degrees the inverse of a memory is
    none.

    The sums are whole numbers: the same patterns and seed give the same bits on every backend, machine and
    number of threads.  The exponential is computed relative to the nearest pattern, in fixed point:
    round(2^S exp(-2 j)) for patterns that are j - 1 units farther than the nearest one, with the largest S
    for which sums over p patterns stay within 2^62.  This rounding is part of the definition.

    Parameters
    ----------
    n : int
        Number of units, 1 to 2^31 - 1.
    degree : int or "exponential", default 3
        Power of the overlaps, 2 to 62, or their exponential.  About n^(degree - 1) random patterns of a power
        are fixed points, 2^(n/2) of the exponential.
    backend : str, optional
        "cpu", "gpu", "reference" or "auto"; by default the one in force at each call (`get_backend`).
    coding : str, default "+-1"
        "01" if arrays of states are written as 1 and 0, where 0 stands for -1.
    shape : sequence of int, optional
        Shape of a picture of n units, as of `HopfieldNetwork`.

    Raises
    ------
    ValueError
        For invalid arguments, also a degree whose sums would pass 64 bits.  So does every method, and then
        leaves the memory as it was.
    BackendError
        If the backend is unknown or cannot run here.

    Notes
    -----
    Patterns take n p / 8 bytes, and for asynchronous updates of a power as many again.  Patterns (k, p, n)
    make k independent memories, as those of `HopfieldNetwork`.

    References
    ----------
    D. Krotov and J. J. Hopfield, Dense associative memory for pattern recognition, NIPS 2016.
    M. Demircigil, J. Heusel, M. Loewe, S. Upgang and F. Vermet, On a model of associative memory with huge
    storage capacity, J. Stat. Phys. 168, 288 (2017).
    H. Ramsauer et al., Hopfield networks is all you need, ICLR 2021.

    Examples
    --------
    Five times as many patterns as units:

    >>> import fastrec
    >>> patterns = fastrec.random_patterns(p=500, n=100, seed=1)
    >>> memory = fastrec.DenseMemory(100, degree=4)
    >>> memory.store(patterns)
    >>> probes = fastrec.corrupt(patterns, flips=10, seed=2)
    >>> bool((memory.recall(probes, seed=3).states == patterns).all())
    True
    """

    def __init__(
        self,
        n: int,
        degree: Degree = 3,
        *,
        backend: BackendChoice | None = None,
        coding: Coding = "+-1",
        shape: Sequence[int] | None = None,
    ) -> None:
        n = as_int("n", n, 1, MAX_UNITS)
        interaction = Interaction(n, read_degree(degree))
        interaction.require(1)
        self._begin_memory(n, backend, coding, shape)
        self._interaction = interaction
        self._stored = PackedPatterns(n, np.empty((1, 0, words(n)), dtype=np.uint64), 0, None)

    @property
    def degree(self) -> Degree:
        """The power of the overlaps, or "exponential"."""
        return self._interaction.degree

    def __repr__(self) -> str:
        stored = self._stored
        k = f", k={stored.lead[0]}" if stored.lead else ""
        return (
            f"DenseMemory(n={self._n}, degree={self.degree!r}, p={stored.p}{k}, "
            f'backend="{self.backend}", memory={format_bytes(stored.nbytes)})'
        )

    def __getstate__(self) -> dict[str, Any]:
        """The state to copy or pickle; arrays of a device become NumPy's, which any machine can read."""
        stored = self._stored.moved("cpu")
        state = {name: value for name, value in vars(self).items() if name not in ("_writing", "_stored")}
        # Without the spare rows, into which `store` writes.
        return state | {"_lead": stored.lead, "_buffer": stored.buffer[:, : stored.p]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._begin_memory(state["_n"], state["_backend"], state["_coding"], state["_shape"])
        self._interaction, buffer = state["_interaction"], state["_buffer"]
        self._stored = PackedPatterns(self._n, buffer, buffer.shape[1], state["_lead"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a NumPy .npz file of the packed patterns and the degree, replacing path in one step.

        Parameters
        ----------
        path : path-like
            Name of the file, ending in .npz.

        Raises
        ------
        ValueError
            Unless path ends in .npz.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import fastrec
        >>> memory = fastrec.DenseMemory(100)
        >>> memory.store(fastrec.random_patterns(p=5, n=100, seed=1))
        >>> memory.save("dense.npz")
        """
        save_dense(path, self._stored.moved("cpu"), self.degree, self._coding, self._shape)

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: BackendChoice | None = None) -> DenseMemory:
        """Read what `save` wrote.  Nothing in the file is executed.

        Parameters
        ----------
        path : path-like
            Name of the file.
        backend : str, optional
            As for `DenseMemory`; files do not hold it.

        Returns
        -------
        DenseMemory
            A memory of the same patterns and degree.

        Raises
        ------
        ValueError
            For a file that is foreign, truncated or damaged, naming it and what is wrong.

        Examples
        --------
        >>> import fastrec
        >>> memory = fastrec.DenseMemory(100, degree="exponential")
        >>> memory.store(fastrec.random_patterns(p=5, n=100, seed=1))
        >>> memory.save("dense.npz")
        >>> fastrec.DenseMemory.load("dense.npz").degree
        'exponential'
        """
        stored, degree, coding, shape = load_dense(path)
        memory = cls(stored.n, degree, backend=backend, coding=coding, shape=shape)
        memory._stored = stored
        return memory

    def store(self, patterns: States) -> None:
        """Store patterns in addition to those stored before.

        Parameters
        ----------
        patterns : array_like or PackedStates
            One pattern (n,), patterns (p, n), or (k, p, n) for k memories; the first call fixes k.
            `PackedStates` that are where the backend computes are not copied.

        Raises
        ------
        ValueError
            If patterns are no states of n units, have another k, do not fit in memory, or are so many that
            sums could pass 64 bits: p n^degree must stay below 2^63, and 2 p (n^degree - (n - 2)^degree).

        Examples
        --------
        >>> import fastrec
        >>> memory = fastrec.DenseMemory(4)
        >>> memory.store([[1, 1, -1, -1], [1, -1, 1, -1]])
        >>> memory.store([1, -1, -1, 1])
        >>> memory.n_patterns
        3
        """
        name = resolve(self._backend, array_of(patterns))
        packed, shape = self._read("patterns", patterns, name, self._stored)
        with self._writing:
            stored, p = self._stored, self._stored.p + packed.shape[1]
            self._require_shape("patterns", shape, stored)  # another thread may have been the first to store
            self._interaction.require(p)
            if stored.p and not stored.is_on(name):
                stored = stored.moved(name)
            self._stored = PackedPatterns(self._n, stored.joined(packed, name), p, shape[:-2])

    def energy(self, states: States) -> NDArray[np.float64] | Any:
        """Return the energy of states.

        It is -n^(1 - degree) sum_mu M_mu^degree, from exact integers, or -ln sum_mu exp(M_mu), which falls
        where -sum_mu exp(M_mu) does and does not overflow.  Asynchronous updates never raise it.

        Parameters
        ----------
        states : array_like or PackedStates, shape (n,), (b, n) or (k, b, n)
            The states.

        Returns
        -------
        ndarray of float64
            The energies, of the shape of the states without the last axis.

        Examples
        --------
        >>> import fastrec
        >>> memory = fastrec.DenseMemory(4, degree="exponential")
        >>> memory.store([1, 1, -1, -1])
        >>> float(memory.energy([1, 1, -1, -1]))
        -4.0
        """
        stored = self._require_patterns()
        return self._by_rows(
            *("energy", states, stored, 8, ENERGY_NUMBERS * stored.p),
            lambda stored, name, s: self._interaction.energies(stored.overlaps(name, s), name),
        )

    def is_stable(self, states: States) -> NDArray[np.bool_] | Any:
        """Return whether no unit of a state would flip.

        Parameters
        ----------
        states : array_like or PackedStates, shape (n,), (b, n) or (k, b, n)
            The states.

        Returns
        -------
        ndarray of bool
            Of the shape of the states without the last axis.  Recall leaves stable states as they are.

        Examples
        --------
        >>> import fastrec
        >>> memory = fastrec.DenseMemory(4)
        >>> memory.store([1, 1, -1, -1])
        >>> memory.is_stable([[1, 1, -1, -1], [1, 1, 1, -1]])
        array([ True, False])
        """
        return self._by_rows(
            *("is_stable", states, self._require_patterns(), 8, 1),
            lambda stored, name, s: self._run(stored, name, s, 1)[1] == 1,
        )

    def recall(
        self,
        probes: States | ArrayLike,
        update: DenseUpdate = "async",
        order: Order = "random",
        max_sweeps: int = 100,
        seed: Seed = None,
        *,
        first_sweep: int = 0,
        beta: float | None = None,
        record: Recordable | Sequence[Recordable] = (),
    ) -> RecallResult:
        """Run the dynamics from probes until it stops.

        Parameters
        ----------
        probes : array_like or PackedStates
            One state (n,), or states (b, n) or (..., n).  For k memories (k, b, n) or (k, ..., n), or (n,) or
            (b, n), from which all of them start.  Attention takes any finite numbers.
        update : {"async", "sync", "attention"}, default "async"
            "async" updates the units one after the other, each seeing all earlier updates; a row has
            converged after a whole sweep without a flip.  "sync" updates all units at once and stops at a
            fixed point or a cycle.  "attention", of an exponential memory, is that of continuous states xi:
            all become X softmax(beta X'xi), the columns of X being the patterns, in float64, until no
            component moves by more than 1e-9.
        order : {"random", "sequential"} or array_like of int, shape (sweeps, n), default "random"
            Order of the units in asynchronous sweeps, as in `HopfieldNetwork.recall`.
        max_sweeps : int, default 100
            Largest number of sweeps, 1 to 2^31 - 1.
        seed : int, numpy.random.Generator or None, default None
            Seed of the random orders: 0 to 2^64 - 1, a generator to draw it from, or None for a fresh one.
        first_sweep : int, default 0
            Number of the first sweep, at which the random orders, or the rows of an array of them, begin.
        beta : float, optional
            Of attention: what overlaps are multiplied by, above 0; 1, the weights of the exponential memory,
            by default.
        record : str or sequence of str, default ()
            What to keep of the course, after each sweep of binary states: "energy", "overlap" (with every
            stored pattern) and "states".

        Returns
        -------
        RecallResult
            The final states, how each row stopped, and after how many sweeps and flips.  By attention the
            states are float64, in the coding of the memory, and a flip is a change of sign.

        Raises
        ------
        ValueError
            If no pattern is stored, for invalid probes or arguments, or if what is needed or recorded does
            not fit in memory.

        Examples
        --------
        >>> import fastrec
        >>> memory = fastrec.DenseMemory(6, degree="exponential")
        >>> memory.store([[1, 1, 1, -1, -1, -1], [1, -1, 1, -1, 1, -1]])
        >>> memory.recall([1, 1, -1, -1, -1, -1], seed=1).states
        array([ 1,  1,  1, -1, -1, -1], dtype=int8)
        >>> memory.recall([1, 1, -1, -1, -1, -1], update="attention").states.round(2)
        array([ 1.  ,  0.96,  1.  , -1.  , -0.96, -1.  ])
        """
        stored = self._require_patterns()
        name = resolve(self._backend, array_of(probes), order)
        as_choice("update", update, get_args(DenseUpdate))
        max_sweeps = as_int("max_sweeps", max_sweeps, 1, 2**31 - 1)
        first_sweep = as_int("first_sweep", first_sweep, 0, 2**31 - 1)
        random = isinstance(order, str) and order == "random"
        if update != "async" and (first_sweep or not random):
            raise ValueError(f'order and first_sweep are of async updates, and update is "{update}"')
        seed = read_seed(seed)
        if update == "attention":
            if read_record(record, False, "sweep", "sync"):
                raise ValueError(f'record is {shown(record)}; update="attention" records nothing')
            return self._attend(stored, name, probes, max_sweeps, beta)
        if beta is not None:
            raise ValueError(f'beta is {shown(beta)}; it is of update="attention"')
        orders = read_orders(order, self._n, name)
        if not isinstance(order, str):
            max_sweeps = min(max_sweeps, sweeps_left(orders, first_sweep))
        record = read_record(record, False, "sweep", update)
        states, shape = self._read("probes", probes, name, stored)
        (k, b, _), where = states.shape, backend_of(array_of(probes))
        if not isinstance(probes, PackedStates):
            require_memory(f"recall of {k * b} states", k * b * self._n, backend=where)
        require_memory(f"recall of {k * b} states", states.nbytes, backend=name)
        stored = self._stored_on(name, stored)
        key = None if update == "sync" else (stream_key(seed, self._n), orders, first_sweep)
        limit = max_sweeps
        if record:  # a first run counts the sweeps, for which there is room in a second one
            limit = int(self._run(stored, name, states, limit, key)[2].max())
        times = (limit + 1) * (record != ())
        row_bytes = self._n + 8 * (2 * states.shape[2] + stored.p * ("overlap" in record) + 1)
        require_memory(f"record of {times} states", k * b * times * row_bytes, backend=name)
        final, stopped, sweeps, flips, trail = self._run(stored, name, states, limit, key, times)
        lead = shape[:-1]
        course = self._course(stored, name, sweeps, trail, record, lead, probes)
        stopped, sweeps, flips = (in_shape(move(array, where), lead) for array in (stopped, sweeps, flips))
        found = self._states_like(probes, in_shape(final, lead), name)
        drawn = seed if update == "async" and random else None
        return RecallResult(
            found, stopped == 1, stopped.astype(np.int32), sweeps, flips, seed=drawn, **course
        )

    def _run(
        self, stored: PackedPatterns, name: str, states: Any, limit: int, key: Any = None, times: int = 0
    ) -> tuple[Any, Any, Any, Any, Any]:
        """States, periods or whether converged, sweeps and flips after at most `limit` sweeps, and the trail.

        Synchronous without a key, which holds the arguments of random orders; the trail (k, b, times, w) has
        the states at the start and after each sweep.
        """
        xp, (k, b, w), n = array_module(name), states.shape, self._n
        table, relative = xp.asarray(self._interaction.table(stored.p)), self._interaction.relative
        final, stopped = states.copy(), xp.empty((k, b), dtype=np.int32 if key is None else bool)
        sweeps, flips = xp.empty((k, b), dtype=np.int32), xp.empty((k, b), dtype=np.int64)
        results = (final, stopped, sweeps, flips, xp.empty((k, b, times, w), dtype=np.uint64))
        module = kernels("hopfield", name)
        if key is None:
            module.dense_sync(stored.packed(), n, table, relative, limit, *results)
        else:
            units = xp.empty((k, n, 0), dtype=np.uint64) if relative else stored.units(name)
            module.dense_async(*key, stored.packed(), units, table, relative, limit, *results)
        return results

    def _course(
        self,
        stored: PackedPatterns,
        name: str,
        sweeps: Any,
        trail: Any,
        record: Sequence[Recordable],
        lead: tuple[int, ...],
        probes: States,
    ) -> dict[str, Any]:
        """The energies, overlaps and states of `RecallResult` from the trail of a recall."""
        if not record:
            return {}
        xp, times = array_module(name), 1 + int(sweeps.max())
        trail, past = up_to_the_end(trail, sweeps, times), xp.arange(times) > sweeps[..., None]
        course = self._passed(stored, name, trail, past, record, lead, probes)
        if "energy" in record:
            rows = trail.reshape(len(trail), -1, trail.shape[3])
            step = max(1, BLOCK_OVERLAPS // (ENERGY_NUMBERS * len(trail) * stored.p))
            parts = [
                self._interaction.energies(stored.overlaps(name, s), name)
                for i in range(0, rows.shape[1], step)
                for s in (xp.ascontiguousarray(rows[:, i : i + step]),)
            ]
            energies = np.concatenate(parts, axis=1).reshape(trail.shape[:3])
            energies[move(past, "cpu")] = np.nan
            course["energies"] = in_shape(move(energies, backend_of(array_of(probes))), lead)
        return course

    def _attend(
        self, stored: PackedPatterns, name: str, probes: Any, max_sweeps: int, beta: float | None
    ) -> RecallResult:
        """`recall` of continuous states."""
        if not self._interaction.relative:
            raise ValueError(f'update is "attention", which is of degree="exponential", not {self.degree}')
        beta = 1.0 if beta is None else number("beta", beta, 0)
        where, n = backend_of(array_of(probes)), self._n
        states = read_continuous("probes", self._flat(probes), n, self._coding)
        shape = self._whole_shape("probes", states.shape, stored, stored.lead)
        k = prod(stored.lead or ())
        require_finite(states, n, beta)
        xp, lead = array_module(where), shape[:-1]
        require_memory("attention", 72 * prod(shape), backend=name)
        states = xp.broadcast_to(states, shape).reshape(k, -1, n)
        stored = self._stored_on(name, stored)
        found, *counts = recall_by_attention(stored, name, move(states, name), beta, max_sweeps)
        period, sweeps, flips = (in_shape(move(array, where), lead) for array in counts)
        if self._coding == "01":
            found = (found + 1.0) / 2.0
        found = in_shape(move(found, where), lead)
        if self._is_pictured(probes):
            found = found.reshape(*lead, *(self._shape or ()))
        return RecallResult(found, period == 1, period, sweeps, flips)
