"""The Hopfield network: associative memory of binary states with exact integer couplings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arguments import as_int, available_memory, human, require_memory, writable
from ..backend import kernels, resolve
from ..kernels import words
from .patterns import (
    MAX_UNITS,
    PackedStates,
    States,
    as_states,
    draw_patterns,
    pack_states,
    stream_key,
    unpack_states,
)

Representation = Literal["auto", "patterns", "weights"]
Update = Literal["async", "sync"]

BLOCK_OVERLAPS = 2**26  # overlaps (int32) held at a time where they are only a step to something else


@dataclass(frozen=True, eq=False)
class RecallResult:
    """What `HopfieldNetwork.recall` found.  Arrays have the shape of the probes without the last axis: (b,),
    (k, b), or none (NumPy scalars) for a single probe (n,).

    states: where the rows stopped, int8 (..., n); `PackedStates` for packed probes.
    converged: bool, the row reached a fixed point.
    period: int32, 1 at a fixed point, 2 in a two-cycle (sync only), 0 if max_sweeps ended the row.
    sweeps: int32, sweeps done, with the one that found the stop: the last, without a flip, of a fixed point.
    flips: int64, units flipped, counted each time.
    energies: float64 (..., sweeps.max() + 1) if recorded, else None: before the first and after each sweep,
        nan once the row has stopped.
    """

    states: Any
    converged: NDArray[np.bool_]
    period: NDArray[np.int32]
    sweeps: NDArray[np.int32]
    flips: NDArray[np.int64]
    energies: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class OscillationResult:
    """A network and a start that cycles under sync and converges under async: see `find_oscillation`.

    network: the `HopfieldNetwork`; start: (n,) int8.
    sync, async_: `RecallResult` of both, with energies (steps + 1,) and (sweeps + 1,).
    cycle: (2, n) int8, the two states that sync ends up alternating between.
    """

    network: HopfieldNetwork
    start: NDArray[np.int8]
    sync: RecallResult
    async_: RecallResult
    cycle: NDArray[np.int8]


class HopfieldNetwork:
    """A network of n binary units with couplings W = sum over patterns of their outer products.

    n: units, 1..2^31-1.
    self_coupling: keep the diagonal of W (it is p); False sets it to zero.
    backend: "cpu", "gpu", "reference" or "auto"; None follows `fastrec.get_backend` at every call.
    representation: recall from packed "patterns" (n p / 4 bytes) or from "weights" (n^2 integers of the
        narrowest dtype); "auto" takes the cheaper one that fits.  Both give equal bits.

    States are +1 and -1 of any integer or float dtype, bool (False = -1), or `PackedStates`.  Patterns
    (k, p, n) make k independent networks of one shape, computed in one call; all arrays then have the leading
    axis k.  Every method raises ValueError for arguments it cannot use and then leaves the network as it was.

    Hopfield, PNAS 79, 2554 (1982).
    """

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
        if representation not in ("auto", "patterns", "weights"):
            raise ValueError(
                f'representation is {representation!r}; it must be "auto", "patterns" or "weights"'
            )
        resolve(backend)
        self._self_coupling = bool(self_coupling)
        self._backend = backend
        self._representation = representation
        self._lead: tuple[int, ...] | None = None  # () or (k,), fixed by the first store
        # Patterns (k, capacity, w), the first p in use; what recall derives from them is made when needed.
        self._buffer = np.empty((1, 0, words(self._n)), dtype=np.uint64)
        self._p = 0
        self._units: NDArray[np.uint64] | None = None
        self._weights: NDArray[Any] | None = None

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
        """Number k of independent networks, None for one network without that axis."""
        return self._lead[0] if self._lead else None

    @property
    def backend(self) -> str:
        """Name of the backend that the next call runs on."""
        return resolve(self._backend)

    def __repr__(self) -> str:
        arrays = (self._buffer, self._units, self._weights)
        k = f", k={self._lead[0]}" if self._lead else ""
        memory = human(sum(a.nbytes for a in arrays if a is not None))
        return (
            f"HopfieldNetwork(n={self._n}, p={self._p}{k}, load={self._p / self._n:.3g}, "
            f'backend="{self.backend}", memory={memory})'
        )

    def store(self, patterns: States) -> None:
        """Add patterns (p, n), one pattern (n,), or (k, p, n) for k networks, to those stored before.

        The first call fixes k.  `PackedStates` are taken over without a copy.
        """
        packed, shape = self._read("patterns", patterns)
        k, q, w = packed.shape
        p = self._p + q
        if p * self._n**2 >= 2**63 or p >= 2**31:
            raise ValueError(
                f"patterns would make p = {p} of n = {self._n}: p n^2 must stay below 2^63, p below 2^31"
            )
        buffer = packed
        if self._p:
            buffer = self._buffer
            if p > buffer.shape[1]:  # by half at a time: storing one by one stays linear
                capacity = max(p, self._p + self._p // 2)
                require_memory(f"storing p = {p} patterns", 8 * k * capacity * w)
                buffer = np.empty((k, capacity, w), dtype=np.uint64)
                buffer[:, : self._p] = self._buffer[:, : self._p]
            buffer[:, self._p : p] = packed
        self._replace(buffer, p, shape[:-2])

    def forget(self, patterns: States) -> None:
        """Remove patterns (p, n), (n,) or (k, p, n) that are stored, each as often as it is given.

        Of equal stored patterns the last go first, so that forgetting what was just stored restores the
        network exactly.  Raises ValueError naming the first that is not stored (often enough).
        """
        self._require_patterns()
        removed, shape = self._read("patterns", patterns)
        packed = self._packed()
        k, q, w = removed.shape
        # Equal rows have equal hashes; only stored rows whose hash is among the removed ones are compared.
        factors = np.random.default_rng(w).integers(0, 2**64, w, dtype=np.uint64) | np.uint64(1)
        network, row = np.nonzero(np.isin(packed @ factors, removed @ factors))
        rows = np.empty((len(row) + k * q, w + 1), dtype=np.uint64)
        rows[:, 0] = np.concatenate([network, np.repeat(np.arange(k), q)])
        rows[: len(row), 1:] = packed[network, row]
        rows[len(row) :, 1:] = removed.reshape(k * q, w)
        kinds = np.unique(rows.view(f"V{8 * w + 8}")[:, 0], return_inverse=True)[1]
        have, want = kinds[: len(row)], kinds[len(row) :]
        number = int(kinds.max()) + 1
        excess = occurrence(want) >= np.bincount(have, minlength=number)[want]
        if excess.any():
            first = int(excess.argmax())
            index = divmod(first, q)[3 - len(shape) :]
            name = f"patterns[{', '.join(map(str, index))}]" if index else "patterns"
            raise ValueError(f"{name} is not stored, or not as often as it is to be forgotten")
        taken = occurrence(have[::-1])[::-1] < np.bincount(want, minlength=number)[have]
        require_memory("forget", 8 * k * (self._p - q) * w)
        keep = np.ones(packed.shape[:2], dtype=bool)
        keep[network[taken], row[taken]] = False
        self._replace(packed[keep].reshape(k, self._p - q, w), self._p - q, shape[:-2])

    def patterns(self) -> NDArray[np.int8]:
        """A copy of the stored patterns, int8 (p, n) or (k, p, n), in the order they were stored."""
        lead = self._lead or ()
        if not self._p:
            return np.empty((*lead, 0, self._n), dtype=np.int8)
        require_memory("patterns()", self._p * self._n * self._buffer.shape[0])
        return unpack_states(self._packed(), self._n, self.backend).reshape(*lead, self._p, self._n)

    def couplings(self) -> NDArray[Any]:
        """A copy of W, (n, n) or (k, n, n), unscaled: the narrowest of int8, int16, int32 that holds +-p."""
        if self._weights is not None:
            weights = self._weights.copy()
        elif self._p:
            weights = self._compute_weights("couplings()")
        else:
            weights = np.zeros((self._buffer.shape[0], self._n, self._n), dtype=np.int8)
        return weights.reshape(*(self._lead or ()), self._n, self._n)

    def recall(
        self,
        probes: States,
        update: Update = "async",
        order: Literal["random", "sequential"] | ArrayLike = "random",
        max_sweeps: int = 100,
        seed: int = 0,
        record_energy: bool = False,
    ) -> RecallResult:
        """Run the dynamics from probes (b, n), (n,) or (k, b, n) until they stop or for max_sweeps sweeps.

        A unit takes the sign of its local field, and keeps its state where that is 0.
        update: "async" updates the units one after the other, each seeing all earlier updates, and a row has
            converged after a whole sweep without a flip; "sync" updates all at once and stops at a fixed
            point or a two-cycle (symmetric couplings allow nothing longer: Bruck, Proc. IEEE 78, 1579, 1990).
        order: of an async sweep.  "random" draws a permutation a sweep from seed, shared by all rows and
            networks, so a row does not depend on those beside it; "sequential" is 0..n-1; an int array
            (sweeps, n) holds one permutation a sweep and limits max_sweeps to their number.
        seed: 0..2^64-1, of the random order.
        record_energy: return the energies of every sweep too.

        Returns a `RecallResult`.  Raises ValueError if nothing is stored, for probes or arguments it cannot
        use, or if representation="weights" does not fit in memory.
        """
        self._require_patterns()
        name = resolve(self._backend, probes)
        if update not in ("async", "sync"):
            raise ValueError(f'update is {update!r}; it must be "async" or "sync"')
        max_sweeps = as_int("max_sweeps", max_sweeps, 1, 2**31 - 1)
        key = stream_key(seed, self._n)
        orders = self._orders(order)
        if update == "sync" and not (isinstance(order, str) and order == "random"):
            raise ValueError('order is of async updates; update="sync" changes all units at once')
        if not isinstance(order, str):
            max_sweeps = min(max_sweeps, len(orders))
        states, shape = self._read("probes", probes)
        k, b, _ = states.shape
        if record_energy:
            require_memory(f"record_energy with max_sweeps = {max_sweeps}", 8 * k * b * (max_sweeps + 1))
        if isinstance(probes, PackedStates):
            states = states.copy()
        stopped = np.empty((k, b), dtype=bool if update == "async" else np.int32)
        sweeps, flips = np.empty((k, b), dtype=np.int32), np.empty((k, b), dtype=np.int64)
        forms = np.empty((k, b, max_sweeps + 1 if record_energy else 0), dtype=np.int64)
        if self._choose(b, update) == "weights":
            if self._weights is None:
                self._weights = self._compute_weights('representation="weights"')
            inputs: tuple[Any, ...] = (self._weights,)
            kernel = f"recall_{update}_weights"
        else:
            inputs = (self._packed(), self._unit_words(), self._self_coupling)
            kernel = f"recall_{update}"
        if update == "async":
            inputs = (key, orders, *inputs)
        getattr(kernels("hopfield", name), kernel)(*inputs, max_sweeps, states, stopped, sweeps, flips, forms)

        lead = shape[:-1]
        energies = None
        if record_energy:
            energies = self._energies(forms[..., : int(sweeps.max()) + 1])
            energies[np.arange(energies.shape[2]) > sweeps[..., None]] = np.nan
            energies = energies.reshape(*lead, -1)
        states = states.reshape(*lead, -1)
        packed = isinstance(probes, PackedStates)
        return RecallResult(
            PackedStates(states, self._n) if packed else unpack_states(states, self._n, name),
            (stopped == 1).reshape(lead)[()],
            stopped.astype(np.int32).reshape(lead)[()],
            sweeps.reshape(lead)[()],
            flips.reshape(lead)[()],
            energies,
        )

    def local_fields(self, states: States) -> NDArray[np.int32] | NDArray[np.int64]:
        """h = W s, unscaled integers (..., n) for states (..., n): int32 while n p < 2^31, else int64."""

        def kernel(module: ModuleType, s: NDArray[np.uint64], m: NDArray[np.int32]) -> NDArray[Any]:
            dtype = np.int32 if self._n * self._p < 2**31 else np.int64
            fields = np.empty((*m.shape[:2], self._n), dtype=dtype)
            module.local_fields(self._unit_words(), s, m, self._self_coupling, fields)
            return fields

        return self._by_rows("local_fields", states, kernel)

    def energy(self, states: States) -> NDArray[np.float64]:
        """E = -(1/2n) sum_ij W_ij s_i s_j, float64 (...) for states (..., n), from exact integers."""

        def kernel(module: ModuleType, s: NDArray[np.uint64], m: NDArray[np.int32]) -> NDArray[Any]:
            form = np.empty(m.shape[:2], dtype=np.int64)
            module.quadratic_form(m, self._n, self._self_coupling, form)
            return self._energies(form)

        return self._by_rows("energy", states, kernel)

    def overlaps(self, states: States) -> NDArray[np.float64]:
        """m = (1/n) sum_i x_i s_i with every stored pattern x, float64 (..., p) for states (..., n)."""
        return self._by_rows("overlaps", states, lambda module, s, m: m / self._n)

    def is_stable(self, states: States) -> NDArray[np.bool_]:
        """Whether no unit has a local field against its state, bool (...) for states (..., n)."""

        def kernel(module: ModuleType, s: NDArray[np.uint64], m: NDArray[np.int32]) -> NDArray[Any]:
            stable = np.empty(m.shape[:2], dtype=bool)
            module.is_stable(self._unit_words(), s, m, self._self_coupling, stable)
            return stable

        return self._by_rows("is_stable", states, kernel)

    def _by_rows(
        self,
        job: str,
        states: States,
        kernel: Callable[[ModuleType, NDArray[np.uint64], NDArray[np.int32]], NDArray[Any]],
    ) -> NDArray[Any]:
        """kernel(module, s (k, c, w), overlaps (k, c, p)) over blocks of c rows that bound the overlaps."""
        self._require_patterns()
        module = kernels("hopfield", resolve(self._backend, states))
        probes, shape = self._read("states", states)
        k, b, _ = probes.shape
        row_bytes = {"local_fields": 8 * self._n, "overlaps": 8 * self._p}.get(job, 8)
        require_memory(f"{job} of {k * b} states", k * b * row_bytes)
        step = max(1, BLOCK_OVERLAPS // (k * self._p))
        blocks = []
        for i in range(0, b, step):
            s = np.ascontiguousarray(probes[:, i : i + step])
            m = np.empty((k, s.shape[1], self._p), dtype=np.int32)
            module.overlaps(self._packed(), s, self._n, m)
            blocks.append(kernel(module, s, m))
        result = blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
        return result.reshape((*shape[:-1], *result.shape[2:]))[()]

    def _read(self, name: str, states: States) -> tuple[NDArray[np.uint64], tuple[int, ...]]:
        """Checked states as words (k, rows, w), the memory of the caller if packed, and their shape."""
        backend = resolve(self._backend, states)
        n = self._n
        checked = states if isinstance(states, PackedStates) else as_states(name, states, n)
        shape = checked.shape
        if shape[-1] != n:
            raise ValueError(f"{name} has n = {shape[-1]} units a state; the network has n = {n}")
        if len(shape) > 3 or self._lead not in (None, shape[:-2]):
            plain, several = f"({n},) or (rows, {n})", f"({self.n_networks or 'k'}, rows, {n})"
            takes = several if self._lead else plain if self._lead == () else f"{plain} or {several}"
            raise ValueError(f"{name} has shape {shape}; this network takes {takes}")
        if isinstance(checked, PackedStates):
            packed = writable(checked.words)
        else:
            packed = pack_states(checked, backend)
        return packed.reshape(*[1] * (3 - packed.ndim), *packed.shape), shape

    def _replace(self, buffer: NDArray[np.uint64], p: int, lead: tuple[int, ...]) -> None:
        self._buffer, self._p, self._lead, self._units, self._weights = buffer, p, lead, None, None

    def _require_patterns(self) -> None:
        if not self._p:
            raise ValueError("the network holds no patterns; call store(patterns) first")

    def _packed(self) -> NDArray[np.uint64]:
        """The stored patterns (k, p, w), contiguous: spare rows between networks are given up."""
        packed = self._buffer[:, : self._p]
        if not packed.flags.c_contiguous:
            packed = self._buffer = np.ascontiguousarray(packed)
        return packed

    def _unit_words(self) -> NDArray[np.uint64]:
        """The transpose (k, n, u) of the stored patterns, made on first use."""
        if self._units is None:
            k, p, _ = self._packed().shape
            require_memory("the transposed patterns", 8 * k * self._n * words(p))
            units = np.empty((k, self._n, words(p)), dtype=np.uint64)
            kernels("hopfield", self.backend).transpose(self._packed(), units)
            self._units = units
        return self._units

    def _compute_weights(self, what: str) -> NDArray[Any]:
        dtype = np.min_scalar_type(-self._p - 1)  # the narrowest that holds -p-1 holds +p too
        weights_bytes = self._buffer.shape[0] * self._n**2 * dtype.itemsize
        require_memory(what, weights_bytes, '; representation="patterns" needs no weights')
        weights = np.empty((self._buffer.shape[0], self._n, self._n), dtype=dtype)
        module = kernels("hopfield", self.backend)
        module.couplings(self._unit_words(), self._p, self._self_coupling, weights)
        return weights

    def _choose(self, b: int, update: Update) -> Literal["patterns", "weights"]:
        if self._representation == "auto":
            return cheaper(self._buffer.shape[0], b, self._n, self._p, update, self._weights is not None)
        return self._representation

    def _energies(self, form: NDArray[np.int64]) -> NDArray[np.float64]:
        return form / (-2.0 * self._n) + 0.0  # + 0.0 turns -0.0 into 0.0

    def _orders(self, order: Any) -> NDArray[np.int32]:
        """Orders (sweeps, n) for the kernels, no rows for random ones."""
        if isinstance(order, str):
            if order == "random":
                return np.empty((0, self._n), dtype=np.int32)
            if order == "sequential":
                return np.arange(self._n, dtype=np.int32)[None]
            raise ValueError(f'order is {order!r}; it must be "random", "sequential" or integers (sweeps, n)')
        try:
            array = np.asarray(order)
        except ValueError as error:
            raise ValueError(f"order is not an array: {error}") from None
        if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != self._n or not len(array):
            raise ValueError(
                f"order has shape {array.shape}, dtype {array.dtype}; it must be integers (sweeps, {self._n})"
            )
        wrong = (np.sort(array, axis=1) != np.arange(self._n)).any(axis=1)
        if wrong.any():
            raise ValueError(f"order[{wrong.argmax()}] is not a permutation of 0..{self._n - 1}")
        return np.ascontiguousarray(array, dtype=np.int32)


def cheaper(
    k: int, b: int, n: int, p: int, update: Update, have_weights: bool
) -> Literal["patterns", "weights"]:
    """The representation that recalls b rows of k networks with fewer operations, if it fits in memory.

    Counted in one unit of one pattern, as the CPU kernels spend it: a sweep from patterns n p; from weights
    4 (n^2 + n flips) in all if async, with about 3 n / 4 flips, or 2 n^2 a sweep if sync, and n^2 p / 8 to
    make them.  Sweeps are few below the load where memories are lost, then tens.  Weights that do not exist
    yet may take half of the memory there is, with the fields of all rows.
    """
    sweeps = 4 if p < 0.1 * n else 30
    from_patterns = b * sweeps * n * p
    from_weights = b * n * n * (7 if update == "async" else 2 * sweeps)
    if from_weights + (0 if have_weights else n * n * p // 8) >= from_patterns:
        return "patterns"
    if have_weights or (free := available_memory()) is None:
        return "weights"
    itemsize = 1 if p < 2**7 else 2 if p < 2**15 else 4
    return "weights" if k * n * (n * itemsize + 9 * b) <= free // 2 else "patterns"


def occurrence(kinds: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many equal values precede each value, (m,) for (m,)."""
    order = np.argsort(kinds, kind="stable")
    ranked = kinds[order]
    start = np.flatnonzero(np.diff(ranked, prepend=-1))
    result = np.empty(len(kinds), dtype=np.int64)
    result[order] = np.arange(len(kinds)) - np.repeat(start, np.diff(np.r_[start, len(kinds)]))
    return result


def find_oscillation(n: int, p: int, seed: int = 0, backend: str | None = None) -> OscillationResult:
    """Search for a start that ends in a two-cycle under sync updates and in a fixed point under async ones.

    Random networks of p patterns and n units are tried in turn, each from 64 random starts, 4096 in all; the
    first network is that of ``random_patterns(p, n, seed)``.  The async order has the same seed.  Cycles are
    common except at loads below about 0.02; with p = 1 they need an even n.

    Raises ValueError if no start is found, as for n = 1, or for arguments it cannot use.
    """
    n, p = as_int("n", n, 1, MAX_UNITS), as_int("p", p, 1, 2**31 - 1 - 64)
    key, name = stream_key(seed, n), resolve(backend)
    for first, k in ((0, 1), (1, 3), (4, 12), (16, 48)):  # the first network nearly always has one
        require_memory("find_oscillation", 8 * k * (p + 64) * words(n))
        drawn = draw_patterns(key, first, k, p + 64, n, name)
        patterns, starts = PackedStates(drawn[:, :p].copy(), n), PackedStates(drawn[:, p:].copy(), n)
        networks = HopfieldNetwork(n, backend=name)
        networks.store(patterns)
        cycling = networks.recall(starts, update="sync").period == 2
        found = cycling & networks.recall(starts, seed=seed).converged if cycling.any() else cycling
        if not found.any():
            continue
        t, row = np.unravel_index(int(found.argmax()), found.shape)
        start = unpack_states(starts.words[t, row], n, name)
        network = HopfieldNetwork(n, backend=backend)
        network.store(PackedStates(patterns.words[t], n))
        sync = network.recall(start, update="sync", record_energy=True)
        other = network.recall(sync.states, update="sync", max_sweeps=1).states
        return OscillationResult(
            network,
            start,
            sync,
            network.recall(start, seed=seed, record_energy=True),
            np.stack([sync.states, other]),
        )
    raise ValueError(
        f"none of 4096 starts oscillates with n = {n}, p = {p}, seed = {seed}; try a load p/n above 0.1"
    )
