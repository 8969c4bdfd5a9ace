"""Writing files so that they are whole or not there, also after a power failure."""

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .kernels.interruption import uninterrupted


class DamagedFile(ValueError):
    """A file that was cut or overwritten, or made to do harm."""


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError unless a file can be written at path, in a folder that exists; no file is left behind."""
    path = Path(path)
    try:
        require_file(path)
        with uninterrupted():
            os.close(os.open(path, os.O_WRONLY))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        if error.errno is None:
            raise
        if error.errno != errno.EACCES:  # its mode forbids writing to it, but perhaps not replacing it
            raise type(error)(f"{path}: cannot be written: {error.strerror}; give another name") from None
    folder = target_of(path).parent
    try:
        # A real file, because os.access knows neither read-only file systems nor quotas.
        with uninterrupted(), tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(f"{path}: cannot write to the folder {folder}: {error.strerror}") from None


def require_file(path: str | os.PathLike[str]) -> None:
    """Raise OSError unless path is a regular file: opening a pipe would block until its other end is open."""
    mode = os.stat(os.fspath(path)).st_mode  # fspath, as an int would be an open file
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is a device or a pipe; give the name of a file")


def target_of(path: str | os.PathLike[str]) -> Path:
    """The file that path names, behind all symbolic links: a link stays one when its file is replaced."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)


@contextmanager
def new_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of an empty file beside path, which replaces path at the end.

    The new file is on the disk before it replaces the old one, whose permissions and group it gets; a power
    failure at any moment leaves the old file or the new one, and after the end the new one.  It is removed if
    the body raises.
    """
    target = target_of(path)
    # Writers choose the format by the suffix, so it is kept; the stem is cut, because it may have the maximum
    # length of a name already.
    temporary = target.with_name(f".{target.stem[:32]}.{secrets.token_hex(4)}{target.suffix}")
    try:
        try:
            old = os.stat(target)
        except (FileNotFoundError, NotADirectoryError):
            old = None
        # Nobody else reads a new version of a private file, nor before it is complete.
        mode = 0o666 if old is None else 0o600
        descriptor = None
        try:
            with uninterrupted():
                descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
            yield temporary
            sync(descriptor, old)
        finally:
            if descriptor is not None:
                os.close(descriptor)
        move(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.strerror:  # a full disk raises an error without a file name
            raise type(error)(f"{path}: cannot be written: {error.strerror}") from None
        raise


def sync(descriptor: int, old: os.stat_result | None) -> None:
    """Wait until an open file is on the disk, with the permissions, owner and group of an old one."""
    if old is not None and hasattr(os, "fchmod"):
        new, mode = os.fstat(descriptor), stat.S_IMODE(old.st_mode) & 0o777
        if new.st_gid != old.st_gid:
            try:
                os.fchown(descriptor, -1, old.st_gid)
            except OSError:  # what the old group could do is not given to another one
                mode &= ~0o070
        if new.st_uid != old.st_uid:
            with suppress(OSError):  # only root can give a file to its owner
                os.fchown(descriptor, old.st_uid, -1)
        os.fchmod(descriptor, mode)
    os.fsync(descriptor)


def move(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Give a file the name of another one, which it replaces, and wait until the folder is on the disk."""
    os.replace(source, target)
    try:
        with uninterrupted():
            descriptor = os.open(Path(target).parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:  # Windows, file systems that cannot, folders that may be written to but not read
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOTSUP):
            raise


def require_suffix(path: str | os.PathLike[str], *suffixes: str) -> None:
    """Raise ValueError unless path has one of the suffixes, FileNotFoundError unless its folder exists."""
    if Path(path).suffix.lower() not in suffixes:
        raise ValueError(f"{path}: the suffix must be {' or '.join(suffixes)}, got {Path(path).suffix!r}")
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {Path(path).parent} does not exist")
