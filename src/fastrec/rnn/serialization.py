"""Network files: a NumPy .npz archive of the parameters, and of the sizes as a JSON text."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from math import prod
from typing import Any, TypeVar

import numpy as np

from ..archives import Archive
from ..files import DamagedFile, new_file, require_file, require_suffix
from ..kernels.interruption import uninterrupted
from ..messages import printable
from ..validation import require_memory
from .config import Array, Config
from .initialization import read_seeds

TEXT = "fastrec_rnn"  # the array that holds the text
EXTRA_TEXT = "fastrec_beside"  # an array of text that models which hold a network add to its file
TRAINING_TEXT = "fastrec_training"  # the array of text of a checkpoint
FORMAT = 1
LONGEST = 2**16  # bytes that the headers of arrays may have
SMALL = 2**23  # bytes that the values in a text may take in any archive
LONGEST_BESIDE = 2**28  # bytes that the further text may have, of a vocabulary or of many seeds

Sizes = TypeVar("Sizes")


def save(path: str | os.PathLike[str], config: Config, parameters: dict[str, Array], **texts: Any) -> None:
    """Write a network, and further texts by name; see `fastrec.RNN.save`."""
    require_suffix(path, ".npz")
    write_archive(path, {TEXT: asdict(config) | {"dtype": config.dtype.name}} | texts, parameters)


def write_archive(
    path: str | os.PathLike[str], texts: dict[str, dict[str, Any]], arrays: dict[str, Array]
) -> None:
    """Write settings as arrays of JSON text, then arrays, replacing the file in one step."""
    written = {name: np.array(json.dumps({"format": FORMAT} | text)) for name, text in texts.items()}
    # NumPy would raise a ValueError about its archive in place of what Ctrl-C does.
    with new_file(path) as temporary, uninterrupted(), temporary.open("wb") as file:
        np.savez(file, **written, **arrays)  # type: ignore[arg-type]


def load(
    path: str | os.PathLike[str],
) -> tuple[Config, dict[str, Array], int | tuple[int, ...] | None]:
    """Read a network and its seed; see `fastrec.RNN.load`."""
    with open_archive(path, "network") as archive:
        config, parameters = read(archive)
        return config, parameters, read_stored_seed(archive, config.models)


def read_stored_seed(archive: Archive, models: int | None) -> int | tuple[int, ...] | None:
    """Read the seed of the first weights, None where files of the first versions do not have it."""
    if EXTRA_TEXT not in archive.members:
        return None
    seed = read_text(archive, EXTRA_TEXT, "network file", LONGEST_BESIDE).get("seed")
    return None if seed is None else read_seeds(models, seed)


@contextmanager
def open_archive(path: str | os.PathLike[str], what: str) -> Iterator[Archive]:
    """Open an archive in a `with` block, whose exceptions become ValueErrors that name the file."""
    require_file(path)
    with open(os.fspath(path), "rb") as file:
        try:
            yield Archive(file)
        except OSError as error:
            raise type(error)(f"{path}: cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise DamagedFile(f"{path}: {printable(error, most=1000)}") from None
        except Exception as error:  # what is read may fail in many ways on bytes that are not fastrec's
            reason = printable(error, most=200)
            raise DamagedFile(f"{path}: not a fastrec {what}, or truncated or damaged ({reason})") from None


def read(archive: Archive) -> tuple[Config, dict[str, Array]]:
    """Read the network in an archive; ValueError, or whatever NumPy raises, if there is none."""
    if TRAINING_TEXT in archive.members:
        return read_checkpoint(archive)
    settings = read_text(archive, TEXT, "network file")
    settings.setdefault("embedding_size", None)  # files of the first versions do not have it
    config = sizes_of(Config, settings)
    return config, read_parameters(archive, TEXT, config.shapes, config.dtype)


def read_checkpoint(archive: Archive) -> tuple[Config, dict[str, Array]]:
    """Read the network of a training; of a text that with the best parameters, as the training leaves it."""
    texts = read_text(archive, TRAINING_TEXT, "checkpoint")["settings"]
    values = {field.name: texts.get(field.name, "None") for field in fields(Config)}
    config = Config(**{key: plain(text) for key, text in values.items()})
    prefix = "best." if "plan" in archive.members else "parameters."
    stored = read_arrays(
        archive, {f"{prefix}{key}": shape for key, shape in config.shapes.items()}, config.dtype
    )
    return config, {name.removeprefix(prefix): array for name, array in stored.items()}


def plain(text: str) -> Any:
    """Return the size, the name or the None that a checkpoint holds as text."""
    return None if text == "None" else int(text) if text.isdecimal() else text


def read_text(archive: Archive, name: str, what: str, most: int = 0) -> dict[str, Any]:
    """Read the settings in an array of text, which may be `most` bytes longer than usual."""
    if name not in archive.members:
        raise ValueError(f"not a fastrec {what}")
    size = archive.members[name].size
    nbytes = min(most, max(0, size - LONGEST))
    require_memory("the text", nbytes)
    array = read_array(archive, name, nbytes)
    codes = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
    if array.dtype.kind != "U" or array.ndim or (array.itemsize and array.reshape(1).view(codes).max() > 127):
        raise ValueError(f"damaged, {name} is not a text that fastrec writes")
    text = array.item()
    # A value takes 200 bytes at most, also in the tables of a vocabulary.
    if 200 * sum(map(text.count, ",[{")) > 2 * archive.size + SMALL:
        raise ValueError(f"damaged, {name} holds more than goes with its archive")
    del array
    settings = json.loads(text)
    form = settings.pop("format", None)
    if form != FORMAT:
        raise ValueError(f"format {form!r}, but this fastrec reads format {FORMAT}")
    return settings


def sizes_of(kind: type[Sizes], settings: dict[str, Any]) -> Sizes:
    """Make a dataclass of sizes from settings with the names of its fields."""
    if settings.keys() != {field.name for field in fields(kind)}:  # type: ignore[arg-type]
        raise ValueError(f"damaged, its sizes are {', '.join(settings)}")
    return kind(**settings)


def read_parameters(
    archive: Archive, text: str, shapes: dict[str, tuple[int, ...]], dtype: np.dtype[Any]
) -> dict[str, Array]:
    """Read the arrays of an archive that holds nothing but them and a text."""
    if archive.members.keys() - {EXTRA_TEXT} != {text, *shapes}:
        raise ValueError(f"damaged, its arrays should be {text}, {', '.join(shapes)}")
    return read_arrays(archive, shapes, dtype)


def read_arrays(
    archive: Archive, shapes: dict[str, tuple[int, ...]], dtype: np.dtype[Any]
) -> dict[str, Array]:
    """Read arrays of such shapes of an archive."""
    require_memory("the network", sum(map(prod, shapes.values())) * dtype.itemsize)
    parameters = {}
    for key, shape in shapes.items():
        array = read_array(archive, key, prod(shape) * dtype.itemsize)
        if array.shape != shape or array.dtype.newbyteorder("=") != dtype:
            raise ValueError(f"damaged, {key} is {array.shape}, {array.dtype}, not {shape}, {dtype}")
        parameters[key] = np.ascontiguousarray(array, dtype)
    return parameters


def read_array(archive: Archive, name: str, nbytes: int) -> Array:
    """Read an array of nbytes, if the archive says it has as many: no small file asks for much memory."""
    size = archive.members[name].size
    if not nbytes <= size <= nbytes + LONGEST:
        raise ValueError(f"damaged, {name} has {size} bytes")
    return archive.read(name)
