"""What memories of binary patterns share, whatever their dynamics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from threading import Lock
from typing import Any, Generic, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from ..backend import Backend, array_module, backend_of, move, resolve
from ..validation import as_array, as_choice, move_checked, require_memory, writable
from .arguments import read_shape
from .identification import Identification, identify_states
from .packed import PackedPatterns
from .states import (
    Coding,
    PackedStates,
    States,
    array_of,
    check_states,
    pack_states,
    states_like,
    to_coding,
    unpack_states,
    with_networks,
)

BLOCK_OVERLAPS = 2**26  # overlaps (int32) held at a time where they are only a step to something else

Held = TypeVar("Held", bound=PackedPatterns)


class PatternMemory(Generic[Held]):
    """A memory of patterns of n binary units.

    Its patterns are an object that never changes; who stores others puts another one in its place.
    """

    _stored: Held

    def _begin_memory(self, n: int, backend: str | None, coding: Coding, shape: Sequence[int] | None) -> None:
        """Check and keep what does not change with the patterns."""
        as_choice("coding", coding, get_args(Coding))
        resolve(backend)
        self._n, self._backend, self._coding = n, backend, coding
        self._shape = None if shape is None else read_shape(shape, n)
        self._writing = Lock()

    @property
    def n(self) -> int:
        """Number of units."""
        return self._n

    @property
    def n_patterns(self) -> int:
        """Number of memories, of each network."""
        return self._stored.p

    @property
    def n_networks(self) -> int | None:
        """Number k of independent networks, None for a single network without that axis."""
        lead = self._stored.lead
        return lead[0] if lead else None

    @property
    def backend(self) -> Backend:
        """Name of the backend on which the next call will run."""
        return resolve(self._backend)

    @property
    def patterns(self) -> NDArray[np.int8]:
        """A copy of the stored patterns, (p, n) or (k, p, n), in the order in which they were stored.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(4)
        >>> net.store([True, True, False, False])
        >>> net.patterns
        array([[ 1,  1, -1, -1]], dtype=int8)
        """
        name, stored = self.backend, self._stored
        if stored.p:
            stored = self._stored_on(name, stored)
        k, lead = stored.buffer.shape[0], (*(stored.lead or ()), stored.p)
        if not stored.p:
            states = np.empty((*lead, self._n), dtype=np.int8)
        else:
            require_memory("patterns", stored.p * self._n * k)
            states = in_shape(unpack_states(stored.packed(), self._n, name, "cpu"), lead)
        return self._shown(states, self._shape is not None)

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
        stored = self._require_memories()
        return self._by_rows(
            *("overlaps", states, stored, 8 * stored.p, stored.p),
            lambda stored, name, s: stored.overlaps(name, s, np.float64),
        )

    def _integer_overlaps(self, states: States) -> Any:
        """`overlaps` times n, exact: sum_i x_i s_i, int32 (..., p)."""
        stored = self._require_memories()
        return self._by_rows("overlaps", states, stored, 4 * stored.p, stored.p, PackedPatterns.overlaps)

    def identify(self, states: States, tolerance: float = 0.05) -> Identification:
        """Return what states are: memories, their inverses, mixtures of three, or something else.

        Parameters
        ----------
        states : array_like or PackedStates, shape (n,), (b, n) or (k, b, n)
            The states, such as those at which recall stopped.
        tolerance : float, default 0.05
            Share of the units that may differ.

        Returns
        -------
        Identification
            For each state what it is, and the nearest memory with its sign and distance.

        Examples
        --------
        >>> import fastrec
        >>> net = fastrec.HopfieldNetwork(100)
        >>> net.store(patterns := fastrec.random_patterns(p=5, n=100, seed=1))
        >>> found = net.identify(-patterns[3])
        >>> str(found.kind), int(found.index), int(found.distance)
        ('inverse', 3, 0)
        """
        stored = self._require_memories()
        name = resolve(self._backend, array_of(states))
        s, shape = self._read("states", states, name, stored)
        stored = self._stored_on(name, stored)
        (k, b, _), step = s.shape, max(1, BLOCK_OVERLAPS // (s.shape[0] * stored.p))
        require_memory(f"identify of {k * b} states", 4 * k * b * stored.p)
        blocks = [
            move(stored.overlaps(name, array_module(name).ascontiguousarray(s[:, i : i + step])), "cpu")
            for i in range(0, b, step)
        ]
        m = np.concatenate(blocks, axis=1)
        return identify_states(m, stored.packed(), s, self._n, tolerance, shape[:-1])

    def _by_rows(
        self,
        job: str,
        states: States,
        stored: Held,
        row_bytes: int,
        row_numbers: int,
        kernel: Callable[[Held, str, Any], Any],
        by_units: bool = False,
    ) -> Any:
        """Results of kernel(stored, backend, s (k, c, w)) over blocks of rows, of row_bytes bytes a row.

        A block holds as many rows as keep row_numbers numbers for each of them within `BLOCK_OVERLAPS`.
        by_units: the last axis of the results is that of the units.
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
        result = in_shape(result, shape[:-1])
        if by_units and self._is_pictured(states):
            result = result.reshape(*shape[:-1], *(self._shape or ()))
        return result

    def _is_pictured(self, states: States) -> bool:
        """Whether states have the shape of the network's pictures in place of the axis of units."""
        if self._shape is None or isinstance(states, PackedStates):
            return False
        return np.shape(states)[-len(self._shape) :] == self._shape

    def _shown(self, states: Any, pictured: bool) -> Any:
        """States (..., n) of int8 as the user writes them; they are overwritten."""
        states = to_coding(states, self._coding)
        return states.reshape(*states.shape[:-1], *(self._shape or ())) if pictured else states

    def _states_like(self, probes: States, packed: Any, name: str) -> Any:
        """The states of words that a backend computed, packed or written as the probes are, and where."""
        found = states_like(probes, packed, self._n, name)
        if isinstance(probes, PackedStates):
            return found
        return self._shown(found, self._is_pictured(probes))

    def _passed(
        self,
        stored: Held,
        name: str,
        trail: Any,
        past: Any,
        record: Sequence[str],
        lead: tuple[int, ...],
        probes: States,
    ) -> dict[str, Any]:
        """The overlaps and states of `RecallResult`, if recorded, of a trail (k, b, times, w) of states.

        past (k, b, times) tells which are past the end of a row.
        """
        course: dict[str, Any] = {}
        if "overlap" in record:
            m = stored.overlaps(name, trail.reshape(stored.buffer.shape[0], -1, trail.shape[3]), np.float64)
            m = m.reshape(*trail.shape[:3], stored.p)
            m[past] = np.nan
            course["overlaps"] = in_shape(move(m, backend_of(array_of(probes))), lead)
        if "states" in record:
            course["trajectory"] = self._states_like(probes, trail.reshape(*lead, *trail.shape[2:]), name)
        return course

    def _flat(self, states: Any) -> Any:
        """States, or a mask, with one axis of units."""
        if self._shape is None or not self._is_pictured(states):
            return states
        array: Any = states if hasattr(states, "reshape") else np.asarray(states)
        return array.reshape(*array.shape[: array.ndim - len(self._shape)], self._n)

    def _read(self, name: str, states: States, backend: str, stored: Held) -> tuple[Any, tuple[int, ...]]:
        """Checked states as words (k, rows, w) where the backend computes, and their shape.

        Packed states that are there are not copied.
        """
        n = self._n
        checked: Any = states
        if not isinstance(states, PackedStates):
            checked = check_states(name, self._flat(states), n, self._coding)
        shape = checked.shape
        if shape[-1] != n:
            raise ValueError(f"{name} has n = {shape[-1]} units a state; the network has n = {n}")
        lead = stored.lead if name != "patterns" else None
        shape = self._whole_shape(name, shape, stored, lead)
        if isinstance(checked, PackedStates):
            packed = move_checked(name, writable(checked.words), backend)
        else:
            packed = pack_states(checked, backend)
        if lead is None:
            return with_networks(packed), shape
        k, w, xp = prod(lead), packed.shape[-1], array_module(backend)
        if packed.ndim < len(shape):
            packed = xp.broadcast_to(packed, (k, *packed.shape)).copy()
        return xp.ascontiguousarray(packed).reshape(k, -1, w), shape

    def _whole_shape(
        self, name: str, shape: tuple[int, ...], stored: Held, lead: tuple[int, ...] | None
    ) -> tuple[int, ...]:
        """The shape of states, with the axis of networks if all take the same ones; ValueError if wrong."""
        if lead and len(shape) < 3:
            return (*lead, *shape)
        if lead is None or shape[: len(lead)] != lead:
            self._require_shape(name, shape, stored)
        return shape

    def _read_mask(self, name: str, mask: Any, shape: tuple[int, ...], states: Any, backend: str) -> Any:
        """A mask of units, (n,) or of the shape of the probes, as words like those of states (k, b, w)."""
        array = self._flat(as_array(name, mask))
        if array.dtype.kind != "b" or array.shape[-1:] != (self._n,) or not array.size:
            raise ValueError(
                f"{name} has shape {array.shape}, dtype {array.dtype}; it must be bool, ({self._n},) or "
                "that of the probes"
            )
        try:
            whole = np.broadcast_shapes(array.shape, shape) == shape
        except ValueError:
            whole = False
        if not whole:
            raise ValueError(f"{name} has shape {array.shape}, which does not go with probes {shape}")
        xp = array_module(backend)
        packed = pack_states(array.astype(np.int8) * np.int8(2) - np.int8(1), backend)
        packed = xp.broadcast_to(packed, (*shape[:-1], packed.shape[-1])).copy()
        return packed.reshape(states.shape)

    def _require_patterns(self) -> Held:
        """The patterns as they are now; ValueError if there are none."""
        stored = self._stored
        if not stored.p:
            raise ValueError("the memory holds no patterns; call store(patterns) first")
        return stored

    def _require_memories(self) -> Held:
        """The patterns as they are now; ValueError if there are none, also if couplings were given."""
        return self._require_patterns()

    def _require_shape(self, name: str, shape: tuple[int, ...], stored: Held) -> None:
        """Raise ValueError unless the shape of states is that of as many networks."""
        n, lead = self._n, stored.lead
        if len(shape) > 3 or lead not in (None, shape[:-2]):
            plain, several = f"({n},) or (rows, {n})", f"({lead[0] if lead else 'k'}, rows, {n})"
            takes = several if lead else plain if lead == () else f"{plain} or {several}"
            raise ValueError(f"{name} has shape {shape}; this network takes {takes}")

    def _stored_on(self, backend: str, stored: Held) -> Held:
        """Stored patterns where a backend computes; if they must move, the network holds them there."""
        if stored.is_on(backend):
            return stored
        moved = stored.moved(backend)
        with self._writing:
            if self._stored is stored:
                self._stored = moved
        return moved


def in_shape(array: Any, lead: tuple[int, ...]) -> Any:
    """An array (k, rows, ...) in the shape (*lead, ...) that the caller uses; a scalar if that is ()."""
    return array.reshape((*lead, *array.shape[2:]))[()]
