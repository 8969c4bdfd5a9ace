"""The Hopfield network: associative memory of binary states with exact integer couplings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import array_module, backend_of, kernels, move, on_device, resolve
from ..display import Displayed, span
from ..kernels import words
from ..streams import stream_key
from ..validation import as_int, available_memory, format_bytes, move_checked, require_memory, writable
from .states import (
    MAX_UNITS,
    PackedStates,
    States,
    as_states,
    draw_patterns,
    give_states,
    pack_states,
    storage,
    unpack_states,
)
from .updates import Update

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Representation = Literal["auto", "patterns", "weights"]

FEW_UNITS, FEW_ROWS = 2**14, 64  # of recall on the gpu: see `choose_representation`
BLOCK_OVERLAPS = 2**26  # overlaps (int32) held at a time where they are only a step to something else


@dataclass(frozen=True, eq=False, repr=False)
class RecallResult(Displayed):
    """What `HopfieldNetwork.recall` found.  Arrays have the shape of the probes without the last axis: (b,),
    (k, b), or none (NumPy scalars) for a single probe (n,).  All are CuPy arrays if the probes were.

    states: where the rows stopped, int8 (..., n); `PackedStates` for packed probes.
    converged: bool, the row reached a fixed point.
    period: int32, 1 at a fixed point, 2 in a two-cycle (sync only), 0 if max_sweeps ended the row.
    sweeps: int32, sweeps done, with the one that found the stop: the last, without a flip, of a fixed point.
    flips: int64, units flipped, counted each time.
    energies: float64 (..., sweeps.max() + 1) if recorded, else None: before the first and after each sweep,
        nan once the row has stopped.
    """

    states: Any
    converged: Any
    period: Any
    sweeps: Any
    flips: Any
    energies: Any = None

    def _summary(self) -> dict[str, Any]:
        period, sweeps, flips = (
            np.atleast_1d(move(array, "cpu")) for array in (self.period, self.sweeps, self.flips)
        )
        return {
            "states": self.states.shape,
            "fixed_points": np.count_nonzero(period == 1),
            "two_cycles": np.count_nonzero(period == 2),
            "unfinished": np.count_nonzero(period == 0),
            "sweeps": span([sweeps.min(), sweeps.max()]),
            "flips": span([flips.min(), flips.max()]),
        }

    def _figure(self) -> Figure | None:
        from fastrec import plot

        return None if self.energies is None else plot.energy_figure(self)


@dataclass(frozen=True, eq=False, repr=False)
class OscillationResult(Displayed):
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

    def _summary(self) -> dict[str, Any]:
        return {
            "n": self.network.n,
            "p": self.network.n_patterns,
            "cycling_units": np.count_nonzero(self.cycle[0] != self.cycle[1]),
            "sync_steps": int(self.sync.sweeps),
            "async_sweeps": int(self.async_.sweeps),
        }

    def _figure(self) -> Figure:
        from fastrec import plot

        return plot.oscillation_figure(self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the energies of both recalls into ax, or into a new figure, and return the axes.

        As `CapacityResult.plot`.
        """
        from fastrec import plot

        return plot.draw_oscillation(ax, self) if ax is not None else self._figure().axes[0]


class HopfieldNetwork:
    """A network of n binary units with couplings W = sum over patterns of their outer products.

    n: units, 1..2^31-1.
    self_coupling: keep the diagonal of W (it is p); False sets it to zero.
    backend: "cpu", "gpu", "reference" or "auto"; None follows `fastrec.get_backend` at every call.
    representation: recall from packed "patterns" (n p / 4 bytes) or from "weights" (n^2 integers of the
        narrowest dtype); "auto" takes the cheaper one that fits.  Both give equal bits.

    States are +1 and -1 of any integer or float dtype, bool (False = -1), or `PackedStates`.  Patterns
    (k, p, n) make k independent networks of one shape, computed in one call; all arrays then have the leading
    axis k.  On the gpu, NumPy arrays give NumPy arrays, and CuPy arrays give CuPy arrays.  The host waits for
    the device only to check the values of CuPy states and of a CuPy order (packed ones are trusted), to know
    how many energies were recorded, and in recall of more than 16384 units from patterns to ask, now and
    again after some tens of sweeps, whether all have stopped.  Patterns are kept where the backend computes,
    and move when it changes.  Every method raises ValueError for arguments it cannot use and then leaves the
    network as it was.

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
        """Number k of independent networks, None for one network without that axis."""
        return self._lead[0] if self._lead else None

    @property
    def backend(self) -> str:
        """Name of the backend that the next call runs on."""
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
        """What is copied and pickled: patterns of the device as NumPy's, which any machine can read."""
        state = self.__dict__.copy()
        # Without the spare rows, into which `store` writes.
        stored = move(self._buffer[:, : self._p], "cpu")
        if on_device(self._buffer):
            state |= {"_units": None, "_weights": None}
        return state | {"_buffer": stored}

    def store(self, patterns: States) -> None:
        """Add patterns (p, n), one pattern (n,), or (k, p, n) for k networks, to those stored before.

        The first call fixes k.  `PackedStates` are taken over without a copy where the backend computes.
        """
        name = resolve(self._backend, storage(patterns))
        packed, shape = self._read("patterns", patterns, name)
        k, q, w = packed.shape
        p = self._p + q
        if p * self._n**2 >= 2**63 or p >= 2**31:
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
        """Remove patterns (p, n), (n,) or (k, p, n) that are stored, each as often as it is given.

        Of equal stored patterns the last go first, so that forgetting what was just stored restores the
        network exactly.  The patterns are compared on the host, also those of the gpu.  Raises ValueError
        naming the first that is not stored (often enough).
        """
        self._require_patterns()
        name = resolve(self._backend, storage(patterns))
        given, shape = self._read("patterns", patterns, name)
        removed, packed = (
            move_checked("forget", given, "cpu"),
            move_checked("forget", self._packed(name), "cpu"),
        )
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
        kept = move(packed[keep].reshape(k, self._p - q, w), name)
        self._replace(kept, self._p - q, shape[:-2])

    def patterns(self) -> NDArray[np.int8]:
        """A copy of the stored patterns, int8 (p, n) or (k, p, n), in the order they were stored."""
        lead = self._lead or ()
        if not self._p:
            return np.empty((*lead, 0, self._n), dtype=np.int8)
        require_memory("patterns()", self._p * self._n * self._buffer.shape[0])
        name = self.backend
        states = unpack_states(self._packed(name), self._n, name, "cpu")
        return states.reshape(*lead, self._p, self._n)

    def couplings(self) -> NDArray[Any]:
        """A copy of W, (n, n) or (k, n, n), unscaled: the narrowest of int8, int16, int32 that holds +-p."""
        if self._p:
            made, name = self._weights, self.backend
            if made is None:
                made = self._compute_weights("couplings()", name)
            weights = move_checked("couplings()", made, "cpu")
            weights = weights.copy() if weights is self._weights else weights
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
        name = resolve(self._backend, storage(probes), order)
        xp = array_module(name)
        if update not in ("async", "sync"):
            raise ValueError(f'update is {update!r}; it must be "async" or "sync"')
        max_sweeps = as_int("max_sweeps", max_sweeps, 1, 2**31 - 1)
        key = stream_key(seed, self._n)
        orders = self._orders(order, name)
        if update == "sync" and not (isinstance(order, str) and order == "random"):
            raise ValueError('order is of async updates; update="sync" changes all units at once')
        if not isinstance(order, str):
            max_sweeps = min(max_sweeps, len(orders))
        states, shape = self._read("probes", probes, name)
        k, b, _ = states.shape
        where = backend_of(storage(probes))
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
            if self._weights is None:
                self._weights = self._compute_weights('representation="weights"', name)
            inputs: tuple[Any, ...] = (self._weights,)
            kernel = f"recall_{update}_weights"
        else:
            inputs = (self._packed(name), self._unit_words(name), self._self_coupling)
            kernel = f"recall_{update}"
        if update == "async":
            inputs = (key, orders, *inputs)
        getattr(kernels("hopfield", name), kernel)(*inputs, max_sweeps, states, stopped, sweeps, flips, forms)

        lead = shape[:-1]
        energies = None
        if record_energy:
            energies = self._energies(forms[..., : int(sweeps.max()) + 1])
            energies[xp.arange(energies.shape[2]) > sweeps[..., None]] = np.nan
            energies = move(energies.reshape(*lead, -1), where)
        stopped, sweeps, flips = (move(array, where).reshape(lead)[()] for array in (stopped, sweeps, flips))
        return RecallResult(
            give_states(states.reshape(*lead, -1), self._n, name, probes),
            stopped == 1,
            stopped.astype(np.int32),
            sweeps,
            flips,
            energies,
        )

    def local_fields(self, states: States) -> Any:
        """h = W s, unscaled integers (..., n) for states (..., n): int32 while n p < 2^31, else int64."""

        def kernel(name: str, s: Any, m: Any) -> Any:
            dtype = np.int32 if self._n * self._p < 2**31 else np.int64
            fields = array_module(name).empty((*m.shape[:2], self._n), dtype=dtype)
            units = self._unit_words(name)
            kernels("hopfield", name).local_fields(units, s, m, self._self_coupling, fields)
            return fields

        return self._by_rows("local_fields", states, kernel)

    def energy(self, states: States) -> Any:
        """E = -(1/2n) sum_ij W_ij s_i s_j, float64 (...) for states (..., n), from exact integers."""

        def kernel(name: str, s: Any, m: Any) -> Any:
            form = array_module(name).empty(m.shape[:2], dtype=np.int64)
            kernels("hopfield", name).quadratic_form(m, self._n, self._self_coupling, form)
            return self._energies(form)

        return self._by_rows("energy", states, kernel)

    def overlaps(self, states: States) -> Any:
        """m = (1/n) sum_i x_i s_i with every stored pattern x, float64 (..., p) for states (..., n)."""
        return self._by_rows("overlaps", states, lambda name, s, m: m / self._n)

    def is_stable(self, states: States) -> Any:
        """Whether no unit has a local field against its state, bool (...) for states (..., n)."""

        def kernel(name: str, s: Any, m: Any) -> Any:
            stable = array_module(name).empty(m.shape[:2], dtype=bool)
            units = self._unit_words(name)
            kernels("hopfield", name).is_stable(units, s, m, self._self_coupling, stable)
            return stable

        return self._by_rows("is_stable", states, kernel)

    def _by_rows(self, job: str, states: States, kernel: Callable[[str, Any, Any], Any]) -> Any:
        """kernel(backend, s (k, c, w), overlaps (k, c, p)) over blocks of c rows that bound the overlaps."""
        self._require_patterns()
        name, where = resolve(self._backend, storage(states)), backend_of(storage(states))
        probes, shape = self._read("states", states, name)
        packed = self._packed(name)
        k, b, _ = probes.shape
        row_bytes = {"local_fields": 8 * self._n, "overlaps": 8 * self._p}.get(job, 8)
        require_memory(f"{job} of {k * b} states", k * b * row_bytes, backend=where)
        xp = array_module(name)
        step = max(1, BLOCK_OVERLAPS // (k * max(self._p, self._n if job == "local_fields" else 1)))
        blocks = []
        for i in range(0, b, step):
            s = xp.ascontiguousarray(probes[:, i : i + step])
            m = xp.empty((k, s.shape[1], self._p), dtype=np.int32)
            kernels("hopfield", name).overlaps(packed, s, self._n, m)
            blocks.append(move(kernel(name, s, m), where))
        result = blocks[0] if len(blocks) == 1 else array_module(where).concatenate(blocks, axis=1)
        return result.reshape((*shape[:-1], *result.shape[2:]))[()]

    def _read(self, name: str, states: States, backend: str) -> tuple[Any, tuple[int, ...]]:
        """Checked states as words (k, rows, w) where the backend computes, and their shape.

        Packed states that are there are not copied.
        """
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
            packed = move_checked(name, writable(checked.words), backend)
        else:
            packed = pack_states(checked, backend)
        return packed.reshape(*[1] * (3 - packed.ndim), *packed.shape), shape

    def _replace(self, buffer: Any, p: int, lead: tuple[int, ...]) -> None:
        self._buffer, self._p, self._lead, self._units, self._weights = buffer, p, lead, None, None

    def _require_patterns(self) -> None:
        if not self._p:
            raise ValueError("the network holds no patterns; call store(patterns) first")

    def _settle(self, backend: str) -> None:
        """Have the stored patterns where a backend computes; what is derived from them is left behind."""
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
        """The transpose (k, n, u) of the stored patterns, made on first use."""
        packed = self._packed(backend)
        if self._units is None:
            k, p, _ = packed.shape
            shape = (k, self._n, words(p))
            require_memory("the transposed patterns", 8 * math.prod(shape), backend=backend)
            units = array_module(backend).empty(shape, dtype=np.uint64)
            kernels("hopfield", backend).transpose(packed, units)
            self._units = units
        return self._units

    def _compute_weights(self, what: str, backend: str) -> Any:
        shape, dtype = (self._buffer.shape[0], self._n, self._n), narrowest(self._p)
        cure = '; representation="patterns" needs no weights'
        require_memory(what, math.prod(shape) * dtype.itemsize, cure, backend)
        units, weights = self._unit_words(backend), array_module(backend).empty(shape, dtype=dtype)
        kernels("hopfield", backend).couplings(units, self._p, self._self_coupling, weights)
        return weights

    def _choose(self, b: int, update: Update, backend: str) -> Literal["patterns", "weights"]:
        if self._representation == "auto":
            made = self._weights is not None
            return choose_representation(self._buffer.shape[0], b, self._n, self._p, update, made, backend)
        return self._representation

    def _energies(self, form: Any) -> Any:
        return form / (-2.0 * self._n) + 0.0  # + 0.0 turns -0.0 into 0.0

    def _orders(self, order: Any, backend: str) -> Any:
        """Orders (sweeps, n) for the kernels of a backend, no rows for random ones."""
        n, xp = self._n, array_module(backend)
        if isinstance(order, str):
            if order == "random":
                return xp.empty((0, n), dtype=np.int32)
            if order == "sequential":
                return xp.arange(n, dtype=np.int32)[None]
            raise ValueError(f'order is {order!r}; it must be "random", "sequential" or integers (sweeps, n)')
        try:
            array = order if on_device(order) else np.asarray(order)
        except (TypeError, ValueError) as error:
            raise ValueError(f"order is not an array: {error}") from None
        if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != n or not len(array):
            raise ValueError(
                f"order has shape {array.shape}, dtype {array.dtype}; it must be integers (sweeps, {n})"
            )
        xp = array_module(backend_of(array))
        wrong = (xp.sort(array, axis=1) != xp.arange(n)).any(axis=1)
        if wrong.any():
            raise ValueError(f"order[{int(wrong.argmax())}] is not a permutation of 0..{n - 1}")
        return move(xp.ascontiguousarray(array, dtype=np.int32), backend)


def narrowest(p: int) -> np.dtype[Any]:
    """The dtype of the couplings of p patterns."""
    return np.min_scalar_type(-p - 1)  # the narrowest that holds -p-1 holds +p too


def choose_representation(
    k: int, b: int, n: int, p: int, update: Update, have_weights: bool, backend: str = "cpu"
) -> Literal["patterns", "weights"]:
    """The representation that recalls b rows of k networks with fewer operations, if it fits in memory.

    Counted in one unit of one pattern, as the CPU kernels spend it: a sweep from patterns n p; from weights
    4 (n^2 + n flips) in all if async, with about 3 n / 4 flips, or 2 n^2 a sweep if sync, and n^2 p / 8 to
    make them.  Sweeps are few below the load where memories are lost, then tens.  On the gpu, where matrix
    units make weights and sync fields in no time, weights serve async, whose flips then cost a row each, but
    for few rows of large networks, each of which would keep one multiprocessor busy alone.
    Weights that do not exist yet may take half of the memory there is, with the fields of all rows.
    """
    sweeps = 4 if p < 0.1 * n else 30
    from_patterns = b * sweeps * n * p
    from_weights = b * n * n * (7 if update == "async" else 2 * sweeps)
    if backend == "gpu":
        fewer = update == "async" and (have_weights or n <= FEW_UNITS or k * b >= FEW_ROWS)
    else:
        fewer = from_weights + (0 if have_weights else n * n * p // 8) < from_patterns
    if not fewer:
        return "patterns"
    if have_weights or (free := available_memory(backend)) is None:
        return "weights"
    return "weights" if k * n * (n * narrowest(p).itemsize + 9 * b) <= free // 2 else "patterns"


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
        require_memory("find_oscillation", 8 * k * (p + 64) * words(n), backend=name)
        drawn = draw_patterns(key, first, k, p + 64, n, name)
        patterns, starts = PackedStates(drawn[:, :p].copy(), n), PackedStates(drawn[:, p:].copy(), n)
        networks = HopfieldNetwork(n, backend=name)
        networks.store(patterns)
        found = move(networks.recall(starts, update="sync").period, "cpu") == 2
        if found.any():
            found &= move(networks.recall(starts, seed=seed).converged, "cpu")
        if not found.any():
            continue
        t, row = np.unravel_index(int(found.argmax()), found.shape)
        start = unpack_states(starts.words[t, row], n, name, "cpu")
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
