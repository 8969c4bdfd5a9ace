"""Initial values of the parameters of a recurrent network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..backend import move
from ..messages import shown
from ..streams import MAX_SEED, Seed, generator, read_seed
from ..validation import as_choice, as_int, one_of, require_memory
from .cells import CELLS
from .config import Array, Config, suffix
from .validation import as_array

MOST_BIAS = 1e6  # where the logistic function has long been 1

INCOMING, RADIUS = 15, 1.1  # of "sparse": weights by which a unit reads others, and their spectral radius

Initial = Literal["orthogonal", "uniform", "identity", "sparse"]


def draw(
    config: Config,
    initial: Initial,
    seed: Seed | Sequence[int],
    forget_bias: float | None = None,
    constants: Mapping[str, ArrayLike] = MappingProxyType({}),
    embedding: Array | None = None,
) -> tuple[dict[str, Array], int | tuple[int, ...]]:
    """Return initial parameters as `fastrec.RNN` describes them, and the seed, or the k of a sequence.

    constants: values in place of those in the description of the cell, for all units or for each.
    embedding: what `read_embedding` returns, in place of what is drawn.
    Raises ValueError for invalid arguments.
    """
    as_choice("initial", initial, get_args(Initial))
    cell, h = config.kind, config.hidden_size
    if initial not in cell.weights:
        suited = one_of([name for name, other in CELLS.items() if initial in other.weights])
        raise ValueError(
            f'initial is "{initial}", which is for cell={suited}; with "{cell.name}" use another'
        )
    if forget_bias is not None and cell.forget_gate is None:
        having = one_of([name for name, other in CELLS.items() if other.forget_gate is not None])
        raise ValueError(
            f"forget_bias is {shown(forget_bias)}; only cell={having} has a forget gate, leave it out"
        )
    if forget_bias is None:
        forget_bias = 1.0 if cell.forget_gate is not None and initial != "uniform" else None
    elif isinstance(forget_bias, bool) or not (
        isinstance(forget_bias, (int, float, np.number)) and abs(forget_bias) <= MOST_BIAS
    ):
        raise ValueError(
            f"forget_bias is {shown(forget_bias)}; it must be a finite number, and at most {MOST_BIAS:g} "
            "in size"
        )
    values: dict[str, ArrayLike] = {**dict.fromkeys(cell.gains, 1), **cell.constants}
    values |= {name: read_constant(config, name, value) for name, value in constants.items()}
    if embedding is not None and embedding.shape not in (config.shapes["E"], config.shapes["E"][-2:]):
        raise ValueError(
            f"embedding has shape {embedding.shape}; give {config.shapes['E'][-2:]}, a row for each input"
            + (f", or {config.shapes['E']}, one for each network" if config.models else "")
        )
    used = read_seeds(config.models, seed)
    # Drawn in float64, one array at a time; what is orthogonal or has a radius holds four matrices.
    gate = config.shapes["W_rec"][-2] * h if initial in ("orthogonal", "sparse") else 0
    drawn = max(8 * max(map(prod, config.shapes.values())) // config.k, 32 * gate)
    require_memory("the network", config.k * config.n_parameters * config.dtype.itemsize + drawn)
    parameters = {key: np.zeros(shape, config.dtype) for key, shape in config.shapes.items()}
    for j in range(config.k):
        rng = generator(seed_of(used, j))
        network = {key: array[j] if config.models else array for key, array in parameters.items()}
        for key, array in network.items():
            for part in array if config.directions > 1 and key in config.both_ways else [array]:
                fill(rng, config, initial, key, part)
        if cell.forget_gate is not None and forget_bias is not None:
            for layer in range(config.num_layers):
                first = cell.forget_gate * h
                network["b" + suffix(layer)][..., first : first + h] = forget_bias
    for name, value in values.items():
        for layer in range(config.num_layers):
            parameters[name + suffix(layer)][...] = value
    if embedding is not None:
        parameters["E"][...] = embedding
    return parameters, used


def read_embedding(value: ArrayLike, embedding_size: int | None) -> Array:
    """Check an argument `embedding`, vectors (i, e) or those of k networks (k, i, e), which it returns."""
    array = move(as_array("embedding", value), "cpu")
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiu":
        raise ValueError(
            f"embedding has shape {array.shape} and dtype {array.dtype}; give an array of numbers (i, e), "
            "with a row for each input"
        )
    if embedding_size not in (None, array.shape[-1]):
        raise ValueError(
            f"embedding has vectors of {array.shape[-1]} numbers, and embedding_size is "
            f"{shown(embedding_size)}; leave it out"
        )
    if not (np.abs(array) <= np.finfo(np.float32).max).all():
        raise ValueError("embedding holds numbers that are not finite, or not in float32; give others")
    return array


def read_constant(config: Config, name: str, value: ArrayLike) -> Array:
    """Check a value for a parameter that is a constant of the cell, a share of 1 of each unit."""
    if name not in config.kind.constants:
        having = one_of([other for other, cell in CELLS.items() if name in cell.constants])
        raise ValueError(f"{name} is {shown(value)}; only cell={having} takes it, leave it out")
    array, h = as_array(name, value), config.hidden_size
    if array.dtype.kind not in "fiu" or array.shape not in ((), (h,)):
        raise ValueError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; it must be a number or {h}"
        )
    if not ((array > 0) & (array <= 1)).all():
        raise ValueError(f"{name} is {shown(value)}; it must be above 0 and at most 1")
    return array


def read_seeds(models: int | None, seed: Seed | Sequence[int]) -> int | tuple[int, ...]:
    """Return the seed that an argument of `fastrec.RNN` stands for, or the k of a sequence."""
    several = isinstance(seed, (Sequence, np.ndarray)) and not isinstance(seed, str) and np.ndim(seed) > 0
    if models is None or not several:
        return read_seed(seed, most=MAX_SEED + 1 - (models or 1))  # type: ignore[arg-type]
    seeds = list(seed)  # type: ignore[arg-type]
    if len(seeds) != models:
        raise ValueError(f"seed has {len(seeds)} values; give one for each of the {models} networks, or one")
    return tuple(as_int(f"seed[{j}]", value, 0, MAX_SEED) for j, value in enumerate(seeds))


def seed_of(seeds: int | tuple[int, ...], model: int) -> int:
    """Return the seed of one of k networks."""
    return seeds + model if isinstance(seeds, int) else seeds[model]


def fill(rng: np.random.Generator, config: Config, initial: Initial, key: str, array: Array) -> None:
    """Draw one parameter of one network in place; an initial state stays 0, and a gain as it is."""
    h = config.hidden_size
    if key.startswith((*config.kind.initial, *config.kind.gains)):
        return
    if key == "E":
        array[...] = rng.standard_normal(array.shape)
        return
    if initial == "uniform":
        array[...] = rng.uniform(-(h**-0.5), h**-0.5, array.shape)
    elif key.startswith("W_rec"):
        for column in range(0, config.kind.gates * h, h):
            block = array[:, column : column + h]
            block[...] = recurrent(rng, initial, *block.shape)
    elif key.startswith("W") and initial in ("identity", "sparse"):
        array[...] = (0.001 if initial == "identity" else 0.1) * rng.standard_normal(array.shape)
    elif key.startswith("W"):
        # Each gate is a matrix of its own: its outputs are h, not those of all gates together.
        limit = (6 / (len(array) + (h if key.startswith("W_in") else array.shape[1]))) ** 0.5
        array[...] = rng.uniform(-limit, limit, array.shape)


def recurrent(rng: np.random.Generator, initial: Initial, rows: int, columns: int) -> Array:
    """Return the recurrent weights of a gate; only those that are orthogonal need not be square."""
    if initial == "orthogonal":
        return orthogonal(rng, rows, columns)
    if initial == "identity":
        return np.eye(rows)
    read = rng.random((rows, columns)).argsort(axis=0) < INCOMING
    weights = np.where(read, rng.standard_normal(read.shape), 0.0)
    return weights * (RADIUS / spectral_radii(weights, 1))


def orthogonal(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Return a matrix with orthonormal rows or columns, uniform among all of them (Mezzadri, Notices AMS 54,
    592, 2007)."""
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return q if rows >= columns else q.T


def spectral_radii(weights: Array, gates: int) -> NDArray[np.float64]:
    """Return the largest absolute eigenvalue of each gate of weights (..., h, gates h), (..., gates)."""
    blocks = np.stack(np.split(weights.astype(np.float64), gates, axis=-1), axis=-3)
    radii: NDArray[np.float64] = np.abs(np.linalg.eigvals(blocks)).max(axis=-1)
    return radii
