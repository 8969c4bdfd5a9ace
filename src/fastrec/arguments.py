"""Checks that the public objects share: whole numbers, writable views, memory."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_int(name: str, value: Any, low: int, high: int) -> int:
    """`value` as an int from low to high; NumPy integers pass, bool does not.  Raises ValueError."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and low <= value <= high:
        return int(value)
    top = f"2^{high.bit_length()}-1" if high > 2**16 and high & high + 1 == 0 else high
    raise ValueError(f"{name} is {value!r}; it must be an integer from {low} to {top}")


def writable(array: NDArray[Any]) -> NDArray[Any]:
    """The same memory without the read-only flag, for kernels that only read (they are compiled for writable
    arrays); a copy if it is read-only by nature."""
    view = array.view()
    try:
        view.flags.writeable = True
    except ValueError:
        return array.copy()
    return view


def available_memory() -> int | None:
    """Bytes that can be had without swapping, None where the system does not tell."""
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def require_memory(what: str, nbytes: int, cure: str = "") -> None:
    """Raise ValueError saying what is needed and there if nbytes do not fit; small needs pass unseen."""
    if nbytes > 2**26 and (free := available_memory()) is not None and nbytes > free:
        raise ValueError(f"{what} needs {human(nbytes)} of memory, {human(free)} are available{cure}")


def human(nbytes: float) -> str:
    """Bytes in decimal units, as "1.5 GB"."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if nbytes < 1000 or unit == "TB":
            break
        nbytes /= 1000
    return f"{nbytes:.3g} {unit}"
