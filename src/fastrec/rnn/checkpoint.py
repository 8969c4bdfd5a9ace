"""Checkpoints of a training: a NumPy .npz archive of all that the epochs to come depend on."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from zlib import crc32

import numpy as np

from ..backend import backend_of, move
from ..files import new_file
from .config import Array
from .dataset import Sequences
from .history import Log
from .network import RNN
from .optimizers import Optimizer
from .serialization import open_archive, read_array

TEXT = "fastrec_training"  # the array that holds the text
FORMAT = 1
LONGEST = 400  # characters of a setting
NOTHING: Mapping[str, Array] = MappingProxyType({})


def describe(data: Sequences | None) -> str:
    """Sequences in a line that tells them from others."""
    if data is None:
        return "none"
    return checksum(*(array for array in data if array is not None))


def checksum(*arrays: Array) -> str:
    """Arrays in a line that tells them from others."""
    total = 0
    for array in arrays:
        total = crc32(np.ascontiguousarray(move(array, "cpu")).data, total)
    return f"{', '.join(str(array.shape) for array in arrays)} with checksum {total:08x}"


def shortened(settings: dict[str, Any]) -> dict[str, str]:
    """The settings as texts, of which long ones (a learning rate for each of many networks) are cut."""
    texts = {key: str(value) for key, value in settings.items()}
    return {
        key: text if len(text) <= LONGEST else f"{text[:LONGEST]}... with checksum {crc32(text.encode()):08x}"
        for key, text in texts.items()
    }


def write(
    path: str | os.PathLike[str],
    settings: dict[str, str],
    rnn: RNN,
    optimizer: Optimizer,
    log: Log,
    beside: Mapping[str, Array] = NOTHING,
) -> None:
    """Write all that `read` needs to go on from here, also the arrays `beside`, replacing path in one
    step."""
    text = json.dumps({"format": FORMAT, "epochs": log.epochs, "settings": settings})
    arrays = {name: move(array, "cpu") for name, array in listing(rnn, optimizer, log, beside).items()}
    with new_file(path) as temporary, temporary.open("xb") as file:
        np.savez(file, **{TEXT: np.array(text)}, **arrays)  # type: ignore[arg-type]


def read(
    path: str | os.PathLike[str],
    settings: dict[str, str],
    epochs: int,
    rnn: RNN,
    optimizer: Optimizer,
    log: Log,
    beside: Mapping[str, Array] = NOTHING,
) -> None:
    """Fill network, optimiser, log and the arrays `beside` from a checkpoint.

    Raises ValueError naming the file if it is not one, is damaged, is that of other settings, or holds more
    epochs than those; network and optimiser are not changed then.
    """
    begin = "optimizer."
    with open_archive(path, "checkpoint") as archive:
        found = read_archive(archive, settings, epochs, rnn, optimizer, log, beside)
        optimizer.load_state_dict(
            {name.removeprefix(begin): array for name, array in found.items() if name.startswith(begin)}
        )
    for name, array in listing(rnn, optimizer, log, beside).items():
        array[...] = move(found[name], backend_of(array))


def read_archive(
    archive: zipfile.ZipFile,
    settings: dict[str, str],
    epochs: int,
    rnn: RNN,
    optimizer: Optimizer,
    log: Log,
    beside: Mapping[str, Array],
) -> dict[str, Array]:
    """The arrays of a checkpoint; ValueError, or whatever zipfile and NumPy raise, if it is none."""
    if f"{TEXT}.npy" not in archive.namelist():
        raise ValueError("not a fastrec checkpoint")
    head = json.loads(str(read_array(archive, TEXT, 0)))
    if head["format"] != FORMAT:
        raise ValueError(f"format {head['format']!r}, but this fastrec reads format {FORMAT}")
    for key in sorted(settings.keys() | head["settings"].keys()):
        there, here = (some.get(key, "not set") for some in (head["settings"], settings))
        if there != here:
            raise ValueError(
                f"this is the checkpoint of another training: {key} is {there} there, and here it is {here}; "
                "use the same, or another file"
            )
    if not 0 <= head["epochs"] <= epochs:
        raise ValueError(f"this checkpoint holds {head['epochs']} epochs; epochs is {epochs}, give as many")
    log.resize(head["epochs"])
    found, c = {}, rnn._config
    for name, array in listing(rnn, optimizer, log, beside).items():
        shapes, nbytes = [array.shape], array.nbytes
        if name == "optimizer.learning_rate":  # callbacks may set one for all networks, or one for each
            shapes, nbytes = [(), c.lead], min(8 * c.k, archive.getinfo(f"{name}.npy").file_size)
        found[name] = read_array(archive, name, nbytes)
        if found[name].shape not in shapes or found[name].dtype != array.dtype:
            raise ValueError(f"damaged, {name} is {found[name].shape}, {found[name].dtype}")
    return found


def listing(rnn: RNN, optimizer: Optimizer, log: Log, beside: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of a checkpoint by name; those of network and log are no copies, to be filled in place."""
    kept = optimizer._beside(rnn.parameters, rnn._config.models, "cpu")
    return {
        **{f"parameters.{key}": array for key, array in rnn.parameters.items()},
        **{f"optimizer.{name}": array for name, array in optimizer._state_dict(kept).items()},
        **{f"history.{name}": curve for name, curve in log.curves.items()},
        "history.seconds": log.seconds,
        "history.diverged": log.diverged,
        "history.highest": log.highest,
        **beside,
    }
