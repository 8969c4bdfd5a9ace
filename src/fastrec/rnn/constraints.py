"""Weights that are kept at 0 or at one sign: connections that are missing, and Dale's law."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import array_module, backend_of, move
from ..messages import shown
from ..validation import as_int, number
from .config import MAX_SIZE, Array, Config
from .initialization import spectral_radii
from .validation import as_array

ALLOWED = "allowed."  # what the names of their arrays in files begin with
ANY, NONE = 2, 0  # what a weight may be besides positive, 1, and negative, -1


def dale_signs(units: int, excitatory: float = 0.8) -> NDArray[np.int8]:
    """Return the sign of each unit's outgoing weights by Dale's law: units excite, or they inhibit.

    Parameters
    ----------
    units : int
        Number h of hidden units.
    excitatory : float
        The share of them that excite, 1; they come first.  The others inhibit, -1.

    Returns
    -------
    ndarray
        (h, 1) int8, as `signs` of `RNN` takes it for "W_rec" and "W_out", whose rows belong to the units that
        are read.

    Raises
    ------
    ValueError
        For invalid arguments.

    Examples
    --------
    >>> fastrec.dale_signs(5).ravel()
    array([ 1,  1,  1,  1, -1], dtype=int8)
    """
    h = as_int("units", units, 1, MAX_SIZE)
    share = number("excitatory", excitatory, 0, closed=True)
    if share > 1:
        raise ValueError(f"excitatory is {share:g}; it is a share of the units, at most 1")
    return np.where(np.arange(h) < round(share * h), 1, -1).astype(np.int8)[:, None]


class Constraints:
    """Which values the weights of a network may have.

    allowed: by the keys of parameters, int8 arrays of their shape: `NONE`, 1, -1 or `ANY`.
    """

    def __init__(self, allowed: Mapping[str, Array]) -> None:
        self.allowed: dict[str, Array] = dict(allowed)
        self._limits: dict[tuple[str, str], tuple[Array, Array]] = {}

    def __bool__(self) -> bool:
        return bool(self.allowed)

    @property
    def arrays(self) -> dict[str, Array]:
        """What files hold."""
        return {ALLOWED + key: allowed for key, allowed in self.allowed.items()}

    def select(self, model: int) -> Constraints:
        """The constraints of one of k networks."""
        return Constraints({key: allowed[model] for key, allowed in self.allowed.items()})

    def limits(self, key: str, like: Array) -> tuple[Array, Array]:
        """The least and the greatest value of each weight, where an array is."""
        place = backend_of(like)
        if (key, place) not in self._limits:
            allowed, inf = self.allowed[key], like.dtype.type(np.inf)
            pair = (np.where(np.isin(allowed, (-1, ANY)), -inf, 0), np.where(allowed > 0, inf, 0))
            self._limits[key, place] = tuple(move(limit.astype(like.dtype), place) for limit in pair)
        return self._limits[key, place]

    def apply(self, parameters: Mapping[str, Array]) -> None:
        """Set weights that are not allowed to 0, the nearest that is, in place."""
        for key in self.allowed:
            array_module(backend_of(parameters[key])).clip(
                parameters[key], *self.limits(key, parameters[key]), out=parameters[key]
            )

    def clear(self, gradients: dict[str, Array]) -> None:
        """Set the gradients of missing connections to 0: they are constants."""
        for key in self.allowed:
            low, high = self.limits(key, gradients[key])
            gradients[key][low == high] = 0

    def begin(self, config: Config, parameters: Mapping[str, Array]) -> None:
        """Make first values allowed ones: magnitudes with the sign that is asked for, in balance.

        Where a column has weights of both signs, those that inhibit are scaled so that its sum is 0; the
        recurrent weights of each gate are then scaled to the spectral radius that they had (Song, Yang &
        Wang, PLoS Comput. Biol. 12, e1004792, 2016).
        """
        for key, allowed in self.allowed.items():
            array = parameters[key]
            recurrent = key.startswith("W_rec") and array.shape[-2] == config.hidden_size
            before = spectral_radii(array, config.kind.gates) if recurrent else None
            signed = np.where(abs(allowed) == 1, allowed * abs(array), np.where(allowed == NONE, 0, array))
            if array.ndim > 1:
                signed = np.where(abs(allowed) == 1, balanced(signed), signed)
            array[...] = signed
            if before is not None:
                after = spectral_radii(array, config.kind.gates)
                scale = np.where(after > 0, before / np.where(after > 0, after, 1), 1)
                array *= np.repeat(scale, config.hidden_size, axis=-1)[..., None, :]


UNCONSTRAINED = Constraints({})


def balanced(weights: Array) -> Array:
    """Weights (..., n, h), the negative ones scaled so that columns which have both signs add up to 0."""
    positive, negative = (np.where(s * weights > 0, weights, 0).sum(axis=-2, keepdims=True) for s in (1, -1))
    both = (positive > 0) & (negative < 0)
    scale = np.where(both, -positive / np.where(both, negative, 1), 1)
    return np.where(weights < 0, weights * scale, weights)


def read_constraints(
    config: Config, connections: Mapping[str, ArrayLike] | None, signs: Mapping[str, ArrayLike] | None
) -> Constraints:
    """Check the arguments `connections` and `signs` of `fastrec.RNN`."""
    allowed: dict[str, Array] = {}
    for name, given, values in (("connections", connections, (0, 1)), ("signs", signs, (-1, 0, 1))):
        if given is None:
            continue
        if not isinstance(given, Mapping):
            raise ValueError(
                f"{name} is {shown(given)}; it must be a mapping of keys of parameters to arrays"
            )
        for key, value in given.items():
            array = read_allowed(config, name, key, value, values)
            known = allowed.setdefault(key, np.full(config.shapes[key], ANY, np.int8))
            if name == "connections":
                known[array == 0] = NONE
            else:
                np.copyto(known, array, where=(array != 0) & (known != NONE))
    return Constraints(allowed)


def read_allowed(config: Config, name: str, key: Any, value: ArrayLike, values: tuple[int, ...]) -> Array:
    """An array that broadcasts to the shape of a parameter and holds these values only."""
    if key not in config.shapes:
        raise ValueError(f"{name} has the key {shown(key)}; the parameters are {', '.join(config.shapes)}")
    where, shape = f'{name}["{key}"]', config.shapes[key]
    array = move(as_array(where, value), "cpu")
    try:
        array = np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"{where} has shape {array.shape}; it must broadcast to {shape}") from None
    if array.dtype.kind not in "biuf" or not np.isin(array, values).all():
        raise ValueError(f"{where} holds other values than {', '.join(map(str, values))}")
    return array.astype(np.int8)
