"""Seeds, and the keys that they give to the counter-based random streams of `fastrec.kernels`."""

from __future__ import annotations

import functools
import os
from typing import TypeAlias

import numpy as np

from .backend import kernels
from .kernels import DERIVE
from .messages import shown
from .validation import as_int

MAX_SEED = 2**64 - 1

Seed: TypeAlias = "int | np.random.Generator | None"  # a text, as numpy.random takes 5 ms to import
"""A seed, a generator that is drawn from once a call, or None for a fresh seed."""


def read_seed(seed: Seed, name: str = "seed", most: int = MAX_SEED) -> int:
    """Return the seed that an argument stands for.

    Parameters
    ----------
    seed : int, numpy.random.Generator or None
        An int from 0 to most is the seed itself.  A generator is drawn from once.  None takes a fresh seed
        from the operating system.
    name : str
        Name of the argument in messages.
    most : int
        The largest seed.

    Raises
    ------
    ValueError
        If seed is anything else.

    Examples
    --------
    >>> from fastrec.streams import read_seed
    >>> read_seed(7)
    7
    >>> read_seed(None) == read_seed(None)
    False
    """
    if seed is None:
        return int.from_bytes(os.urandom(16)) % (most + 1)
    if isinstance(seed, (int, np.integer)):
        return as_int(name, seed, 0, most)
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(0, most, dtype=np.uint64, endpoint=True))
    raise ValueError(f"{name} is {shown(seed)}; it must be an integer, a numpy.random.Generator or None")


def generator(seed: Seed, number: int = 0) -> np.random.Generator:
    """Return NumPy's generator of the stream `number` of a seed, for what is drawn on the host."""
    return np.random.Generator(np.random.Philox(key=np.array([read_seed(seed), number], np.uint64)))


def derive(key: int, number: int, other: int = 0) -> np.uint64:
    """Return a key for another purpose: the first 64 bits of a Philox4x32-10 block.

    Parameters
    ----------
    key : int
        The key of the block, 0 to 2^64 - 1.
    number, other : int
        What the new key is for, below 2^64 and 2^32: the counter of the block is
        (number mod 2^32, number div 2^32, other, `DERIVE`).

    Returns
    -------
    numpy.uint64
        A key. It is no Python int because Numba would compile kernels twice for those, below 2^63 and above.

    Examples
    --------
    >>> from fastrec.streams import derive
    >>> int(derive(0, 1000))
    8455949654983760575
    """
    block = np.empty((1, 4), dtype=np.uint32)
    counter = np.array([[number & 0xFFFFFFFF, number >> 32, other, DERIVE]], dtype=np.uint32)
    kernels("random", "reference").philox(key, counter, block)
    return np.uint64(int(block[0, 0]) | int(block[0, 1]) << 32)


def stream_key(seed: int, n: int) -> np.uint64:
    """Return the key of every random stream of Hopfield networks of n units under a seed.

    Networks of different sizes have independent streams.

    Parameters
    ----------
    seed : int
        0 to 2^64 - 1.
    n : int
        Number of units.

    Raises
    ------
    ValueError
        If seed is not an integer in that range.
    """
    return _derive(as_int("seed", seed, 0, MAX_SEED), n)


_derive = functools.lru_cache(maxsize=1024)(derive)
