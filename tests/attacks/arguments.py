"""Calls of every public function with arguments that are not what they should be, two or three at once."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from public_calls import CALLS, ERRORS, WRONG, call, same

from attacks import Failure, Row, run

COUNT = 5000
NEVER = ("out", "minutes", "checkpoint", "path")  # where any value is a file or a time


def campaign(count: int) -> Iterator[Row]:
    """Calls with arguments of the wrong kinds, of other calls, and arrays that are cut or stretched."""
    for name in CALLS:  # so that no case has to wait for a compiler
        expected(name)
    yield from run("arguments", dict.fromkeys(WAYS, count))


@functools.cache
def expected(name: str) -> Any:
    function, arguments = call(name)
    return function(**arguments)


def attempt(kind: str, number: int) -> str:
    """One call, and the same call with its right arguments afterwards."""
    draw = np.random.default_rng(number)
    name = list(CALLS)[number % len(CALLS)]
    function, arguments = call(name)
    keys = [key for key in inspect.signature(function).parameters if key not in NEVER]
    changed = dict(arguments)
    for key in draw.permutation(keys)[: draw.integers(1, 4)]:
        changed[key] = WAYS[kind](changed.get(key), draw)
    ending = "accepted"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old names, and of NumPy about numbers that are none
        try:
            function(**changed)
        except ERRORS as error:
            ending = "refused"
            if not str(error) or "\n" in str(error):
                raise Failure(f"{name}: an error without a sentence, {error!r}") from None
        except Exception as error:
            shown = {key: changed[key] for key in changed if changed[key] is not arguments.get(key)}
            raise Failure(f"{name}: {error!r} for {shown!r}"[:400]) from None
    function, arguments = call(name)
    if not same(function(**arguments), expected(name)):
        raise Failure(f"{name}: the right call differs afterwards")
    return ending


def wrong(value: Any, draw: np.random.Generator) -> Any:
    """Something that no argument is."""
    return WRONG[draw.integers(len(WRONG))]


def of_another(value: Any, draw: np.random.Generator) -> Any:
    """An argument of another call."""
    arguments = call(list(CALLS)[draw.integers(len(CALLS))])[1]
    return arguments[list(arguments)[draw.integers(len(arguments))]] if arguments else None


def reshaped(value: Any, draw: np.random.Generator) -> Any:
    """An array with another shape, dtype or order, or with some numbers replaced."""
    if not isinstance(value, np.ndarray):
        return wrong(value, draw)
    way = draw.integers(6)
    if way == 0:
        return value[tuple(slice(0, draw.integers(0, n + 1)) for n in value.shape)]
    if way == 1:
        return np.moveaxis(value, draw.integers(value.ndim), draw.integers(value.ndim))
    if way == 2:
        return np.repeat(value, 2, axis=draw.integers(value.ndim))
    if way == 3:
        dtypes = (bool, np.int8, np.uint64, np.float16, np.longdouble, complex, object, "datetime64[s]")
        return value.astype(dtypes[draw.integers(len(dtypes))])
    if way == 4:
        return np.broadcast_to(value, (draw.integers(1, 4), *value.shape))
    changed = value.astype(np.float64)
    extremes = (np.nan, np.inf, -1, 2**31, 2**63, 1e300, 0.5)
    changed[draw.random(value.shape) < 0.2] = extremes[draw.integers(len(extremes))]
    return changed


WAYS: dict[str, Callable[[Any, np.random.Generator], Any]] = {
    "wrong": wrong,
    "of another call": of_another,
    "reshaped": reshaped,
}
