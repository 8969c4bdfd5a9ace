"""States of +1 and -1: checking, packing, random patterns and corruption."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import BackendChoice, array_module, backend_of, kernels, move, on_device, resolve
from ..display import Column, Displayed, by_index
from ..kernels import words
from ..messages import printable, shown
from ..streams import Seed, read_seed, stream_key
from ..validation import (
    as_bool,
    as_choice,
    as_int,
    format_bytes,
    is_frozen,
    move_checked,
    number,
    require_memory,
    require_unmasked,
    writable,
)

CHUNK = 2**22  # units packed or unpacked in one kernel call: what the reference widens to int64 at a time
DEVICE_CHUNK = 2**28  # the same on the gpu, where a call must be worth its launch
MAX_UNITS = 2**31 - 1  # orders and overlaps are int32
CODINGS = ("+-1", "01")
TRUTH, NUMBERS = (bool, np.bool_), (int, float, np.integer, np.floating)  # entries of arrays of objects

Coding = Literal["+-1", "01"]
"""How arrays of states are written: +1 and -1, or 1 and 0, which stands for -1."""

FILL = "fill it, as .fillna() of pandas does, or leave its row out, as .dropna() does"


@dataclass(frozen=True, eq=False, repr=False)
class PackedStates(Displayed):
    """States of one bit a unit, as `pack` and ``random_patterns(..., packed=True)`` return them.

    All of `HopfieldNetwork` and `corrupt` take them in place of arrays of +1 and -1.

    Parameters
    ----------
    words : ndarray of uint64, shape (..., ceil(n / 64))
        C-contiguous, of NumPy or CuPy.  Bit j of word i is unit 64 i + j, 1 for +1 and 0 for -1; the bits
        past n are 0.  An array that can be written to is copied, so that nobody changes states that a
        network holds; one that is read-only, such as a `numpy.memmap` of mode "r", is not.
    n : int
        Number of units of a state.

    Raises
    ------
    ValueError
        If words or n is anything else.  Bits past n are not looked for on the device.

    Examples
    --------
    >>> import fastrec
    >>> packed = fastrec.pack([[1, 1, -1, -1], [1, -1, 1, -1]])
    >>> packed.words
    array([[3],
           [5]], dtype=uint64)
    >>> packed.shape
    (2, 4)
    """

    words: NDArray[np.uint64] | Any
    n: int

    def __post_init__(self) -> None:
        n, array = as_int("n", self.n, 1, MAX_UNITS), self.words
        require_unmasked("words", array)
        known = isinstance(array, np.ndarray) or on_device(array)
        if not (known and array.dtype == np.uint64 and array.flags.c_contiguous):
            raise ValueError("words must be a C-contiguous uint64 array; fastrec.pack(states) makes one")
        if array.ndim == 0 or array.shape[-1] != words(n) or array.size == 0:
            raise ValueError(
                f"words has shape {array.shape}; states of {n} units take (..., {words(n)}) and at least one"
            )
        if not is_frozen(array):
            require_memory("words", array.nbytes, backend=backend_of(array))
            array = array.copy()
        if isinstance(array, np.ndarray) and n % 64 and (array[..., -1] >> np.uint64(n % 64)).any():
            raise ValueError(f"words has bits set past unit {n}; they must be 0")
        self._set(array, n)

    def _set(self, array: Any, n: int) -> None:
        view = array.view()
        if isinstance(view, np.ndarray):
            view.flags.writeable = False
        object.__setattr__(self, "words", view)
        object.__setattr__(self, "n", n)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(state["words"], state["n"])  # arrays that were pickled or copied can be written to

    @classmethod
    def _of(cls, words: Any, n: int) -> PackedStates:
        """The states of words that nobody else can write to; nothing is checked."""
        states = cls.__new__(cls)
        states._set(words, n)
        return states

    def _summary(self) -> dict[str, Any]:
        return {"shape": self.shape, "size": format_bytes(self.words.nbytes)}

    def _columns(self) -> list[Column]:
        ups = np.bitwise_count(np.asarray(move(self.words, "cpu"))).sum(axis=-1, dtype=np.int64)
        return by_row(mean=2 * ups / self.n - 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the states, (..., n)."""
        return (*self.words.shape[:-1], self.n)

    def unpack(self, coding: Coding = "+-1") -> NDArray[np.int8] | Any:
        """Return the states as an array.

        Parameters
        ----------
        coding : str, default "+-1"
            "+-1", or "01" for 0 in place of -1.

        Returns
        -------
        ndarray of int8, shape (..., n)
            The states, of NumPy or CuPy as the words are.

        Raises
        ------
        ValueError
            If coding is anything else, or memory does not suffice.

        Examples
        --------
        >>> import fastrec
        >>> fastrec.pack([[1, 1, -1, -1]]).unpack()
        array([[ 1,  1, -1, -1]], dtype=int8)
        """
        coding = read_coding(coding)
        return to_coding(unpack_states(self.words, self.n, "gpu" if on_device(self.words) else None), coding)


States = ArrayLike | PackedStates


def by_row(*last: str, **arrays: Any) -> list[Column]:
    """Columns of what is counted of states: arrays (..., b) or (..., b, *last), with a row for each value."""
    lead = np.ndim(next(iter(arrays.values()))) - len(last)
    axes = (*(f"axis_{i}" for i in range(lead - 1)), *["row"] * bool(lead), *last)
    return by_index(axes, **{name: np.asarray(move(array, "cpu")) for name, array in arrays.items()})


def array_of(states: States) -> Any:
    """The array that holds states: their words if they are packed."""
    return states.words if isinstance(states, PackedStates) else states


def pack(states: ArrayLike, backend: BackendChoice | None = None, *, coding: Coding = "+-1") -> PackedStates:
    """Pack states to one bit a unit.

    Parameters
    ----------
    states : array_like, shape (..., n)
        +1 and -1 of any integer or float dtype, or bool (False is -1).  Nullable columns of pandas are
        taken too.
    backend : str, optional
        "cpu", "gpu", "reference" or "auto"; by default the one in force.
    coding : str, default "+-1"
        "01" for states of 1 and 0, where 0 stands for -1.

    Returns
    -------
    PackedStates
        An eighth of the bytes of int8; CuPy words for CuPy states.

    Raises
    ------
    ValueError
        If states holds anything else or is empty.

    Examples
    --------
    >>> import fastrec
    >>> fastrec.pack(fastrec.random_patterns(p=10, n=1000, seed=1))
    PackedStates(shape=(10, 1000), size=1.28 kB)
    """
    name = resolve(backend, states)
    array = check_states("states", states, coding=coding)
    return PackedStates._of(move(pack_states(array, name), backend_of(states)), array.shape[-1])


@overload
def random_patterns(
    p: int,
    n: int,
    seed: Seed = None,
    networks: int | None = None,
    backend: BackendChoice | None = None,
    *,
    packed: Literal[False] = False,
    coding: Coding = "+-1",
    activity: float | None = None,
) -> NDArray[np.int8]: ...
@overload
def random_patterns(
    p: int,
    n: int,
    seed: Seed = None,
    networks: int | None = None,
    backend: BackendChoice | None = None,
    *,
    packed: Literal[True],
    coding: Coding = "+-1",
    activity: float | None = None,
) -> PackedStates: ...
def random_patterns(
    p: int,
    n: int,
    seed: Seed = None,
    networks: int | None = None,
    backend: BackendChoice | None = None,
    *,
    packed: bool = False,
    coding: Coding = "+-1",
    activity: float | None = None,
) -> NDArray[np.int8] | PackedStates:
    """Draw independent random patterns, each unit +1 or -1 with probability 1/2, or +1 with another one.

    Pattern mu of network t depends on seed, n, mu and t alone: fewer patterns or networks are the first ones
    of more.  Without a seed every call draws others.

    The patterns are int8, whose products NumPy sums in int8: ``x @ x.T`` overflows from n = 128 on, without
    an error.  `overlaps` compares states exactly.

    Parameters
    ----------
    p : int
        Number of patterns.
    n : int
        Number of units.
    seed : int, numpy.random.Generator or None, default None
        0 to 2^64 - 1, a generator to draw it from, or None for a fresh one.
    networks : int, optional
        Number of independent networks.
    backend : str, optional
        "cpu", "gpu", "reference" or "auto"; by default the one in force.
    packed : bool, default False
        Return `PackedStates`, on the gpu with CuPy words.
    coding : str, default "+-1"
        "01" to write the same patterns as 1 and 0, where 0 stands for -1; packed ones are the same in both.
    activity : float, optional
        Probability of +1, above 0 and below 1, of sparse or otherwise biased patterns: a unit is +1 where a
        64-bit draw is below 2^64 times it.  They come from another random stream than those without it.

    Returns
    -------
    ndarray of int8 or PackedStates, shape (p, n) or (networks, p, n)
        The patterns.

    Raises
    ------
    ValueError
        If p, n or networks is not a positive integer, seed, coding or activity not one of those above, or
        memory does not suffice.

    Examples
    --------
    >>> import fastrec
    >>> fastrec.random_patterns(p=2, n=5, seed=1)
    array([[ 1, -1,  1,  1,  1],
           [-1, -1, -1,  1, -1]], dtype=int8)
    """
    p, n = as_int("p", p, 1, 2**31 - 1), as_int("n", n, 1, MAX_UNITS)
    k = 1 if networks is None else as_int("networks", networks, 1, 2**31 - 1)
    as_bool("packed", packed)
    coding = read_coding(coding)
    key = stream_key(read_seed(seed), n)
    name, packed_bytes = resolve(backend), 8 * k * p * words(n)
    require_memory("random_patterns", packed_bytes, backend=name)
    if not packed:
        require_memory("random_patterns", k * p * n + packed_bytes)
    array = draw_patterns(key, 0, k, p, n, name, draws_below(activity))
    if networks is None:
        array = array[0]
    return PackedStates._of(array, n) if packed else to_coding(unpack_states(array, n, name, "cpu"), coding)


@overload
def corrupt(
    states: PackedStates,
    flips: float,
    seed: Seed = None,
    backend: BackendChoice | None = None,
    *,
    first_row: int = 0,
    coding: Coding = "+-1",
) -> PackedStates: ...
@overload
def corrupt(
    states: ArrayLike,
    flips: float,
    seed: Seed = None,
    backend: BackendChoice | None = None,
    *,
    first_row: int = 0,
    coding: Coding = "+-1",
) -> NDArray[np.int8]: ...
def corrupt(
    states: States,
    flips: float,
    seed: Seed = None,
    backend: BackendChoice | None = None,
    *,
    first_row: int = 0,
    coding: Coding = "+-1",
) -> NDArray[np.int8] | PackedStates:
    """Return copies of states in which distinct random units are flipped.

    Parameters
    ----------
    states : array_like or PackedStates, shape (n,), (b, n) or (k, b, n)
        The states.
    flips : int or float
        An int is a number of units, 0 to n; a float is a share of them, 0 to 1, rounded to a whole number
        (halves to even): 1 flips one unit, 1.0 flips all.
    seed : int, numpy.random.Generator or None, default None
        0 to 2^64 - 1, a generator to draw it from, or None for a fresh one.  The units of a row depend on
        seed, n, the number of the row, and for (k, b, n) that of the network.
    backend : str, optional
        "cpu", "gpu", "reference" or "auto"; by default the one in force.
    first_row : int, default 0
        Number of the first row, 0 to 2^32 - rows.  With one seed, ``corrupt(x[r], flips, seed, first_row=r)``
        is row r of ``corrupt(x, flips, seed)``.
    coding : str, default "+-1"
        "01" for states of 1 and 0, given and returned, where 0 stands for -1.

    Returns
    -------
    ndarray of int8 or PackedStates
        The corrupted states, in the shape of states; packed, or of CuPy, if states are.

    Raises
    ------
    ValueError
        If an argument is invalid.

    Examples
    --------
    >>> import fastrec
    >>> patterns = fastrec.random_patterns(p=3, n=100, seed=1)
    >>> probes = fastrec.corrupt(patterns, flips=0.1, seed=2)
    >>> (probes != patterns).sum(axis=1)
    array([10, 10, 10])
    """
    name, coding = resolve(backend, array_of(states)), read_coding(coding)
    checked = states if isinstance(states, PackedStates) else check_states("states", states, coding=coding)
    n = checked.shape[-1]
    if len(checked.shape) > 3:
        raise ValueError(f"states has shape {checked.shape}; corrupt takes (n,), (b, n) or (k, b, n)")
    count = as_flips(flips, n)
    first_row = as_int(
        "first_row", first_row, 0, 2**32 - (1 if len(checked.shape) == 1 else checked.shape[-2])
    )
    key, module, array = stream_key(read_seed(seed), n), kernels("hopfield", name), array_of(checked)
    copy = move_checked("states", array, name)
    if copy is array or not copy.flags.c_contiguous:
        require_memory("corrupt", copy.nbytes, backend=name)
        copy = array_module(name).array(copy, order="C")
    if isinstance(checked, PackedStates):
        module.corrupt(key, first_row, count, n, with_networks(copy))
        return PackedStates._of(move(copy, backend_of(array)), n)
    module.corrupt_states(key, first_row, count, with_networks(copy))
    return to_coding(move(copy, backend_of(states)), coding)


def overlaps(
    a: States, b: States, backend: BackendChoice | None = None, *, coding: Coding = "+-1"
) -> NDArray[np.float64] | Any:
    """Return the overlaps m = (1/n) sum_i a_i b_i of every state of a with every state of b.

    They are counted in wide integers and divided by n last, so that each is the float64 nearest to its exact
    value: 1.0 only for equal and -1.0 only for opposite states.  The product ``a @ b.T`` of int8 states is
    not that: NumPy sums it in int8, which overflows from n = 128 on.  The integer sums are
    ``np.rint(n * overlaps(a, b))``.

    Parameters
    ----------
    a : array_like or PackedStates, shape (n,), (q, n) or (k, q, n)
        States.
    b : array_like or PackedStates, shape (n,), (p, n) or (k, p, n)
        States of as many units; those of network t are compared with those of network t in a.
    backend : str, optional
        "cpu", "gpu", "reference" or "auto"; by default the one in force.
    coding : str, default "+-1"
        "01" for states of 1 and 0, where 0 stands for -1.

    Returns
    -------
    ndarray of float64, shape (q, p) or (k, q, p)
        The overlaps, without the axis q or p where a or b is a single state; of CuPy if a or b is.

    Raises
    ------
    ValueError
        If a or b holds no states, their shapes do not fit together, or memory does not suffice.

    Examples
    --------
    >>> import fastrec
    >>> patterns = fastrec.random_patterns(p=2, n=300, seed=1)
    >>> fastrec.overlaps(patterns, patterns)
    array([[1.        , 0.04666667],
           [0.04666667, 1.        ]])
    >>> int((patterns @ patterns.T)[0, 0])  # 300 in int8
    44
    """
    name, coding = resolve(backend, array_of(a), array_of(b)), read_coding(coding)
    where = "gpu" if on_device(array_of(a)) or on_device(array_of(b)) else "cpu"
    first, second = (
        states if isinstance(states, PackedStates) else check_states(letter, states, coding=coding)
        for letter, states in (("a", a), ("b", b))
    )
    n, shapes = first.shape[-1], (first.shape, second.shape)
    if second.shape[-1] != n or max(map(len, shapes)) > 3 or shapes[0][:-2] != shapes[1][:-2]:
        raise ValueError(
            f"a has shape {shapes[0]} and b {shapes[1]}; give (n,) or (rows, n), or both (k, rows, n)"
        )
    s, packed = (
        with_networks(
            move_checked("overlaps", writable(states.words), name)
            if isinstance(states, PackedStates)
            else pack_states(states, name)
        )
        for states in (first, second)
    )
    (k, q, _), p = s.shape, packed.shape[1]
    require_memory("overlaps", (12 if name == "gpu" else 8) * k * q * p, backend=name)
    m = array_module(name).empty((k, q, p), dtype=np.float64)
    kernels("hopfield", name).overlaps(packed, s, n, m)
    return move(m.reshape((*shapes[0][:-1], *shapes[1][-2:-1]))[()], where)


def as_sizes(sizes: Iterable[int]) -> list[int]:
    """Numbers of units of networks, at least one, or ValueError."""
    if not isinstance(sizes, Iterable):
        raise ValueError(f"sizes is {shown(sizes)}; give a sequence of numbers of units, as [{shown(sizes)}]")
    numbers = [as_int("n", n, 1, MAX_UNITS) for n in sizes]
    if not numbers:
        raise ValueError("sizes is empty; give at least one number of units")
    return numbers


def read_flips(flips: float | None, default: float, old_name: str, old: float | None) -> float:
    """The argument `flips`, or its default, or the old argument that it replaces, which warns."""
    if old is None:
        return default if flips is None else flips
    if flips is not None:
        raise ValueError(f"{old_name} is {shown(old)} and flips {shown(flips)}; give flips alone")
    text = f"{old_name}= is called flips= now, where an int counts units and a float is a share of them"
    warnings.warn(text, DeprecationWarning, stacklevel=3)
    return old


def as_flips(flips: Any, n: int) -> int:
    """The number of units that `flips` means: itself if it is an int, a share of n units if it is a float."""
    if not isinstance(flips, (float, np.floating)):
        return as_int("flips", flips, 0, n)
    if not 0 <= flips <= 1:
        raise ValueError(f"flips is {flips}; a float is a fraction from 0 to 1 (an int is a number of units)")
    return round(float(flips) * n)


def draw_patterns(
    key: np.uint64, first: int, k: int, p: int, n: int, backend: str, below: np.uint64 | None = None
) -> Any:
    """Packed random patterns (k, p, w) of the networks first..first+k-1, where the backend computes.

    below: units are +1 where a draw is below it, see `draws_below`.
    """
    packed = array_module(backend).empty((k, p, words(n)), dtype=np.uint64)
    module = kernels("hopfield", backend)
    if below is None:
        module.random_patterns(key, first, n, packed)
    else:
        module.biased_patterns(key, first, n, below, packed)
    return packed


def draws_below(activity: Any) -> np.uint64 | None:
    """What 64-bit draws of active units are below, of the argument `activity`; None as it is."""
    if activity is None:
        return None
    return np.uint64(int(number("activity", activity, 0, 1) * 2.0**64))


def read_coding(coding: Any) -> Coding:
    """The argument `coding`, or ValueError."""
    return cast(Coding, as_choice("coding", coding, CODINGS))


def check_states(name: str, value: ArrayLike, n: int | None = None, coding: Coding = "+-1") -> Any:
    """`value` as states (..., n), int8 +1 and -1, whatever its coding; bool is read as False = -1.

    Int8 of +1 and -1 is not copied.  Columns of tables that may have missing values arrive as arrays of
    objects, which are read if they hold numbers, or bool, alone.  A CuPy array stays on the device; the host
    waits once for the result of the check.  Raises ValueError naming the argument, the value found and the
    cure.
    """
    coding = read_coding(coding)
    require_unmasked(name, value)
    try:
        array: Any = value if on_device(value) else np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not an array of states: {error}") from None
    if array.ndim == 0:
        raise ValueError(f"{name} is the single value {printable(array, 80)}; states have shape (..., n)")
    if array.dtype.kind == "O":
        array = plain(name, array)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {array.dtype}; states are {written(coding)}")
    if n is not None and array.shape[-1] != n:
        raise ValueError(
            f"{name} has shape {array.shape}, {array.shape[-1]} units a state; the network has n = {n}"
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty, shape {array.shape}; give at least one state")
    if array.dtype.kind != "b" and not are_states(array, coding):
        raise ValueError(wrong_entry(name, array, coding))
    if array.dtype.kind == "b" or coding == "01":
        states = array.astype(np.int8)
        states *= 2
        states -= 1
        return states
    return array.astype(np.int8, copy=False)


def to_coding(states: Any, coding: Coding) -> Any:
    """States of int8 +1 and -1 in a coding: overwritten with 1 and 0 if that is "01"."""
    if coding == "01":
        states += 1
        states >>= 1
    return states


def written(coding: Coding) -> str:
    return "+1 and -1 (or bool)" if coding == "+-1" else '0 and 1 (or bool) with coding="01"'


def plain(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """An array of Python's numbers, or of its bools, as one of float64 or bool; ValueError for all else."""
    kind = TRUTH if isinstance(next(array.flat, True), TRUTH) else NUMBERS
    for i, entry in enumerate(array.flat):
        # Types alone are looked at: bool is an int too, and no comparison with pandas.NA is true or false.
        if not isinstance(entry, kind) or (kind is NUMBERS and isinstance(entry, TRUTH)):
            found = f"{name} holds {shown(entry)} at {list(place(i, array.shape))}"
            if entry is None or type(entry).__name__ in ("NAType", "NaTType"):
                raise ValueError(f"{found}, where a value is missing; {FILL}")
            if isinstance(entry, (*TRUTH, *NUMBERS)):
                raise ValueError(f"{found} and {shown(array.flat[0])} before; give bool or numbers, not both")
            raise ValueError(f"{found}, which is no number; states are +1 and -1, 0 and 1, or bool")
    try:
        return array.astype(np.bool_ if kind is TRUTH else np.float64)
    except OverflowError:
        raise ValueError(f"{name} holds an integer beyond 1e308; states are +1 and -1, or 0 and 1") from None


def wrong_entry(name: str, array: Any, coding: Coding) -> str:
    """What is wrong with numbers that are no states: the first such, and the cure."""
    bad = abs(array) != 1 if coding == "+-1" else (array != 0) & (array != 1)
    at = place(int(bad.argmax()), bad.shape)
    entry = move(array[at], "cpu")[()]
    found = f"{name} holds {entry} at {list(at)}"
    if np.isnan(entry):
        return f"{found}, where a value is missing; {FILL}"
    found = f"{found}; states are {written(coding)}"
    if coding == "01":
        return f'{found}: give coding="+-1" for states of +1 and -1' if entry == -1 else found
    if entry == 0 and bool(((array == 0) | ~bad).all()):
        if bool((array >= 0).all()):
            return f'{found}: give coding="01" for states of 0 and 1'
        return f"{found}: recall(..., unknown=0) takes probes in which 0 is a unit that is not known"
    return found


def place(i: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index of entry i of an array."""
    return tuple(int(j) for j in np.unravel_index(i, shape))


def are_states(array: Any, coding: Coding = "+-1") -> bool:
    """Whether all numbers are those of a coding: of integers, within -1..1 and none 0, or within 0..1.

    Two or three passes without a temporary array of the size of the input, except for floats.
    """
    if array.dtype.kind == "f":
        require_memory("checking states", array.nbytes, backend=backend_of(array))
        if coding == "01":
            return bool(((array == 0) | (array == 1)).all())
        array = abs(array)
    if coding == "01":
        return bool((array.min() >= 0) & (array.max() <= 1))
    low = -1 if array.dtype.kind == "i" else 1
    return bool((array.min() >= low) & (array.max() <= 1) & array.all())


def pack_states(states: Any, backend: str | None = None) -> Any:
    """Packed words (..., w) uint64, where the backend computes, of checked states (..., n)."""
    name, n = resolve(backend, states), states.shape[-1]
    kernel, rows = kernels("hopfield", name).pack, states.reshape(-1, n)
    require_memory("packing states", 8 * len(rows) * words(n), backend=name)
    packed = array_module(name).empty((len(rows), words(n)), dtype=np.uint64)
    step = rows_at_once(n, name)
    for i in range(0, len(rows), step):
        kernel(readable(move(rows[i : i + step], name)), packed[i : i + step])
    return packed.reshape(*states.shape[:-1], words(n))


def unpack_states(packed: Any, n: int, backend: str | None = None, where: str | None = None) -> Any:
    """States (..., n) int8 of packed words (..., w): where the backend `where` computes, else beside them."""
    name, where = resolve(backend, packed), where or backend_of(packed)
    kernel, rows = kernels("hopfield", name).unpack, packed.reshape(-1, packed.shape[-1])
    require_memory("unpacking states", len(rows) * n, backend=where)
    states = array_module(where).empty((len(rows), n), dtype=np.int8)
    step = rows_at_once(n, name)
    for i in range(0, len(rows), step):
        source, target = readable(move(rows[i : i + step], name)), states[i : i + step]
        if backend_of(target) == backend_of(source):
            kernel(source, target)
        else:
            unpacked = array_module(name).empty(target.shape, dtype=np.int8)
            kernel(source, unpacked)
            unpacked.get(out=target)
    return states.reshape(*packed.shape[:-1], n)


def rows_at_once(n: int, backend: str) -> int:
    """States of n units packed or unpacked in one kernel call."""
    return max(1, (DEVICE_CHUNK if backend == "gpu" else CHUNK) // n)


def states_like(states: States, packed: Any, n: int, backend: str) -> Any:
    """The states of words that a backend computed, packed if `states` are, and where those are."""
    if isinstance(states, PackedStates):
        return PackedStates._of(move(packed, backend_of(states.words)), n)
    return unpack_states(packed, n, backend, backend_of(states))


def with_networks(array: Any) -> Any:
    """An array of one state, of rows, or of rows of k networks with all three axes, (k, rows, ...)."""
    return array.reshape(*[1] * (3 - array.ndim), *array.shape)


def readable(array: Any) -> Any:
    """The array, or a copy that kernels can take: they are compiled for contiguous, writable arrays."""
    if on_device(array):
        return array_module("gpu").ascontiguousarray(array)
    return np.require(array, requirements=("C", "W"))
