"""Network files: a NumPy .npz archive of the parameters, and of the sizes as a JSON text."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from math import prod
from typing import Any, TypeVar

import numpy as np

from ..files import new_file, require_file, require_suffix
from ..validation import require_memory
from .config import Array, Config

TEXT = "fastrec_rnn"  # the array that holds the text
EXTRA_TEXT = "fastrec_beside"  # an array of text that models which hold a network add to its file
FORMAT = 1
LONGEST = 2**16  # bytes that the headers of arrays may have

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
    with new_file(path) as temporary, temporary.open("xb") as file:
        np.savez(file, **written, **arrays)  # type: ignore[arg-type]


def load(path: str | os.PathLike[str]) -> tuple[Config, dict[str, Array]]:
    """Read a network; see `fastrec.RNN.load`."""
    with open_archive(path, "network") as archive:
        return read(archive)


@contextmanager
def open_archive(path: str | os.PathLike[str], what: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive in a `with` block, whose exceptions become ValueErrors that name the file."""
    require_file(path)
    with open(os.fspath(path), "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        except Exception as error:  # zipfile and NumPy fail in many ways on bytes that are not theirs
            raise ValueError(f"{path}: not a fastrec {what}, or truncated or damaged ({error})") from None


def read(archive: zipfile.ZipFile) -> tuple[Config, dict[str, Array]]:
    """Read the network in an archive; ValueError, or whatever zipfile and NumPy raise, if there is none."""
    settings = read_text(archive, TEXT, "network file")
    settings.setdefault("embedding_size", None)  # files of the first versions do not have it
    config = sizes_of(Config, settings)
    return config, read_parameters(archive, TEXT, config.shapes, config.dtype)


def read_text(archive: zipfile.ZipFile, name: str, what: str, most: int = 0) -> dict[str, Any]:
    """Read the settings in an array of text, which may be `most` bytes longer than usual."""
    if f"{name}.npy" not in archive.namelist():
        raise ValueError(f"not a fastrec {what}")
    nbytes = min(most, max(0, archive.getinfo(f"{name}.npy").file_size - LONGEST))
    require_memory("the text", nbytes)
    settings = json.loads(str(read_array(archive, name, nbytes)))
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
    archive: zipfile.ZipFile, text: str, shapes: dict[str, tuple[int, ...]], dtype: np.dtype[Any]
) -> dict[str, Array]:
    """Read the arrays of an archive that holds nothing but them and a text."""
    if {*archive.namelist()} - {f"{EXTRA_TEXT}.npy"} != {f"{key}.npy" for key in (text, *shapes)}:
        raise ValueError(f"damaged, its arrays should be {text}, {', '.join(shapes)}")
    require_memory("the network", sum(map(prod, shapes.values())) * dtype.itemsize)
    parameters = {}
    for key, shape in shapes.items():
        array = read_array(archive, key, prod(shape) * dtype.itemsize)
        if array.shape != shape or array.dtype.newbyteorder("=") != dtype:
            raise ValueError(f"damaged, {key} is {array.shape}, {array.dtype}, not {shape}, {dtype}")
        parameters[key] = np.ascontiguousarray(array, dtype)
    return parameters


def read_array(archive: zipfile.ZipFile, name: str, nbytes: int) -> Array:
    """Read an array of nbytes, if the archive says it has as many: no small file asks for much memory."""
    info = archive.getinfo(f"{name}.npy")
    if not nbytes <= info.file_size <= nbytes + LONGEST:
        raise ValueError(f"damaged, {name} has {info.file_size} bytes")
    with archive.open(info) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # also lets zipfile compare the checksum
            raise ValueError(f"damaged, {name} is longer than it says")
    return array
