"""Writing files so that they are whole or not there."""

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError unless a file can be written at path, in a folder that exists; no file is left behind."""
    path = Path(path)
    try:
        require_file(path)
        os.close(os.open(path, os.O_WRONLY))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        if error.errno is None:
            raise
        if error.errno != errno.EACCES:  # its mode forbids writing to it, but perhaps not replacing it
            raise type(error)(f"{path}: cannot be written: {error.strerror}; give another name") from None
    try:
        # A real file, because os.access knows neither read-only file systems nor quotas.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise type(error)(f"{path}: cannot write to the folder {path.parent}: {error.strerror}") from None


def require_file(path: str | os.PathLike[str]) -> None:
    """Raise OSError unless path is a regular file: opening a pipe would block until its other end is open."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is a device or a pipe; give the name of a file")


@contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside path; it replaces path at the end, or is removed if the body raises."""
    target = Path(path)
    # Not mkstemp, whose files only the user can read. Writers choose the format by the suffix, so it is kept;
    # the stem is cut, because it may have the maximum length of a name already.
    temporary = target.with_name(f".{target.stem[:32]}.{secrets.token_hex(4)}{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.strerror:  # a full disk raises an error without a file name
            raise type(error)(f"{path}: cannot be written: {error.strerror}") from None
        raise


def require_suffix(path: str | os.PathLike[str], *suffixes: str) -> None:
    """Raise ValueError unless path has one of the suffixes, FileNotFoundError unless its folder exists."""
    if Path(path).suffix.lower() not in suffixes:
        raise ValueError(f"{path}: the suffix must be {' or '.join(suffixes)}, got {Path(path).suffix!r}")
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {Path(path).parent} does not exist")
