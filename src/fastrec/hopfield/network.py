"""The Hopfield network: associative memory of binary states with exact integer couplings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import array_module, backend_of, kernels, move, on_device, resolve
from ..imports import names_from_new_places
from ..kernels import words
from ..streams import stream_key
from ..validation import as_choice, as_int, format_bytes, move_checked, require_memory, writable
from .matching import match_rows
from .recall import RecallResult, Update, choose_representation, narrowest, read_orders
from .rules import HEBB, Rule
from .states import (
    MAX_UNITS,
    PackedStates,
    States,
    array_of,
    check_states,
    pack_states,
    states_like,
    unpack_states,
    with_networks,
)

__getattr__ = names_from_new_places(__name__)

Representation = Literal["auto", "patterns", "weights"]

BLOCK_OVERLAPS = 2**26  # overlaps (int32) held at a time where they are only a step to something else


class HopfieldNetwork:
    """A network of n binary units with Hebbian couplings, an associative memory.

    The couplings W are the sum of the outer products of the stored patterns, unscaled integers; the usual
    factor 1/n does not change the sign of a local field.  Everything is computed exactly: the same patterns
    and seed give the same bits on every backend, machine and number of threads.

    Parameters
    ----------
    n : int
        Number of units, 1 to 2^31 - 1.
    self_coupling : bool, default False
        Keep the diagonal of W, which is p; otherwise it is zero.
    backend : str, optional
        "cpu", "gpu", "reference" or "auto"; by default the one in force at each call (`get_backend`).
    representation : {"auto", "patterns", "weights"}, default "auto"
        Recall from packed patterns (n p / 4 bytes) or from weights (n^2 integers of the narrowest dtype);
        "auto" takes the cheaper one that fits in memory.  Both give equal bits.

    Raises
    ------
    ValueError
        For invalid arguments.  So does every method, and then leaves the network as it was.
    BackendError
        If the backend is unknown or cannot run here.

    Notes
    -----
    States are +1 and -1 of any integer or float dtype, bool (False is -1), or `PackedStates`.  Patterns
    (k, p, n) make k independent networks of one shape, which are computed in one call; all arrays then have
    the leading axis k.

    On the gpu, NumPy arrays give NumPy arrays and CuPy arrays give CuPy arrays.  The host waits for the
    device only to check the values of CuPy states and of a CuPy order (packed states are trusted), to know
    how many energies were recorded, and in recall of more than 16384 units from patterns to ask, after some
    tens of sweeps, whether all rows have stopped.  Patterns are kept where the backend computes, and move
    when it changes.

    References
    ----------
    J. J. Hopfield, Neural networks and physical systems with emergent collective computational abilities,
    PNAS 79, 2554 (1982).

    Examples
    --------
    >>> import fastrec
    >>> patterns = fastrec.random_patterns(p=5, n=100, seed=1)
    >>> net = fastrec.HopfieldNetwork(100)
    >>> net.store(patterns)
    >>> probes = fastrec.corrupt(patterns, flips=10, seed=2)
    >>> bool((net.recall(probes).states == patterns).all())
    True
    """

    _rule: Rule = HEBB

    def __init__(
        self,
        n: int,
        self_coupling: bool = False,
        backend: str | None = None,
        representation: Representation = "auto",
    ) -> None:
        self._n = as_int("n", n, 1, MAX_UNITS)
        if not isinstance(self_coupling, (bool, np.bool_)):
            raise ValueError(f"self_coupling is {self_coupling!r}; it must be True or False")
        as_choice("representation", representation, get_args(Representation))
        resolve(backend)
        self._self_coupling = bool(self_coupling)
        self._backend = backend
        self._representation = representation
        self._lead: tuple[int, ...] | None = None  # () or (k,), fixed by the first store
        # Patterns (k, capacity, w), the first p in use; what follows from them is computed when needed.
        self._buffer: Any = np.empty((1, 0, words(self._n)), dtype=np.uint64)
        self._p = 0
        self._units: Any = None
        self._weights: Any = None

    @property
    def n(self) -> int:
        """Number of units."""
        return self._n

    @property
    def n_patterns(self) -> int:
        """Number of stored patterns, of each network."""
        return self._p

    @property
    def n_networks(self) -> int | None:
        """Number k of independent networks, None for a single network without that axis."""
        return self._lead[0] if self._lead else None

    @property
    def backend(self) -> str:
        """Name of the backend on which the next call will run."""
        return resolve(self._backend)

    def __repr__(self) -> str:
        arrays = (self._buffer, self._units, self._weights)
        k = f", k={self._lead[0]}" if self._lead else ""
        memory = format_bytes(sum(a.nbytes for a in arrays if a is not None))
        return (
            f"HopfieldNetwork(n={self._n}, p={self._p}{k}, load={self._p / self._n:.3g}, "
            f'backend="{self.backend}", memory={memory})'
        )

    def __getstate__(self) -> dict[str, Any]:
        """The state to copy or pickle; patterns of a device become NumPy's, which any machine can read."""
        state = self.__dict__.copy()
        # Without the spare rows, into which `store` writes.
        stored = move(self._buffer[:, : self._p], "cpu")
        if on_device(self._buffer):
            state |= {"_units": None, "_weights": None}
        return state | {"_buffer": stored}

    def store(self, patterns: States) -> None:
        """Store patterns in addition to those stored before.

        Parameters
        ----------
        patterns : array_like or PackedStates
            One pattern (n,), patterns (p, n), or (k, p, n) for k networks; the first call fixes k.
            `PackedStates` that are where the backend computes are not copied.

        Raises
        ------
        ValueError
            If patterns are no states of n units, have another k, do not fit in memory, or are so many that
            sums would overflow: p n^2 must stay below 2^63.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(4)
        >>> net.store([[1, 1, -1, -1], [1, -1, 1, -1]])
        >>> net.store([1, -1, -1, 1])
        >>> net.n_patterns
        3
        """
        name = resolve(self._backend, array_of(patterns))
        packed, shape = self._read("patterns", patterns, name)
        k, q, w = packed.shape
        p = self._p + q
        if self._rule.bound(self._n, p) * self._n**2 >= 2**63 or p >= 2**31:
            raise ValueError(
                f"patterns would make p = {p} of n = {self._n}: p n^2 must stay below 2^63, p below 2^31"
            )
        buffer = packed
        if self._p:
            self._settle(name)
            buffer = self._buffer
            if p > buffer.shape[1]:  # by half at a time: storing one by one stays linear
                capacity = max(p, self._p + self._p // 2)
                require_memory(f"storing p = {p} patterns", 8 * k * capacity * w, backend=name)
                buffer = array_module(name).empty((k, capacity, w), dtype=np.uint64)
                buffer[:, : self._p] = self._buffer[:, : self._p]
            buffer[:, self._p : p] = packed
        self._replace(buffer, p, shape[:-2])

    def forget(self, patterns: States) -> None:
        """Remove stored patterns, each as often as it is given.

        Of equal stored patterns the last are removed first, so that forgetting what was just stored restores
        the network exactly.  The host compares the patterns, also those of the gpu.

        Parameters
        ----------
        patterns : array_like or PackedStates
            One pattern (n,), patterns (p, n), or (k, p, n) for k networks.

        Raises
        ------
        ValueError
            If a pattern is not stored, or not as often as it is to be forgotten; the message names the first.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(4)
        >>> net.store([[1, 1, -1, -1], [1, -1, 1, -1]])
        >>> net.forget([1, 1, -1, -1])
        >>> net.patterns()
        array([[ 1, -1,  1, -1]], dtype=int8)
        """
        self._require_patterns()
        name = resolve(self._backend, array_of(patterns))
        packed, shape = self._read("patterns", patterns, name)
        removed, stored = (move_checked("forget", rows, "cpu") for rows in (packed, self._packed(name)))
        k, q, w = removed.shape
        dropped, missing = match_rows(stored, removed)
        if missing is not None:
            index = ", ".join(map(str, divmod(missing, q)[3 - len(shape) :]))
            which = f"patterns[{index}]" if index else "patterns"
            raise ValueError(f"{which} is not stored, or not as often as it is to be forgotten")
        require_memory("forget", 8 * k * (self._p - q) * w)
        kept = move(stored[~dropped].reshape(k, self._p - q, w), name)
        self._replace(kept, self._p - q, shape[:-2])

    def patterns(self) -> NDArray[np.int8]:
        """Return a copy of the stored patterns.

        Returns
        -------
        ndarray of int8, shape (p, n) or (k, p, n)
            The patterns in the order in which they were stored.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(4)
        >>> net.store([True, True, False, False])
        >>> net.patterns()
        array([[ 1,  1, -1, -1]], dtype=int8)
        """
        k, lead = self._buffer.shape[0], (*(self._lead or ()), self._p)
        if not self._p:
            return np.empty((*lead, self._n), dtype=np.int8)
        require_memory("patterns()", self._p * self._n * k)
        name = self.backend
        return in_shape(unpack_states(self._packed(name), self._n, name, "cpu"), lead)

    def couplings(self) -> NDArray[Any]:
        """Return a copy of the couplings W.

        Returns
        -------
        ndarray of int8, int16 or int32, shape (n, n) or (k, n, n)
            The unscaled couplings, in the narrowest of these dtypes that holds -p and p.

        Raises
        ------
        ValueError
            If they do not fit in memory.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(3)
        >>> net.store([[1, 1, -1], [1, -1, -1]])
        >>> net.couplings()
        array([[ 0,  0, -2],
               [ 0,  0,  0],
               [-2,  0,  0]], dtype=int8)
        """
        if self._p:
            weights = self._coupling_weights("couplings()", self.backend, keep=False)
            weights = move_checked("couplings()", weights, "cpu")
            weights = weights.copy() if weights is self._weights else weights
        else:
            weights = np.zeros((self._buffer.shape[0], self._n, self._n), dtype=np.int8)
        return in_shape(weights, (*(self._lead or ()), self._n))

    def recall(
        self,
        probes: States,
        update: Update = "async",
        order: Literal["random", "sequential"] | ArrayLike = "random",
        max_sweeps: int = 100,
        seed: int = 0,
        record_energy: bool = False,
    ) -> RecallResult:
        """Run the dynamics from probes until it stops.

        A unit takes the sign of its local field, and keeps its state where the field is 0.

        Parameters
        ----------
        probes : array_like or PackedStates
            One state (n,), states (b, n), or (k, b, n) for k networks.
        update : {"async", "sync"}, default "async"
            "async" updates the units one after the other, each seeing all earlier updates; a row has
            converged after a whole sweep without a flip.  "sync" updates all units at once and stops at a
            fixed point or a two-cycle; symmetric couplings allow nothing longer.
        order : {"random", "sequential"} or array_like of int, shape (sweeps, n), default "random"
            Order of the units in asynchronous sweeps.  "random" draws a permutation for each sweep, shared by
            all rows and networks, so that a row does not depend on those beside it.  "sequential" is
            0, ..., n - 1.  An array holds a permutation for each sweep, and limits max_sweeps to their
            number.
        max_sweeps : int, default 100
            Largest number of sweeps, 1 to 2^31 - 1.
        seed : int, default 0
            Seed of the random order, 0 to 2^64 - 1.
        record_energy : bool, default False
            Return the energies before the first and after each sweep too.

        Returns
        -------
        RecallResult
            The final states, how each row stopped, and after how many sweeps and flips.

        Raises
        ------
        ValueError
            If no pattern is stored, for invalid probes or arguments, or if ``representation="weights"`` does
            not fit in memory.

        References
        ----------
        J. Bruck, On the convergence properties of the Hopfield model, Proc. IEEE 78, 1579 (1990).

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(6)
        >>> net.store([1, 1, 1, -1, -1, -1])
        >>> result = net.recall([1, 1, -1, -1, -1, -1])
        >>> result.states
        array([ 1,  1,  1, -1, -1, -1], dtype=int8)
        >>> int(result.flips), bool(result.converged)
        (1, True)
        """
        self._require_patterns()
        name = resolve(self._backend, array_of(probes), order)
        xp = array_module(name)
        as_choice("update", update, get_args(Update))
        max_sweeps = as_int("max_sweeps", max_sweeps, 1, 2**31 - 1)
        key = stream_key(seed, self._n)
        orders = read_orders(order, self._n, name)
        if update == "sync" and not (isinstance(order, str) and order == "random"):
            raise ValueError('order is of async updates; update="sync" changes all units at once')
        if not isinstance(order, str):
            max_sweeps = min(max_sweeps, len(orders))
        states, shape = self._read("probes", probes, name)
        k, b, _ = states.shape
        where = backend_of(array_of(probes))
        if not isinstance(probes, PackedStates):
            require_memory(f"recall of {k * b} states", k * b * self._n, backend=where)
        if record_energy:
            energy_bytes = 8 * k * b * (max_sweeps + 1)
            require_memory(f"record_energy with max_sweeps = {max_sweeps}", energy_bytes, backend=name)
        if isinstance(probes, PackedStates) and where == backend_of(states):
            states = states.copy()
        stopped = xp.empty((k, b), dtype=bool if update == "async" else np.int32)
        sweeps, flips = xp.empty((k, b), dtype=np.int32), xp.empty((k, b), dtype=np.int64)
        forms = xp.empty((k, b, max_sweeps + 1 if record_energy else 0), dtype=np.int64)
        self._settle(name)
        if self._choose(b, update, name) == "weights":
            inputs: tuple[Any, ...] = (self._coupling_weights('representation="weights"', name),)
            kernel = f"recall_{update}_weights"
        else:
            inputs = (self._packed(name), self._unit_words(name), self._self_coupling)
            kernel = f"recall_{update}"
        if update == "async":
            inputs = (key, orders, *inputs)
        getattr(kernels("hopfield", name), kernel)(*inputs, max_sweeps, states, stopped, sweeps, flips, forms)

        energies = None
        if record_energy:
            energies = self._energies(forms[..., : int(sweeps.max()) + 1])
            energies[xp.arange(energies.shape[2]) > sweeps[..., None]] = np.nan
            energies = in_shape(move(energies, where), shape[:-1])
        stopped, sweeps, flips = (
            in_shape(move(array, where), shape[:-1]) for array in (stopped, sweeps, flips)
        )
        final = states_like(probes, in_shape(states, shape[:-1]), self._n, name)
        return RecallResult(final, stopped == 1, stopped.astype(np.int32), sweeps, flips, energies)

    def local_fields(self, states: States) -> Any:
        """Return the local fields h = W s of states s.

        Parameters
        ----------
        states : array_like or PackedStates, shape (n,), (b, n) or (k, b, n)
            The states.

        Returns
        -------
        ndarray of int32 or int64
            Unscaled integers of the shape of the states; int32 if n p < 2^31.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(3)
        >>> net.store([1, 1, -1])
        >>> net.local_fields([1, 1, 1])
        array([ 0,  0, -2], dtype=int32)
        """

        def kernel(name: str, s: Any) -> Any:
            dtype = np.int32 if self._n * self._rule.bound(self._n, self._p) < 2**31 else np.int64
            fields = array_module(name).empty((*s.shape[:2], self._n), dtype=dtype)
            module = kernels("hopfield", name)
            if self._rule.pattern_space:
                m = self._products(name, s)
                module.local_fields(self._unit_words(name), s, m, self._self_coupling, fields)
            else:
                module.local_fields_weights(self._coupling_weights("local_fields", name), s, fields)
            return fields

        return self._by_rows("local_fields", states, 8 * self._n, max(self._p, self._n), kernel)

    def energy(self, states: States) -> Any:
        """Return the energy E = -(1/2n) sum_ij W_ij s_i s_j of states s, from exact integers.

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
        >>> net = fastrec.HopfieldNetwork(4)
        >>> net.store([1, 1, -1, -1])
        >>> float(net.energy([1, 1, -1, -1]))  # -(n - 1) / 2
        -1.5
        """

        def kernel(name: str, s: Any) -> Any:
            forms = array_module(name).empty((*s.shape[:2], 1), dtype=np.int64)
            if self._rule.pattern_space:
                m = self._products(name, s)
                kernels("hopfield", name).quadratic_form(m, self._n, self._self_coupling, forms[..., 0])
            else:
                self._step_sync("energy", name, s, 0, forms)
            return self._energies(forms[..., 0])

        return self._by_rows("energy", states, 8, self._p, kernel)

    def overlaps(self, states: States) -> Any:
        """Return the overlaps m = (1/n) sum_i x_i s_i of states s with every stored pattern x.

        Parameters
        ----------
        states : array_like or PackedStates, shape (n,), (b, n) or (k, b, n)
            The states.

        Returns
        -------
        ndarray of float64, shape (p,), (b, p) or (k, b, p)
            The overlaps, from -1 to 1.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(4)
        >>> net.store([[1, 1, -1, -1], [1, -1, 1, -1]])
        >>> net.overlaps([1, 1, -1, -1])
        array([1., 0.])
        """
        return self._by_rows(
            "overlaps", states, 8 * self._p, self._p, lambda name, s: self._products(name, s) / self._n
        )

    def _integer_overlaps(self, states: States) -> Any:
        """`overlaps` times n, exact: sum_i x_i s_i, int32 (..., p)."""
        return self._by_rows("overlaps", states, 4 * self._p, self._p, self._products)

    def is_stable(self, states: States) -> Any:
        """Return whether no unit of a state has a local field against it.

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
        >>> net = fastrec.HopfieldNetwork(4)
        >>> net.store([1, 1, -1, -1])
        >>> net.is_stable([[1, 1, -1, -1], [-1, -1, 1, 1], [1, 1, 1, -1]])
        array([ True,  True, False])
        """

        def kernel(name: str, s: Any) -> Any:
            xp = array_module(name)
            if not self._rule.pattern_space:
                return self._step_sync("is_stable", name, s, 1, xp.empty((*s.shape[:2], 0), np.int64)) == 1
            stable, m = xp.empty(s.shape[:2], dtype=bool), self._products(name, s)
            kernels("hopfield", name).is_stable(self._unit_words(name), s, m, self._self_coupling, stable)
            return stable

        return self._by_rows("is_stable", states, 8, self._p, kernel)

    def _products(self, name: str, s: Any) -> Any:
        """Sums of products of packed states s (k, c, w) with the stored patterns, int32 (k, c, p)."""
        m = array_module(name).empty((*s.shape[:2], self._p), dtype=np.int32)
        kernels("hopfield", name).overlaps(self._packed(name), s, self._n, m)
        return m

    def _step_sync(self, job: str, name: str, s: Any, steps: int, forms: Any) -> Any:
        """Periods (k, c) of packed states s (k, c, w) after some synchronous steps with the couplings.

        forms (k, c, steps + 1 or 0) is filled with s'W s before and after each step.
        """
        xp = array_module(name)
        period, sweeps = xp.empty((2, *s.shape[:2]), dtype=np.int32)
        flips = xp.empty(s.shape[:2], dtype=np.int64)
        weights = self._coupling_weights(job, name)
        kernels("hopfield", name).recall_sync_weights(weights, steps, s.copy(), period, sweeps, flips, forms)
        return period

    def _by_rows(
        self, job: str, states: States, row_bytes: int, row_numbers: int, kernel: Callable[[str, Any], Any]
    ) -> Any:
        """Results of kernel(backend, s (k, c, w)) over blocks of rows, of row_bytes bytes a row.

        A block holds as many rows as keep row_numbers numbers for each of them within `BLOCK_OVERLAPS`.
        """
        self._require_patterns()
        name, where = resolve(self._backend, array_of(states)), backend_of(array_of(states))
        probes, shape = self._read("states", states, name)
        self._settle(name)
        k, b, _ = probes.shape
        require_memory(f"{job} of {k * b} states", k * b * row_bytes, backend=where)
        step, xp = max(1, BLOCK_OVERLAPS // (k * row_numbers)), array_module(name)
        blocks = [
            move(kernel(name, xp.ascontiguousarray(probes[:, i : i + step])), where)
            for i in range(0, b, step)
        ]
        result = blocks[0] if len(blocks) == 1 else array_module(where).concatenate(blocks, axis=1)
        return in_shape(result, shape[:-1])

    def _read(self, name: str, states: States, backend: str) -> tuple[Any, tuple[int, ...]]:
        """Checked states as words (k, rows, w) where the backend computes, and their shape.

        Packed states that are there are not copied.
        """
        n = self._n
        checked = states if isinstance(states, PackedStates) else check_states(name, states, n)
        shape = checked.shape
        if shape[-1] != n:
            raise ValueError(f"{name} has n = {shape[-1]} units a state; the network has n = {n}")
        if len(shape) > 3 or self._lead not in (None, shape[:-2]):
            plain, several = f"({n},) or (rows, {n})", f"({self.n_networks or 'k'}, rows, {n})"
            takes = several if self._lead else plain if self._lead == () else f"{plain} or {several}"
            raise ValueError(f"{name} has shape {shape}; this network takes {takes}")
        if isinstance(checked, PackedStates):
            packed = move_checked(name, writable(checked.words), backend)
        else:
            packed = pack_states(checked, backend)
        return with_networks(packed), shape

    def _replace(self, buffer: Any, p: int, lead: tuple[int, ...]) -> None:
        self._buffer, self._p, self._lead, self._units, self._weights = buffer, p, lead, None, None

    def _require_patterns(self) -> None:
        if not self._p:
            raise ValueError("the network holds no patterns; call store(patterns) first")

    def _settle(self, backend: str) -> None:
        """Move the stored patterns to where a backend computes, and drop what was derived from them."""
        if on_device(self._buffer) != (backend == "gpu"):
            buffer = move_checked("the stored patterns", self._buffer, backend)
            self._buffer, self._units, self._weights = buffer, None, None

    def _packed(self, backend: str) -> Any:
        """The stored patterns (k, p, w), contiguous: spare rows between networks are given up."""
        self._settle(backend)
        packed = self._buffer[:, : self._p]
        if not packed.flags.c_contiguous:
            packed = self._buffer = array_module(backend).ascontiguousarray(packed)
        return packed

    def _unit_words(self, backend: str) -> Any:
        """The transpose (k, n, u) of the stored patterns, computed on first use."""
        packed = self._packed(backend)
        if self._units is None:
            k, p, _ = packed.shape
            shape = (k, self._n, words(p))
            require_memory("the transposed patterns", 8 * math.prod(shape), backend=backend)
            units = array_module(backend).empty(shape, dtype=np.uint64)
            kernels("hopfield", backend).transpose(packed, units)
            self._units = units
        return self._units

    def _coupling_weights(self, what: str, backend: str, keep: bool = True) -> Any:
        """The couplings (k, n, n), kept for later calls or computed for this one only."""
        if self._weights is not None:
            return self._weights
        bound = self._rule.bound(self._n, self._p)
        shape, dtype = (self._buffer.shape[0], self._n, self._n), narrowest(bound)
        cure = '; representation="patterns" needs no weights' if self._rule.pattern_space else ""
        require_memory(what, math.prod(shape) * dtype.itemsize, cure, backend)
        packed, units = self._packed(backend), self._unit_words(backend)
        weights = array_module(backend).empty(shape, dtype=dtype)
        self._rule.couplings(kernels("hopfield", backend), packed, units, self._self_coupling, weights)
        if keep:
            self._weights = weights
        return weights

    def _choose(self, b: int, update: Update, backend: str) -> Literal["patterns", "weights"]:
        if not self._rule.pattern_space:
            return "weights"
        if self._representation == "auto":
            k, have_weights = self._buffer.shape[0], self._weights is not None
            return choose_representation(k, b, self._n, self._p, update, have_weights, backend)
        return self._representation

    def _energies(self, forms: Any) -> Any:
        return forms / (-2.0 * self._n) + 0.0  # + 0.0 turns -0.0 into 0.0


def in_shape(array: Any, lead: tuple[int, ...]) -> Any:
    """An array (k, rows, ...) in the shape (*lead, ...) that the caller uses; a scalar if that is ()."""
    return array.reshape((*lead, *array.shape[2:]))[()]
