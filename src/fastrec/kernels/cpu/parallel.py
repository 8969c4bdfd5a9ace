"""Kernels whose tasks are dealt to threads."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from . import threads
from .arrays import borrow
from .atomic import fetch_add
from .jit import Kernel, jit

NO_COUNTER = np.zeros(1, np.int64)
DEAL = """
def _deal(_counter, _tasks, _step, _rounds, {0}):
    # Whether there may be tasks left, after so many rounds.
    for _ in range(_rounds):
        _first = _fetch_add(_counter, 0, _step) if _step < _tasks else 0
        for _number in range(_first, min(_first + _step, _tasks)):
            _task(_number, {1})
        if _first + _step >= _tasks:
            return False
    return True
"""


def tasks(work: Callable[..., tuple[int, float]]) -> Callable[[Callable[..., Any]], Parallel]:
    """`parallel`, for a kernel whose number of tasks follows from its arguments.

    work(*args) returns the number of tasks, and about how many nanoseconds all of them take one core.
    """
    return lambda function: Parallel(function, work)


def parallel(function: Callable[..., Any]) -> Parallel:
    """A kernel that does one task, whose number is its first argument; the tasks are dealt to the threads."""
    return Parallel(function, None)


def describe(made: Any, function: Callable[..., Any]) -> None:
    """Copy the name and docstring of a function, but not its signature, to the object that wraps it."""
    for name in functools.WRAPPER_ASSIGNMENTS:
        if hasattr(function, name):
            setattr(made, name, getattr(function, name))


class Parallel:
    """A kernel that is called without the number of a task, and does all tasks."""

    def __init__(self, function: Callable[..., Any], work: Callable[..., tuple[int, float]] | None) -> None:
        describe(self, function)
        signature = inspect.signature(function)
        self.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])
        self.work = work
        # Numba takes arguments with names twice as fast as a tuple of them.
        names: dict[str, Any] = {"_task": jit(function), "_fetch_add": fetch_add, "_borrow": borrow}
        arguments = list(self.__signature__.parameters)
        exec(DEAL.format(", ".join(arguments), ", ".join(f"_borrow({name})" for name in arguments)), names)
        describe(names["_deal"], function)
        self.kernel = Kernel(names["_deal"])

    def __call__(self, *args: Any) -> None:
        tasks, nanoseconds = self.work(*args)  # type: ignore[misc]
        if nanoseconds < threads.SMALL:
            self.kernel(NO_COUNTER, tasks, tasks, 1, *args)
        else:
            self.deal(tasks, nanoseconds, *args)

    def deal(self, tasks: int, nanoseconds: float, *args: Any) -> None:
        """Do a number of tasks, which take one core about `nanoseconds` in all."""
        if not tasks:
            return
        kernel = self.kernel
        if nanoseconds < threads.SMALL:
            kernel(NO_COUNTER, tasks, tasks, 1, *args)
            return
        counter, each = np.zeros(1, np.int64), max(nanoseconds / tasks, 1.0)
        helpers = min(tasks, int(nanoseconds // threads.SMALL) + 1, threads.get_threads()) - 1
        if not helpers:
            step = max(1, int(threads.BREATH / each))
            while kernel(counter, tasks, step, 1, *args):
                pass
            return
        step = max(1, min(int(threads.SHARE / each), tasks // (4 * helpers + 4)))
        rounds = max(1, int(threads.BREATH / (step * each)))

        def take() -> bool:
            return kernel(counter, tasks, step, rounds, *args)

        def stop() -> None:
            counter[0] = tasks

        kernel(counter, 0, step, 0, *args)  # compiles here: no Ctrl-C reaches a helper
        threads.Job(take, stop).run(helpers)
