"""Checkpoints of a training: a NumPy .npz archive of all that the epochs to come depend on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from ..archives import Archive, open_archive, read_array, read_text, write_archive
from ..backend import backend_of, move
from ..kernels.interruption import uninterrupted
from ..messages import shown
from ..validation import as_choice
from .config import MAX_SIZE, Array
from .history import TrainingLog
from .optimizers import Optimizer
from .serialization import EXTRA_TEXT, TRAINING_TEXT, read_stored_seed

LONGEST = 400  # characters of a setting
OPTIMIZER = "optimizer."  # what the names of the arrays of an optimiser begin with
PER_NETWORK = tuple(f"{OPTIMIZER}{name}" for name in ("learning_rate", "damping"))  # one, or one for each

# Called with the error where a checkpoint that nobody asked for cannot be written, and the training goes on.
UNWRITTEN: ContextVar[Callable[[OSError], object] | None] = ContextVar("UNWRITTEN", default=None)


def describe(data: Iterable[Array | None] | None) -> str:
    """Identify the arrays of sequences in a line."""
    if data is None:
        return "none"
    return checksum(*(array for array in data if array is not None))


def checksum(*arrays: Array) -> str:
    """Identify arrays in a line, by their shapes and a checksum."""
    total = 0
    for array in arrays:
        total = crc32(np.ascontiguousarray(move(array, "cpu")).data, total)
    return f"{', '.join(str(array.shape) for array in arrays)} with checksum {total:08x}"


def shorten(settings: dict[str, Any]) -> dict[str, str]:
    """Turn settings into texts, and cut long ones (such as a learning rate for each of many networks)."""
    texts = {key: str(value) for key, value in settings.items()}
    return {
        key: text if len(text) <= LONGEST else f"{text[:LONGEST]}... with checksum {crc32(text.encode()):08x}"
        for key, text in texts.items()
    }


def stored_seed(path: str | os.PathLike[str]) -> int | None:
    """Return the seed of the training that a checkpoint is of, None if there is no file yet."""
    if not Path(path).exists():
        return None
    with open_archive(path, "checkpoint") as archive:
        return int(read_text(archive, TRAINING_TEXT, "checkpoint")["settings"]["seed"])


def read_changes(changed: str | Sequence[str], known: Sequence[str], checkpoint: Any) -> frozenset[str]:
    """Check the argument `changed` of a training, of whose settings those known may change."""
    names = [changed] if isinstance(changed, str) else changed
    if not np.iterable(names):
        raise ValueError(f"changed is {shown(changed)}; give the names of settings")
    if names and checkpoint is None:
        raise ValueError(f"changed is {shown(changed)} without a checkpoint; give both, or leave it out")
    return frozenset(as_choice("changed", name, known) for name in names)


class TrainingState(NamedTuple):
    """What the epochs to come depend on besides settings and data.

    trained: those of the parameters that the optimiser changes.  fits: tells whether arrays that are to be
    filled in, all by name, may be those of this training.
    """

    parameters: Mapping[str, Array]
    trained: Mapping[str, Array]
    models: int | None
    optimizer: Optimizer
    log: TrainingLog
    extra: Mapping[str, Array]
    fits: Callable[[Mapping[str, Array]], bool] = lambda stored: True

    def arrays(self) -> dict[str, Array]:
        """All arrays by name; those of the optimiser are copies, the others can be filled in place."""
        slots = self.optimizer._slots(self.trained, self.models, "cpu")
        return {
            **{f"parameters.{key}": array for key, array in self.parameters.items()},
            **{f"{OPTIMIZER}{name}": array for name, array in self.optimizer._state_dict(slots).items()},
            **{f"history.{name}": curve for name, curve in self.log.curves.items()},
            "history.seconds": self.log.seconds,
            "history.diverged": self.log.diverged,
            "history.highest": self.log.highest,
            **self.extra,
        }


@dataclass(frozen=True)
class Checkpoint:
    """The file of a training with such settings, written every so many epochs.

    changed: names of settings that need not be those of the file.  known: of those that could be.  beside:
    what models that are read from it need besides a network, with the seed of the first weights.
    """

    path: str | os.PathLike[str]
    settings: dict[str, str]
    every: int = 1
    most_epochs: int = MAX_SIZE
    changed: frozenset[str] = frozenset()
    known: Sequence[str] = ()
    beside: dict[str, Any] = field(default_factory=dict)

    def resume(self, state: TrainingState) -> None:
        """Fill the state from the file if it is there, else write it.

        Raises ValueError naming the file if it is no checkpoint, is damaged, is that of other settings, or
        holds more epochs than `most_epochs`; parameters and optimiser are not changed then.
        """
        if not Path(self.path).exists():
            self.write(state)  # so that a start after an interrupted first epoch finds the first parameters
            return
        rate = state.optimizer.learning_rate
        with open_archive(self.path, "checkpoint") as archive:
            different = self._compare(read_text(archive, TRAINING_TEXT, "checkpoint"))
            stored = self._read(archive, state)
            self.beside["seed"] = read_stored_seed(archive, state.models)
            names = {name: name.removeprefix(OPTIMIZER) for name in stored if name.startswith(OPTIMIZER)}
            with uninterrupted():
                state.optimizer.load_state_dict({short: stored[name] for name, short in names.items()})
                for name, array in state.arrays().items():
                    array[...] = move(stored[name], backend_of(array))
                if "optimizer" in different:
                    state.optimizer.learning_rate = rate

    def write(self, state: TrainingState) -> None:
        """Write all that `resume` needs to go on from here, replacing the file in one step."""
        text = {"epochs": state.log.epochs, "settings": self.settings}
        arrays = {name: move(array, "cpu") for name, array in state.arrays().items()}
        try:
            write_archive(self.path, {TRAINING_TEXT: text, EXTRA_TEXT: self.beside}, arrays)
        except OSError as error:
            if (told := UNWRITTEN.get()) is None:
                raise
            told(error)

    def _compare(self, head: dict[str, Any]) -> set[str]:
        """The settings that are not those of the file; ValueError if they may not differ."""
        different = set()
        for key in sorted(self.settings.keys() | head["settings"].keys()):
            there, here = (settings.get(key, "left out") for settings in (head["settings"], self.settings))
            if there == here:
                continue
            different.add(key)
            rules = {text.partition("(")[0] for text in (there, here)}
            may = key in self.known and "none" not in rules and (key != "optimizer" or len(rules) == 1)
            if not (may and key in self.changed):
                cure = f', changed="{key}"' * may
                raise ValueError(
                    f"this is the checkpoint of another training: {key} is {there} there, and here it is "
                    f"{here}; use the same{cure}, or another file"
                )
        return different

    def _read(self, archive: Archive, state: TrainingState) -> dict[str, Array]:
        """The arrays of the file; ValueError, or whatever NumPy raises, if it is no checkpoint."""
        head = read_text(archive, TRAINING_TEXT, "checkpoint")
        if not 0 <= head["epochs"] <= self.most_epochs:
            raise ValueError(
                f"this checkpoint holds {head['epochs']} epochs; epochs is {self.most_epochs}, give as many"
            )
        if 8 * head["epochs"] > archive.members["history.seconds"].size:
            raise ValueError(f"damaged, it does not hold the times of {head['epochs']} epochs")
        state.log.resize(head["epochs"])
        stored = {}
        for name, array in state.arrays().items():
            if name not in archive.members:  # files of version 0.1.0 do not have these
                if name == "untrained":
                    stored[name] = array
                    continue
                if name.startswith("best."):
                    stored[name] = stored[name.replace("best.", "parameters.", 1)]
                    continue
            shapes, nbytes = [array.shape], array.nbytes
            if name in PER_NETWORK:  # callbacks may set one for all networks, or one for each
                shapes = [()] if state.models is None else [(), (state.models,)]
                nbytes = min(8 * (state.models or 1), archive.members[name].size)
            stored[name] = read_array(archive, name, nbytes)
            if stored[name].shape not in shapes or stored[name].dtype != array.dtype:
                raise ValueError(f"damaged, {name} is {stored[name].shape}, {stored[name].dtype}")
        seconds = stored["history.seconds"]
        if not (np.isfinite(seconds).all() and (seconds >= 0).all() and state.fits(stored)):
            raise ValueError("damaged, what is left to do does not go with what has been done")
        return stored
