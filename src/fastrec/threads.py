"""The number of threads that kernels on the CPU use."""

from __future__ import annotations

from .kernels.cpu import threads
from .kernels.cpu.threads import get_threads as get_threads
from .validation import as_int


def set_threads(n: int | None) -> int:
    """Set the number of threads that kernels on the CPU use, in all of this process.

    Results do not depend on it.

    Parameters
    ----------
    n : int or None
        1 to 1024. None means the environment variable FASTREC_NUM_THREADS, else NUMBA_NUM_THREADS, else the
        number of cores that this process may use, by its affinity and the quota of its control group.

    Returns
    -------
    int
        The number now in force, as `get_threads` gives it.

    Raises
    ------
    ValueError
        If n is not such a number; nothing changes then.

    Examples
    --------
    >>> import fastrec
    >>> fastrec.set_threads(2)
    2
    >>> _ = fastrec.set_threads(None)
    """
    return threads.set_threads(None if n is None else as_int("n", n, 1, threads.MOST))
