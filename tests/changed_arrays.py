"""Calls whose arrays another thread fills meanwhile: ``python changed_arrays.py TIMES NAME ...``.

A kernel that indexes with such numbers may kill the process, so tests run this in a process of its own.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from public_calls import call, same


def writable_arrays(value: Any) -> list[np.ndarray]:
    if isinstance(value, np.ndarray):
        return [value]
    return [a for one in value.values() for a in writable_arrays(one)] if isinstance(value, Mapping) else []


def copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    return {key: copied(one) for key, one in value.items()} if isinstance(value, Mapping) else value


def garbage(array: np.ndarray, draw: np.random.Generator) -> None:
    """Fill an array with bytes, extremes or zeros."""
    kind = draw.integers(4)
    if kind == 0:
        array[...] = 0
    elif kind == 1 and array.dtype.kind in "iu":
        array[...] = np.iinfo(array.dtype).max
    elif kind == 2 and array.dtype.kind == "i":
        array[...] = np.iinfo(array.dtype).min
    else:
        array[...] = np.frombuffer(draw.bytes(array.nbytes), array.dtype).reshape(array.shape)


def attempt(name: str, arguments: dict[str, Any], run: Any) -> None:
    try:
        run(**arguments)
    except (ValueError, FloatingPointError) as error:
        if "\n" in str(error):
            raise AssertionError(name) from error


def main(times: int, *names: str) -> None:
    faulthandler.enable()
    sys.setswitchinterval(1e-6)
    warnings.simplefilter("ignore")  # of NumPy, about numbers that are not
    draw = np.random.default_rng(0)
    for name in names:
        run, arguments = call(name)
        if not (arrays := writable_arrays(arguments)):
            continue
        print(name, flush=True)
        expected = run(**arguments)
        stop = threading.Event()
        run, arguments = call(name)
        good, arrays = copied(arguments), writable_arrays(arguments)

        def disturb(good: Any = good, arrays: Any = arrays, stop: Any = stop) -> None:
            while not stop.is_set():
                for array, before in zip(arrays, writable_arrays(good), strict=True):
                    garbage(array, draw)
                    array[...] = before

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            for _ in range(times):
                attempt(name, arguments, run)
        finally:
            stop.set()
            thread.join()
        # What was disturbed is not remembered by the process: the same call made anew gives the same.
        run, arguments = call(name)
        assert same(run(**arguments), expected), name


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
