"""States of +1 and -1: checking, packing, random patterns and corruption."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arguments import as_int, require_memory
from ..backend import kernels, resolve
from ..kernels import DERIVE, words
from ..kernels.reference.random import philox

CHUNK = 2**22  # units packed or unpacked in one kernel call: what the reference widens to int64 at a time
MAX_UNITS = 2**31 - 1  # orders and overlaps are int32


@dataclass(frozen=True, eq=False)
class PackedStates:
    """States in one bit a unit: what `pack` and ``random_patterns(..., packed=True)`` return.

    words: (..., w = ceil(n / 64)) uint64, C-contiguous; bit j of word i is unit 64 i + j, +1 as 1, -1 as
        0, the bits past n are 0.  Not copied, here or in what takes it: do not write to it afterwards.
    n: units a state.

    Raises ValueError if `words` is anything else.
    """

    words: NDArray[np.uint64]
    n: int

    def __post_init__(self) -> None:
        n, array = as_int("n", self.n, 1, MAX_UNITS), self.words
        if not (isinstance(array, np.ndarray) and array.dtype == np.uint64 and array.flags.c_contiguous):
            raise ValueError("words must be a C-contiguous uint64 array; fastrec.pack(states) makes one")
        if array.ndim == 0 or array.shape[-1] != words(n) or array.size == 0:
            raise ValueError(
                f"words has shape {array.shape}; states of {n} units take (..., {words(n)}) and at least one"
            )
        if n % 64 and (array[..., -1] >> np.uint64(n % 64)).any():
            raise ValueError(f"words has bits set past unit {n}; they must be 0")
        view = array.view()
        view.flags.writeable = False
        object.__setattr__(self, "words", view)
        object.__setattr__(self, "n", n)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the states, (..., n)."""
        return (*self.words.shape[:-1], self.n)

    def unpack(self) -> NDArray[np.int8]:
        """The states as +1 and -1, int8 (..., n)."""
        return unpack_states(self.words, self.n)


States = ArrayLike | PackedStates


def pack(states: ArrayLike, backend: str | None = None) -> PackedStates:
    """Pack states (..., n) of +1 and -1 (or bool) to one bit a unit.

    Raises ValueError if `states` holds anything else or is empty.
    """
    name = resolve(backend, states)
    array = as_states("states", states)
    return PackedStates(pack_states(array, name), array.shape[-1])


@overload
def random_patterns(
    p: int,
    n: int,
    seed: int = 0,
    networks: int | None = None,
    backend: str | None = None,
    *,
    packed: Literal[False] = False,
) -> NDArray[np.int8]: ...
@overload
def random_patterns(
    p: int,
    n: int,
    seed: int = 0,
    networks: int | None = None,
    backend: str | None = None,
    *,
    packed: Literal[True],
) -> PackedStates: ...
def random_patterns(
    p: int,
    n: int,
    seed: int = 0,
    networks: int | None = None,
    backend: str | None = None,
    *,
    packed: bool = False,
) -> NDArray[np.int8] | PackedStates:
    """Independent random patterns, every unit +1 or -1 with probability 1/2.

    Returns int8 (p, n), or (networks, p, n) for that many independent networks; with packed=True the same as
    `PackedStates`.  Pattern mu of network t depends on seed, n, mu and t alone: a smaller p or `networks`
    gives the first of a larger one.

    Raises ValueError if p, n or networks is not a positive integer, if seed is not one of 0..2^64-1, or if
    memory does not suffice.
    """
    p, n = as_int("p", p, 1, 2**31 - 1), as_int("n", n, 1, MAX_UNITS)
    k = 1 if networks is None else as_int("networks", networks, 1, 2**31 - 1)
    key = stream_key(seed, n)
    require_memory("random_patterns", k * p * (8 * words(n) + (0 if packed else n)))
    name = resolve(backend)
    array = draw_patterns(key, 0, k, p, n, name)
    if networks is None:
        array = array[0]
    return PackedStates(array, n) if packed else unpack_states(array, n, name)


@overload
def corrupt(
    states: PackedStates, flips: float, seed: int = 0, backend: str | None = None
) -> PackedStates: ...
@overload
def corrupt(
    states: ArrayLike, flips: float, seed: int = 0, backend: str | None = None
) -> NDArray[np.int8]: ...
def corrupt(
    states: States, flips: float, seed: int = 0, backend: str | None = None
) -> NDArray[np.int8] | PackedStates:
    """Copies of states (n,), (b, n) or (k, b, n) with distinct random units flipped, int8 or packed as given.

    flips: an int is a number of units (0..n), a float a fraction of them (0..1, rounded to a whole number,
        halves to even): 1 flips one unit, 1.0 flips all.

    The units of a row depend on seed, n, the number of the row and, for (k, b, n), that of the network.
    Raises ValueError if an argument is none of these.
    """
    name = resolve(backend, states)
    checked = states if isinstance(states, PackedStates) else as_states("states", states)
    n, rank = checked.shape[-1], len(checked.shape)
    if rank > 3:
        raise ValueError(f"states has shape {checked.shape}; corrupt takes (n,), (b, n) or (k, b, n)")
    if isinstance(flips, (float, np.floating)):
        if not 0 <= flips <= 1:
            raise ValueError(
                f"flips is {flips}; a float is a fraction from 0 to 1 (an int is a number of units)"
            )
        count = round(float(flips) * n)
    else:
        count = as_int("flips", flips, 0, n)
    key = stream_key(seed, n)
    packed = checked.words.copy() if isinstance(checked, PackedStates) else pack_states(checked, name)
    kernels("hopfield", name).corrupt(key, count, n, packed.reshape(*[1] * (3 - rank), *packed.shape))
    return PackedStates(packed, n) if isinstance(states, PackedStates) else unpack_states(packed, n, name)


def draw_patterns(key: np.uint64, first: int, k: int, p: int, n: int, backend: str) -> NDArray[np.uint64]:
    """Packed random patterns (k, p, w) of the networks first..first+k-1."""
    packed = np.empty((k, p, words(n)), dtype=np.uint64)
    kernels("hopfield", backend).random_patterns(key, first, n, packed)
    return packed


def stream_key(seed: int, n: int) -> np.uint64:
    """The key of every random stream of networks of n units under a seed, so that sizes are independent.

    The first 64 bits of the Philox block with counter (n mod 2^32, n div 2^32, 0, DERIVE) and key `seed`.  A
    uint64, because Numba would compile every kernel twice for ints, below 2^63 and above.
    Raises ValueError if seed is not an integer from 0 to 2^64-1.
    """
    return _stream_key(as_int("seed", seed, 0, 2**64 - 1), n)


@functools.lru_cache(maxsize=1024)
def _stream_key(seed: int, n: int) -> np.uint64:
    block = np.empty((1, 4), dtype=np.uint32)
    philox(seed, np.array([[n & 0xFFFFFFFF, n >> 32, 0, DERIVE]], dtype=np.uint32), block)
    return np.uint64(int(block[0, 0]) | int(block[0, 1]) << 32)


def as_states(name: str, value: ArrayLike, n: int | None = None) -> NDArray[np.int8]:
    """`value` as states (..., n), int8 +1 and -1; int8 is not copied, bool is read as False = -1.

    Raises ValueError naming the argument, the value found and the cure.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is not an array of states: {error}") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {array.dtype}; states are +1 and -1 (or bool)")
    if array.ndim == 0:
        raise ValueError(f"{name} is the single value {array}; states have shape (..., n)")
    if n is not None and array.shape[-1] != n:
        raise ValueError(
            f"{name} has shape {array.shape}, {array.shape[-1]} units a state; the network has n = {n}"
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty, shape {array.shape}; give at least one state")
    if array.dtype.kind == "b":
        states = array.astype(np.int8)
        states *= 2
        states -= 1
        return states
    # Integers within -1..1 and not 0 are states: three passes, no temporary array of the size of the input.
    if array.dtype.kind == "f" or not (array.min() >= -1 and array.max() <= 1 and array.all()):
        bad = np.abs(array) != 1 if array.dtype.kind == "f" else (array != 1) & (array != -1)
        if bad.any():
            at = np.unravel_index(int(bad.argmax()), bad.shape)
            found = f"{array[at]} at [{', '.join(map(str, at))}]"
            raise ValueError(f"{name} holds {found}; states are +1 and -1 (map 0/1 with 2*x-1 or pass bool)")
    return array.astype(np.int8, copy=False)


def pack_states(states: NDArray[np.int8], backend: str | None = None) -> NDArray[np.uint64]:
    """Packed words (..., w) uint64 of checked states (..., n)."""
    n = states.shape[-1]
    kernel, rows = kernels("hopfield", resolve(backend)).pack, states.reshape(-1, n)
    packed = np.empty((len(rows), words(n)), dtype=np.uint64)
    step = max(1, CHUNK // n)
    for i in range(0, len(rows), step):
        # Kernels are compiled for contiguous, writable arrays; anything else is copied, a chunk at a time.
        kernel(np.require(rows[i : i + step], requirements=("C", "W")), packed[i : i + step])
    return packed.reshape(*states.shape[:-1], words(n))


def unpack_states(packed: NDArray[np.uint64], n: int, backend: str | None = None) -> NDArray[np.int8]:
    """States (..., n) int8 of packed words (..., w)."""
    kernel, rows = kernels("hopfield", resolve(backend)).unpack, packed.reshape(-1, packed.shape[-1])
    states = np.empty((len(rows), n), dtype=np.int8)
    step = max(1, CHUNK // n)
    for i in range(0, len(rows), step):
        kernel(np.require(rows[i : i + step], requirements=("C", "W")), states[i : i + step])
    return states.reshape(*packed.shape[:-1], n)
