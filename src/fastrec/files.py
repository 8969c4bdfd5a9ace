"""Files that are whole or not there."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError unless a file can be written at path, in a folder that exists; leaves nothing there."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    try:
        # Made, not asked for with os.access, which knows neither read-only file systems nor quotas.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise type(error)(f"{path}: cannot write to the folder {path.parent}: {error.strerror}") from None


@contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside path: moved to path at the end, removed instead if the body raises."""
    target = Path(path)
    # Not mkstemp, whose files nobody else may read. The suffix stays, as writers choose the format by it.
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def require_suffix(path: str | os.PathLike[str], *suffixes: str) -> None:
    """Raise ValueError unless path ends in one of suffixes, FileNotFoundError unless its folder exists."""
    if Path(path).suffix.lower() not in suffixes:
        raise ValueError(f"{path}: the suffix must be {' or '.join(suffixes)}, got {Path(path).suffix!r}")
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {Path(path).parent} does not exist")
