"""Checks of arguments that public objects share: numbers, truth values, choices, writable views, memory."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backend import device_memory, move, on_device
from .messages import shown


def as_int(name: str, value: Any, low: int, high: int) -> int:
    """`value` as an int from low to high, or ValueError; integers of NumPy are accepted, bool is not."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and low <= value <= high:
        return int(value)
    top = f"2^{high.bit_length()}-1" if high > 2**16 and high & high + 1 == 0 else high
    raise ValueError(f"{name} is {shown(value)}; it must be an integer from {low} to {top}")


def as_bool(name: str, value: Any) -> bool:
    """`value` as a bool, or ValueError; those of NumPy are accepted, 0, 1 and words are not."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise ValueError(f"{name} is {shown(value)}; it must be True or False")


def as_choice(name: str, value: Any, known: Sequence[str]) -> str:
    """`value` as plain text, also of a member of an enum; ValueError unless it is one of those known."""
    if not (isinstance(value, str) and value in known):
        raise ValueError(f"{name} is {shown(value)}; it must be {one_of(known)}")
    return known[known.index(value)]


def one_of(names: Sequence[str]) -> str:
    """The names in quotes, as '"a", "b" or "c"'."""
    return listed([f'"{name}"' for name in names])


def as_path(name: str, value: Any) -> str | os.PathLike[str]:
    """`value` if it can be the path of a file, or ValueError."""
    if isinstance(value, (str, os.PathLike)):
        return value
    raise ValueError(f"{name} is {shown(value)}; it must be the path of a file, a str or a pathlib.Path")


def listed(names: Sequence[str]) -> str:
    """The names as 'a, b or c'."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def number(name: str, value: Any, low: float, high: float = np.inf, closed: bool = False) -> float:
    """`value` as a float above low (or equal to it if closed) and below high, or ValueError."""
    found = np.nan
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        with suppress(OverflowError):  # of an int that no float can be
            found = float(value)
    if low < found < high or (closed and found == low):
        return found
    least = f"at least {low}" if closed else f"above {low}"
    raise ValueError(
        f"{name} is {shown(value)}; it must be a number {least}{f' and below {high}' * (high < np.inf)}"
    )


def as_number(name: str, value: Any, low: float, high: float) -> float:
    """`value` as a float; ValueError unless it is a number from low to high."""
    if isinstance(value, (int, float, np.number)) and low <= value <= high:
        return float(value)
    raise ValueError(f"{name} is {shown(value)}; it must be a number from {low:g} to {high:g}")


def writable(array: NDArray[Any]) -> NDArray[Any]:
    """The same memory without the read-only flag, or a copy where that cannot be removed.

    For kernels that only read: they are compiled for writable arrays.  CuPy arrays have no such flag.
    """
    if not isinstance(array, np.ndarray):
        return array
    view = array.view()
    try:
        view.flags.writeable = True
    except ValueError:
        return array.copy()
    return view


def require_unmasked(name: str, value: Any) -> None:
    """Raise ValueError for masked entries: arrays that are computed with have no mask."""
    arrays = value if isinstance(value, (list, tuple)) else (value,)
    masked = sum(np.count_nonzero(np.ma.getmask(a)) for a in arrays if isinstance(a, np.ma.MaskedArray))
    if masked:
        raise ValueError(f"{name} has {masked} masked entries; give them values, as {name}.filled(1) does")


def as_array(name: str, value: Any) -> Any:
    """`value` as an array of NumPy, or as it is on the device; ValueError if it has masked entries."""
    require_unmasked(name, value)
    try:
        return value if on_device(value) else np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not an array: {error}") from None


def is_frozen(array: Any) -> bool:
    """Whether no array writes to the memory of a NumPy array; CuPy arrays can always be written to."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        if array.base is None:
            return True
        array = array.base
    return isinstance(array, bytes) or (isinstance(array, mmap.mmap) and memoryview(array).readonly)


def available_memory(backend: str = "cpu") -> int | None:
    """Free bytes where a backend computes, on the host without swapping, or None if unknown."""
    if backend == "gpu":
        return device_memory()[0]
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


SMALL = 2**26  # bytes that are used without a look at what is free


def require_memory(what: str, nbytes: int, cure: str = "", backend: str = "cpu") -> None:
    """Raise ValueError, with the bytes needed and free, if nbytes do not fit where a backend computes.

    Up to 64 MiB the free memory is not looked up.
    """
    if nbytes > SMALL and (free := available_memory(backend)) is not None and nbytes > free:
        memory = "memory of the device" if backend == "gpu" else "memory"
        raise ValueError(
            f"{what} needs {format_bytes(nbytes)} of {memory}, {format_bytes(free)} are available{cure}"
        )


def move_checked(what: str, array: Any, backend: str) -> Any:
    """`move` to where a backend computes, or ValueError if memory does not suffice there."""
    if on_device(array) != (backend == "gpu"):
        require_memory(what, array.nbytes, backend=backend)
    return move(array, backend)


def format_bytes(nbytes: float) -> str:
    """Bytes in decimal units, as "1.5 GB"."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if nbytes < 1000 or unit == "TB":
            break
        nbytes /= 1000
    return f"{nbytes:.3g} {unit}"
