"""Loads of a capacity scan: the steps they are in, and which of them fail."""

from __future__ import annotations

from .atomic import fetch_min, look
from .jit import jit


@jit
def step_of(nu, ends):
    """The step in which pattern nu is added."""
    step = 0
    while ends[step] <= nu:
        step += 1
    return step


@jit
def last_open(most, largest, failing, failed):
    """The last load up to most that matters: below the first failure, or (largest) not known to fail."""
    end = min(most, look(failing, 0) - 1)
    while largest and end > 0 and failed[end]:
        end -= 1
    return end


@jit
def fail(p, largest, failing, failed):
    """Note that load p fails."""
    if largest:
        failed[p] = True
    else:
        fetch_min(failing, 0, p)


@jit
def fails(p, largest, failing, failed):
    """Whether load p is known to fail, or (first failure) lies at or above one that does."""
    return failed[p] if largest else p >= failing[0]
