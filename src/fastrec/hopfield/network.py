"""The Hopfield network: associative memory of binary states with exact integer couplings."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import array_module, backend_of, kernels, move, resolve
from ..imports import names_from_new_places
from ..kernels import words
from ..messages import shown
from ..streams import MAX_SEED, Seed, read_seed, stream_key
from ..validation import (
    SMALL,
    as_bool,
    as_choice,
    as_int,
    format_bytes,
    move_checked,
    require_memory,
    writable,
)
from .matching import match_rows
from .recall import RecallResult, Update, choose_representation, read_orders
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
from .stored import StoredPatterns

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
    >>> bool((net.recall(probes, seed=3).states == patterns).all())
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
        self_coupling = as_bool("self_coupling", self_coupling)
        as_choice("representation", representation, get_args(Representation))
        resolve(backend)
        self._backend = backend
        self._representation = representation
        nothing = np.empty((1, 0, words(self._n)), dtype=np.uint64)
        self._stored = StoredPatterns(self._n, self._rule, bool(self_coupling), nothing, 0, None)
        self._writing = Lock()

    @property
    def n(self) -> int:
        """Number of units."""
        return self._n

    @property
    def n_patterns(self) -> int:
        """Number of stored patterns, of each network."""
        return self._stored.p

    @property
    def n_networks(self) -> int | None:
        """Number k of independent networks, None for a single network without that axis."""
        lead = self._stored.lead
        return lead[0] if lead else None

    @property
    def backend(self) -> str:
        """Name of the backend on which the next call will run."""
        return resolve(self._backend)

    def __repr__(self) -> str:
        stored = self._stored
        k = f", k={stored.lead[0]}" if stored.lead else ""
        return (
            f"HopfieldNetwork(n={self._n}, p={stored.p}{k}, load={stored.p / self._n:.3g}, "
            f'backend="{self.backend}", memory={format_bytes(stored.nbytes)})'
        )

    def __getstate__(self) -> dict[str, Any]:
        """The state to copy or pickle; patterns of a device become NumPy's, which any machine can read."""
        stored = self._stored
        on_host = stored.is_on("cpu")
        return {
            **{name: getattr(self, name) for name in ("_n", "_backend", "_representation")},
            "_self_coupling": stored.self_coupling,
            "_lead": stored.lead,
            "_p": stored.p,
            # Without the spare rows, into which `store` writes.
            "_buffer": move(stored.buffer[:, : stored.p], "cpu"),
            "_units": stored.unit_words if on_host else None,
            "_weights": stored.weights if on_host else None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in ("_n", "_backend", "_representation"):
            setattr(self, name, state[name])
        parts = (state[name] for name in ("_self_coupling", "_buffer", "_p", "_lead"))
        self._stored = StoredPatterns(self._n, self._rule, *parts)
        self._stored.unit_words, self._stored.weights = state["_units"], state["_weights"]
        self._writing = Lock()

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
        packed, shape = self._read("patterns", patterns, name, self._stored)
        with self._writing:
            stored = self._stored
            self._require_shape("patterns", shape, stored)  # another thread may have been the first to store
            if stored.p and not stored.is_on(name):
                stored = stored.moved(name)
            self._stored = stored.extended(packed, shape[:-2], name)

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
        name = resolve(self._backend, array_of(patterns))
        packed, shape = self._read("patterns", patterns, name, self._require_patterns())
        removed = move_checked("forget", packed, "cpu")
        with self._writing:
            stored = self._require_patterns()
            rows = move_checked("forget", stored.packed(), "cpu")
            k, q, w = removed.shape
            dropped, missing = match_rows(rows, removed)
            if missing is not None:
                index = ", ".join(map(str, divmod(missing, q)[3 - len(shape) :]))
                which = f"patterns[{index}]" if index else "patterns"
                raise ValueError(f"{which} is not stored, or not as often as it is to be forgotten")
            p = stored.p - q
            require_memory("forget", 8 * k * p * w)
            self._stored = stored.replaced(move(rows[~dropped].reshape(k, p, w), name), p, shape[:-2])

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
        name, stored = self.backend, self._stored
        if stored.p:
            stored = self._stored_on(name, stored)
        k, lead = stored.buffer.shape[0], (*(stored.lead or ()), stored.p)
        if not stored.p:
            return np.empty((*lead, self._n), dtype=np.int8)
        require_memory("patterns()", stored.p * self._n * k)
        return in_shape(unpack_states(stored.packed(), self._n, name, "cpu"), lead)

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
        name, stored = self.backend, self._stored
        if stored.p:
            stored = self._stored_on(name, stored)
            weights = stored.couplings("couplings()", name, keep=False)
            weights = move_checked("couplings()", weights, "cpu")
            weights = weights.copy() if weights is stored.weights else weights
        else:
            weights = np.zeros((stored.buffer.shape[0], self._n, self._n), dtype=np.int8)
        return in_shape(weights, (*(stored.lead or ()), self._n))

    def recall(
        self,
        probes: States,
        update: Update = "async",
        order: Literal["random", "sequential"] | ArrayLike = "random",
        max_sweeps: int = 100,
        seed: Seed = None,
        record_energy: bool = False,
        *,
        first_sweep: int = 0,
        repeats: int | None = None,
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
            0, ..., n - 1.  An array holds a permutation for each sweep, like those of `random_orders`, and
            limits max_sweeps to their number.
        max_sweeps : int, default 100
            Largest number of sweeps, 1 to 2^31 - 1.
        seed : int, numpy.random.Generator or None, default None
            Seed of the random orders: 0 to 2^64 - 1, a generator to draw it from, or None for a fresh one.
        record_energy : bool, default False
            Return the energies before the first and after each sweep too.  Where those of max_sweeps would
            take more than 64 MiB, the rows are recalled twice: first to count the sweeps.
        first_sweep : int, default 0
            Number of the first sweep, 0 to 2^31 - 1, at which the random orders, or the rows of an array of
            them, begin.  So a recall goes on: the states after 2 sweeps are those after one sweep, recalled
            for one more with the same seed and ``first_sweep=1``.
        repeats : int, optional
            Recall each probe in so many independent random orders.  The result then has a leading axis of
            this length, of which element r is that of ``seed + r`` (mod 2^64).

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
        >>> result = net.recall([1, 1, -1, -1, -1, -1], seed=1)
        >>> result.states
        array([ 1,  1,  1, -1, -1, -1], dtype=int8)
        >>> int(result.flips), bool(result.converged)
        (1, True)
        """
        stored = self._require_patterns()
        name = resolve(self._backend, array_of(probes), order)
        xp = array_module(name)
        as_choice("update", update, get_args(Update))
        as_bool("record_energy", record_energy)
        max_sweeps = as_int("max_sweeps", max_sweeps, 1, 2**31 - 1)
        first_sweep = as_int("first_sweep", first_sweep, 0, 2**31 - 1)
        orders = read_orders(order, self._n, name)
        random = update == "async" and isinstance(order, str) and order == "random"
        if update == "sync" and not (isinstance(order, str) and order == "random"):
            raise ValueError('order is of async updates; update="sync" changes all units at once')
        if update == "sync" and first_sweep:
            raise ValueError(f'first_sweep is {first_sweep}; update="sync" has no orders that begin there')
        if repeats is not None and not random:
            raise ValueError(
                f"repeats is {shown(repeats)}; only random orders of async updates differ in each"
            )
        times = 1 if repeats is None else as_int("repeats", repeats, 1, 2**31 - 1)
        if not isinstance(order, str):
            if first_sweep >= len(orders):
                raise ValueError(f"first_sweep is {first_sweep}; order holds sweeps 0 to {len(orders) - 1}")
            max_sweeps = min(max_sweeps, len(orders) - first_sweep)
        seed = read_seed(seed)
        states, shape = self._read("probes", probes, name, stored)
        k, b, _ = states.shape
        where = backend_of(array_of(probes))
        if not isinstance(probes, PackedStates):
            require_memory(f"recall of {times * k * b} states", times * k * b * self._n, backend=where)
        require_memory(f"recall of {times * k * b} states", times * states.nbytes, backend=name)
        stored = self._stored_on(name, stored)
        if self._choose(stored, b, update, name) == "weights":
            inputs: tuple[Any, ...] = (stored.couplings('representation="weights"', name),)
            kernel = f"recall_{update}_weights"
        else:
            inputs = (stored.packed(), stored.units(name), stored.self_coupling)
            kernel = f"recall_{update}"

        def run(seed: int, limit: int, recorded: int) -> tuple[Any, ...]:
            """Final states, how they stopped, sweeps, flips and forms after at most `limit` sweeps."""
            final, stopped = states.copy(), xp.empty((k, b), dtype=bool if update == "async" else np.int32)
            sweeps, flips = xp.empty((k, b), dtype=np.int32), xp.empty((k, b), dtype=np.int64)
            forms = xp.empty((k, b, recorded), dtype=np.int64)
            head = (stream_key(seed, self._n), orders, first_sweep) if update == "async" else ()
            arguments = (*head, *inputs, limit, final, stopped, sweeps, flips, forms)
            getattr(kernels("hopfield", name), kernel)(*arguments)
            return final, stopped, sweeps, flips, forms

        def run_recorded(seed: int) -> tuple[Any, ...]:
            """`run` with as many forms as there are sweeps, or as take little memory."""
            limit = max_sweeps
            if 8 * times * k * b * (limit + 1) > SMALL:
                limit = int(run(seed, limit, 0)[2].max())
                energy_bytes = 8 * k * b * (limit + 1)
                require_memory(f"record_energy of {limit} sweeps", energy_bytes, backend=name)
            return run(seed, limit, limit + 1)

        seeds = [seed + r & MAX_SEED for r in range(times)]
        runs = [run_recorded(each) if record_energy else run(each, max_sweeps, 0) for each in seeds]
        states, stopped, sweeps, flips = (
            runs[0][i] if times == 1 else xp.concatenate([found[i] for found in runs]) for i in range(4)
        )
        lead, energies = shape[:-1] if repeats is None else (times, *shape[:-1]), None
        if record_energy:
            energies = xp.empty((times * k, b, int(sweeps.max()) + 1), dtype=np.float64)
            for r, (*_, forms) in enumerate(runs):
                part = energies[r * k : r * k + k, :, : forms.shape[2]]
                part[...] = self._energies(forms[..., : part.shape[2]])
            energies[xp.arange(energies.shape[2]) > sweeps[..., None]] = np.nan
            energies = in_shape(move(energies, where), lead)
        stopped, sweeps, flips = (in_shape(move(array, where), lead) for array in (stopped, sweeps, flips))
        final = states_like(probes, in_shape(states, lead), self._n, name)
        period = stopped.astype(np.int32)
        return RecallResult(final, stopped == 1, period, sweeps, flips, energies, seed if random else None)

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

        def kernel(stored: StoredPatterns, name: str, s: Any) -> Any:
            dtype = np.int32 if self._n * stored.rule.bound(self._n, stored.p) < 2**31 else np.int64
            fields = array_module(name).empty((*s.shape[:2], self._n), dtype=dtype)
            module = kernels("hopfield", name)
            if stored.rule.pattern_space:
                m = stored.overlaps(name, s)
                module.local_fields(stored.units(name), s, m, stored.self_coupling, fields)
            else:
                module.local_fields_weights(stored.couplings("local_fields", name), s, fields)
            return fields

        stored = self._require_patterns()
        numbers = max(stored.p, self._n)
        return self._by_rows("local_fields", states, stored, 8 * self._n, numbers, kernel)

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

        def kernel(stored: StoredPatterns, name: str, s: Any) -> Any:
            forms = array_module(name).empty((*s.shape[:2], 1), dtype=np.int64)
            if stored.rule.pattern_space:
                m = stored.overlaps(name, s)
                kernels("hopfield", name).quadratic_form(m, self._n, stored.self_coupling, forms[..., 0])
            else:
                self._step_sync("energy", stored, name, s, 0, forms)
            return self._energies(forms[..., 0])

        stored = self._require_patterns()
        return self._by_rows("energy", states, stored, 8, stored.p, kernel)

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
        stored = self._require_patterns()
        return self._by_rows(
            *("overlaps", states, stored, 8 * stored.p, stored.p),
            lambda stored, name, s: stored.overlaps(name, s, np.float64),
        )

    def _integer_overlaps(self, states: States) -> Any:
        """`overlaps` times n, exact: sum_i x_i s_i, int32 (..., p)."""
        stored = self._require_patterns()
        return self._by_rows("overlaps", states, stored, 4 * stored.p, stored.p, StoredPatterns.overlaps)

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

        def kernel(stored: StoredPatterns, name: str, s: Any) -> Any:
            xp = array_module(name)
            if not stored.rule.pattern_space:
                forms = xp.empty((*s.shape[:2], 0), np.int64)
                return self._step_sync("is_stable", stored, name, s, 1, forms) == 1
            stable, m = xp.empty(s.shape[:2], dtype=bool), stored.overlaps(name, s)
            kernels("hopfield", name).is_stable(stored.units(name), s, m, stored.self_coupling, stable)
            return stable

        stored = self._require_patterns()
        return self._by_rows("is_stable", states, stored, 8, stored.p, kernel)

    def _step_sync(self, job: str, stored: StoredPatterns, name: str, s: Any, steps: int, forms: Any) -> Any:
        """Periods (k, c) of packed states s (k, c, w) after some synchronous steps with the couplings.

        forms (k, c, steps + 1 or 0) is filled with s'W s before and after each step.
        """
        xp = array_module(name)
        period, sweeps = xp.empty((2, *s.shape[:2]), dtype=np.int32)
        flips = xp.empty(s.shape[:2], dtype=np.int64)
        weights = stored.couplings(job, name)
        kernels("hopfield", name).recall_sync_weights(weights, steps, s.copy(), period, sweeps, flips, forms)
        return period

    def _by_rows(
        self,
        job: str,
        states: States,
        stored: StoredPatterns,
        row_bytes: int,
        row_numbers: int,
        kernel: Callable[[StoredPatterns, str, Any], Any],
    ) -> Any:
        """Results of kernel(stored, backend, s (k, c, w)) over blocks of rows, of row_bytes bytes a row.

        A block holds as many rows as keep row_numbers numbers for each of them within `BLOCK_OVERLAPS`.
        """
        name, where = resolve(self._backend, array_of(states)), backend_of(array_of(states))
        probes, shape = self._read("states", states, name, stored)
        stored = self._stored_on(name, stored)
        k, b, _ = probes.shape
        require_memory(f"{job} of {k * b} states", k * b * row_bytes, backend=where)
        step, xp = max(1, BLOCK_OVERLAPS // (k * row_numbers)), array_module(name)
        blocks = [
            move(kernel(stored, name, xp.ascontiguousarray(probes[:, i : i + step])), where)
            for i in range(0, b, step)
        ]
        result = blocks[0] if len(blocks) == 1 else array_module(where).concatenate(blocks, axis=1)
        return in_shape(result, shape[:-1])

    def _read(
        self, name: str, states: States, backend: str, stored: StoredPatterns
    ) -> tuple[Any, tuple[int, ...]]:
        """Checked states as words (k, rows, w) where the backend computes, and their shape.

        Packed states that are there are not copied.
        """
        n = self._n
        checked = states if isinstance(states, PackedStates) else check_states(name, states, n)
        shape = checked.shape
        if shape[-1] != n:
            raise ValueError(f"{name} has n = {shape[-1]} units a state; the network has n = {n}")
        self._require_shape(name, shape, stored)
        if isinstance(checked, PackedStates):
            packed = move_checked(name, writable(checked.words), backend)
        else:
            packed = pack_states(checked, backend)
        return with_networks(packed), shape

    def _require_shape(self, name: str, shape: tuple[int, ...], stored: StoredPatterns) -> None:
        """Raise ValueError unless the shape of states is that of as many networks."""
        n, lead = self._n, stored.lead
        if len(shape) > 3 or lead not in (None, shape[:-2]):
            plain, several = f"({n},) or (rows, {n})", f"({lead[0] if lead else 'k'}, rows, {n})"
            takes = several if lead else plain if lead == () else f"{plain} or {several}"
            raise ValueError(f"{name} has shape {shape}; this network takes {takes}")

    def _require_patterns(self) -> StoredPatterns:
        """The patterns as they are now; ValueError if there are none."""
        stored = self._stored
        if not stored.p:
            raise ValueError("the network holds no patterns; call store(patterns) first")
        return stored

    def _stored_on(self, backend: str, stored: StoredPatterns) -> StoredPatterns:
        """Stored patterns where a backend computes; if they must move, the network holds them there."""
        if stored.is_on(backend):
            return stored
        moved = stored.moved(backend)
        with self._writing:
            if self._stored is stored:
                self._stored = moved
        return moved

    def _choose(
        self, stored: StoredPatterns, b: int, update: Update, backend: str
    ) -> Literal["patterns", "weights"]:
        if not stored.rule.pattern_space:
            return "weights"
        if self._representation == "auto":
            k, have_weights = stored.buffer.shape[0], stored.weights is not None
            return choose_representation(k, b, self._n, stored.p, update, have_weights, backend)
        return self._representation

    def _energies(self, forms: Any) -> Any:
        return forms / (-2.0 * self._n) + 0.0  # + 0.0 turns -0.0 into 0.0


def in_shape(array: Any, lead: tuple[int, ...]) -> Any:
    """An array (k, rows, ...) in the shape (*lead, ...) that the caller uses; a scalar if that is ()."""
    return array.reshape((*lead, *array.shape[2:]))[()]
