"""Network files: a NumPy .npz archive of the parameters, and of the sizes as a JSON text."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from ..archives import Archive, open_archive, read_arrays, read_text, sizes_of, write_archive
from ..files import require_suffix
from .config import Array, Config
from .constraints import ALLOWED, ANY, NONE, Constraints
from .initialization import read_seeds

TEXT = "fastrec_rnn"  # the array that holds the text
EXTRA_TEXT = "fastrec_beside"  # an array of text that models which hold a network add to its file
TRAINING_TEXT = "fastrec_training"  # the array of text of a checkpoint
Sizes = TypeVar("Sizes")
LONGEST_BESIDE = 2**28  # bytes that the further text may have, of a vocabulary or of many seeds


def save(path: str | os.PathLike[str], config: Config, parameters: dict[str, Array], **texts: Any) -> None:
    """Write a network, and further texts by name; see `fastrec.RNN.save`."""
    require_suffix(path, ".npz")
    write_archive(path, {TEXT: config.settings | {"dtype": config.dtype.name}} | texts, parameters)


def load(
    path: str | os.PathLike[str],
) -> tuple[Config, dict[str, Array], int | tuple[int, ...] | None, Constraints]:
    """Read a network, its seed and the constraints of its weights; see `fastrec.RNN.load`."""
    with open_archive(path, "network") as archive:
        config, parameters = read(archive)
        seed = read_stored_seed(archive, config.models)
        return config, parameters, seed, read_allowed(archive, config)


def read_allowed(archive: Archive, config: Config) -> Constraints:
    """Read the constraints of weights, none where the file has none."""
    shapes = {name: config.shapes[key] for key in config.shapes if (name := ALLOWED + key) in archive.members}
    arrays = read_arrays(archive, shapes, np.dtype(np.int8))
    if not all(np.isin(array, (NONE, 1, -1, ANY)).all() for array in arrays.values()):
        raise ValueError("damaged, it holds unknown constraints of weights")
    return Constraints({name.removeprefix(ALLOWED): array for name, array in arrays.items()})


def read_stored_seed(archive: Archive, models: int | None) -> int | tuple[int, ...] | None:
    """Read the seed of the first weights, None where files of the first versions do not have it."""
    if EXTRA_TEXT not in archive.members:
        return None
    seed = read_text(archive, EXTRA_TEXT, "network file", LONGEST_BESIDE).get("seed")
    return None if seed is None else read_seeds(models, seed)


def read(archive: Archive) -> tuple[Config, dict[str, Array]]:
    """Read the network in an archive; ValueError, or whatever NumPy raises, if there is none."""
    if TRAINING_TEXT in archive.members:
        return read_checkpoint(archive, Config)
    settings = read_text(archive, TEXT, "network file")
    config = sizes_of(Config, settings)
    return config, read_parameters(archive, TEXT, config.shapes, config.dtype)


def read_checkpoint(archive: Archive, kind: type[Sizes]) -> tuple[Sizes, dict[str, Array]]:
    """Read the model of a training, whose sizes are of that kind; of a text that with the best parameters, as
    the training leaves it."""
    texts = read_text(archive, TRAINING_TEXT, "checkpoint")["settings"]
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    for size, model in (("input_size", "RNN"), ("source_size", "EncoderDecoder")):
        if size in texts.keys() - known:
            raise ValueError(f"this is a checkpoint of another kind of model; {model}.load reads it")
    sizes = texts.keys() & known
    config: Any = sizes_of(kind, {key: plain(texts[key]) for key in sizes})
    prefix = "best." if "plan" in archive.members else "parameters."
    stored = read_arrays(
        archive, {f"{prefix}{key}": shape for key, shape in config.shapes.items()}, config.dtype
    )
    return config, {name.removeprefix(prefix): array for name, array in stored.items()}


def plain(text: str) -> Any:
    """Return the size, the name, the truth or the None that a checkpoint holds as text."""
    constants = {"None": None, "True": True, "False": False}
    return constants[text] if text in constants else int(text) if text.isdecimal() else text


def read_parameters(
    archive: Archive, text: str, shapes: dict[str, tuple[int, ...]], dtype: np.dtype[Any]
) -> dict[str, Array]:
    """Read the arrays of an archive that holds nothing but them and a text."""
    beside = {EXTRA_TEXT, *(ALLOWED + key for key in shapes)}
    if archive.members.keys() - beside != {text, *shapes}:
        raise ValueError(f"damaged, its arrays should be {text}, {', '.join(shapes)}")
    return read_arrays(archive, shapes, dtype)
