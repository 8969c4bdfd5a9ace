"""Memory of a sequence of patterns, which parallel updates run through."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend import Backend, BackendChoice, array_module, backend_of, kernels, move, resolve
from ..display import Column, Displayed
from ..kernels import words
from ..validation import as_int, require_memory
from .dynamics import BREATH
from .memory import in_shape
from .network import HopfieldNetwork
from .rules.sequence import SEQUENCE
from .states import Coding, PackedStates, States, array_of, by_row, states_like
from .stored import StoredPatterns


@dataclass(frozen=True, eq=False, repr=False)
class SequenceResult(Displayed):
    """The result of `SequenceMemory.recall`.

    Arrays have the shape of the probes without the last axis, and then the axis of times: the start and after
    each step.  All are CuPy arrays if the probes were.

    Attributes
    ----------
    states : ndarray of int8 or PackedStates
        The states after the last step, of the shape of the probes; packed if the probes were.
    trajectory : ndarray of int8 or PackedStates, shape (..., steps + 1, n)
        The states at all times.
    overlaps : ndarray of float64, shape (..., steps + 1, p)
        Their overlaps with the patterns, -1 to 1.
    nearest : ndarray of int64, shape (..., steps + 1)
        The pattern of largest overlap, the first of equal ones.

    Examples
    --------
    >>> import fastrec
    >>> memory = fastrec.SequenceMemory(100)
    >>> memory.store(fastrec.random_patterns(p=5, n=100, seed=1))
    >>> memory.recall(memory.patterns[:2], steps=8)
    SequenceResult(states=(2, 100), steps=8, in_order=2, overlap=1)
    """

    states: NDArray[np.int8] | Any
    trajectory: NDArray[np.int8] | Any
    overlaps: NDArray[np.float64] | Any
    nearest: NDArray[np.int64] | Any

    def _summary(self) -> dict[str, Any]:
        *_, times, p = self.overlaps.shape
        steps = np.diff(move(self.nearest, "cpu"), axis=-1) % p == 1 % p
        return {
            "states": self.states.shape,
            "steps": times - 1,
            "in_order": np.count_nonzero(steps.all(axis=-1)),
            "overlap": float(move(self.overlaps[..., -1, :], "cpu").max(axis=-1).mean()),
        }

    def _columns(self) -> list[Column]:
        return by_row("step", nearest=self.nearest, overlap=self.overlaps.max(axis=-1))


class SequenceMemory:
    """A network of n units that goes on from each stored pattern to the next when all update at once.

    It is a `HopfieldNetwork` of the rule "sequence", which `network` is; its couplings
    W_ij = sum_mu x^(mu+1)_i x^mu_j are not symmetric.  `recall` computes with the packed patterns and never
    makes them: a step costs n p additions, and n p / 4 bytes are held, so that there is room for 100 000
    units.  From near a pattern of a long cyclic sequence of random ones, the states stay near the sequence up
    to p = 0.269 n, n large (During, Coolen and Sherrington).

    Parameters
    ----------
    n : int
        Number of units, 1 to 2^31 - 1.
    cyclic : bool, default True
        Whether the first pattern follows the last.
    self_coupling : bool, default False
        Keep the diagonal of W; otherwise it is zero.
    backend : str, optional
        "cpu", "gpu", "reference" or "auto"; by default the one in force at each call (`get_backend`).
    coding : str, default "+-1"
        "01" if arrays of states are written as 1 and 0, where 0 stands for -1.
    shape : sequence of int, optional
        Shape of a picture of n units, as of `HopfieldNetwork`.

    Raises
    ------
    ValueError
        For invalid arguments.  So does every method, and then leaves the memory as it was.
    BackendError
        If the backend is unknown or cannot run here.

    References
    ----------
    S. Amari, Learning patterns and pattern sequences by self-organizing nets of threshold elements, IEEE
    Trans. Computers C-21, 1197 (1972).
    A. During, A. C. C. Coolen and D. Sherrington, Phase diagram and storage capacity of sequence processing
    neural networks, J. Phys. A 31, 8607 (1998).

    Examples
    --------
    >>> import fastrec
    >>> memory = fastrec.SequenceMemory(100)
    >>> memory.store(fastrec.random_patterns(p=5, n=100, seed=1))
    >>> probe = fastrec.corrupt(memory.patterns[3], flips=10, seed=2)
    >>> memory.recall(probe).nearest
    array([3, 4, 0, 1, 2, 3])
    """

    def __init__(
        self,
        n: int,
        *,
        cyclic: bool = True,
        self_coupling: bool = False,
        backend: BackendChoice | None = None,
        coding: Coding = "+-1",
        shape: Sequence[int] | None = None,
    ) -> None:
        self._network = HopfieldNetwork(
            n, self_coupling, backend, rule="sequence", cyclic=cyclic, coding=coding, shape=shape
        )

    @property
    def network(self) -> HopfieldNetwork:
        """The network that holds the patterns, for all else: couplings, fields, asynchronous recall."""
        return self._network

    @property
    def n(self) -> int:
        """Number of units."""
        return self._network.n

    @property
    def n_patterns(self) -> int:
        """Number of memories: the length of the sequence, of each network."""
        return self._network.n_patterns

    @property
    def cyclic(self) -> bool:
        """Whether the first pattern follows the last."""
        cyclic: bool = self._network._stored.setting.options["cyclic"]
        return cyclic

    @property
    def backend(self) -> Backend:
        """Name of the backend on which the next call will run."""
        return self._network.backend

    @property
    def patterns(self) -> NDArray[np.int8]:
        """A copy of the stored patterns, (p, n) or (k, p, n), in the order of the sequence."""
        return np.asarray(self._network.patterns)

    def __repr__(self) -> str:
        return (
            repr(self._network).replace("HopfieldNetwork", "SequenceMemory").replace(', rule="sequence"', "")
        )

    def store(self, patterns: States) -> None:
        """Store patterns, in their order, after those stored before.

        Parameters
        ----------
        patterns : array_like or PackedStates
            One pattern (n,), patterns (p, n), or (k, p, n) for k networks; the first call fixes k.

        Raises
        ------
        ValueError
            If patterns are no states of n units, have another k, do not fit in memory, or are so many that
            sums would overflow: p n^2 must stay below 2^63.

        Examples
        --------
        >>> import fastrec
        >>> memory = fastrec.SequenceMemory(4)
        >>> memory.store([[1, 1, -1, -1], [1, -1, 1, -1]])
        >>> memory.store([1, -1, -1, 1])
        >>> memory.n_patterns
        3
        """
        self._network.store(patterns)

    def recall(self, probes: States, steps: int | None = None) -> SequenceResult:
        """Run so many steps from probes, each of all units at once.

        A unit takes the sign of its local field, and keeps its state where that is 0.

        Parameters
        ----------
        probes : array_like or PackedStates
            One state (n,), or states (b, n) or (..., n).  For k networks (k, b, n) or (k, ..., n), or (n,) or
            (b, n), from which all of them start.
        steps : int, optional
            Number of steps, 1 to 2^31 - 1; by default once round the sequence, or from its first pattern to
            its last if it is not cyclic.

        Returns
        -------
        SequenceResult
            The states at all times, and which patterns they are near.

        Raises
        ------
        ValueError
            If no pattern is stored, for invalid probes or steps, or if what is returned does not fit in
            memory.

        Examples
        --------
        >>> import fastrec
        >>> memory = fastrec.SequenceMemory(6)
        >>> memory.store([[1, 1, 1, -1, -1, -1], [1, -1, 1, -1, 1, -1], [-1, 1, 1, 1, 1, -1]])
        >>> result = memory.recall([1, 1, 1, -1, -1, -1], steps=2)
        >>> result.states
        array([-1,  1,  1,  1,  1, -1], dtype=int8)
        """
        net = self._network
        stored = net._require_patterns()
        name, where = resolve(net._backend, array_of(probes)), backend_of(array_of(probes))
        if steps is None:
            steps = max(1, stored.p - (not self.cyclic))
        steps = as_int("steps", steps, 1, 2**31 - 1)
        states, shape = net._read("probes", probes, name, stored)
        (k, b, w), times = states.shape, steps + 1
        what, packed = f"recall of {k * b} states in {steps} steps", isinstance(probes, PackedStates)
        require_memory(what, k * b * times * (16 * w + 8 * stored.p), backend=name)
        require_memory(what, k * b * times * (8 * stored.p + (0 if packed else self.n)), backend=where)
        stored = net._stored_on(name, stored)
        _, trail = run_steps(stored, name, states, steps, times)
        overlaps = stored.overlaps(name, trail.reshape(k, -1, w), np.float64)
        overlaps = move(in_shape(overlaps.reshape(k, b, times, -1), shape[:-1]), where)
        trajectory = states_like(probes, in_shape(trail, shape[:-1]), self.n, name)
        if packed:
            states = PackedStates._of(trajectory.words[..., -1, :], self.n)
        else:
            trajectory = net._shown(trajectory, net._is_pictured(probes))
            states = trajectory[(slice(None),) * (len(shape) - 1) + (-1,)].copy()
        return SequenceResult(states, trajectory, overlaps, overlaps.argmax(axis=-1))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a NumPy .npz file of the packed patterns, replacing path in one step.

        Parameters
        ----------
        path : path-like
            Name of the file, ending in .npz; `HopfieldNetwork.load` reads it too.

        Raises
        ------
        ValueError
            Unless path ends in .npz.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> memory = fastrec.SequenceMemory(100)
        >>> memory.store(fastrec.random_patterns(p=5, n=100, seed=1))
        >>> memory.save("sequence.npz")
        """
        self._network.save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], backend: BackendChoice | None = None) -> SequenceMemory:
        """Read what `save` wrote.  Nothing in the file is executed.

        Parameters
        ----------
        path : path-like
            Name of the file.
        backend : str, optional
            As for `SequenceMemory`; files do not hold it.

        Returns
        -------
        SequenceMemory
            A memory of the same patterns.

        Raises
        ------
        ValueError
            For a file that is foreign, truncated or damaged, naming it and what is wrong.

        Examples
        --------
        >>> memory = fastrec.SequenceMemory(100)
        >>> memory.store(fastrec.random_patterns(p=5, n=100, seed=1))
        >>> memory.save("sequence.npz")
        >>> fastrec.SequenceMemory.load("sequence.npz").n_patterns
        5
        """
        memory = cls.__new__(cls)
        memory._network = HopfieldNetwork.load(path, backend)
        if (rule := memory._network.rule) != SEQUENCE.name:
            raise ValueError(f'{path} holds a network of the rule "{rule}"; read it by HopfieldNetwork.load')
        if memory._network._stored.setting.thresholds is not None:
            raise ValueError(f"{path} holds a network with thresholds; read it by HopfieldNetwork.load")
        return memory


def run_steps(
    stored: StoredPatterns, backend: str, states: Any, steps: int, room: int = 0
) -> tuple[Any, Any]:
    """States (k, b, w) after so many steps, and if there is room for that, the trail (k, b, steps + 1, w).

    So many steps are in a call of the kernel that Ctrl-C is heard between calls.
    """
    xp, (k, b, w), final = array_module(backend), states.shape, states.copy()
    trail = xp.empty((k, b, room, w), dtype=np.uint64)
    inputs = stored.packed(), stored.units(backend), stored.setting.options["cyclic"]
    own, kernel = diagonal(stored, backend), kernels("hopfield", backend).recall_sequence
    at_once = max(1, int(BREATH / (k * b * stored.n * (10 + stored.p / 10))))
    for begin in range(0, steps, at_once):
        end = min(begin + at_once, steps)
        part = trail if at_once >= steps else xp.empty((k, b, (end - begin + 1) * (room > 0), w), np.uint64)
        kernel(*inputs, own, end - begin, final, part)
        if part is not trail:
            trail[:, :, begin : end + 1] = part
    return final, trail


def diagonal(stored: StoredPatterns, backend: str) -> Any:
    """What the self-coupling sum_mu x^(mu+1)_i x^mu_i has too much, int32 (k, n)."""
    xp, packed, n = array_module(backend), stored.packed(), stored.n
    differing = packed.copy()  # bits of units that differ in the next pattern
    differing[:, :-1] ^= packed[:, 1:]
    differing[:, -1] ^= packed[:, 0]
    if not stored.setting.options["cyclic"]:
        differing = xp.ascontiguousarray(differing[:, :-1])
    k, p, _ = differing.shape
    total = xp.zeros((k, 1, n), dtype=np.int32)
    if p and not stored.setting.self_coupling:
        units, ones = xp.empty((k, n, words(p)), dtype=np.uint64), xp.ones((k, 1, p), dtype=np.int32)
        module = kernels("hopfield", backend)
        module.transpose(differing, units)
        module.local_fields(units, differing[:, :1].copy(), ones, True, total)
    return -total[:, 0]
