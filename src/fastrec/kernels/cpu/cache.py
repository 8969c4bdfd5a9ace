"""Compiled kernels on disk: one folder for each user, shared by environments and processes.

The folder holds machine code, which is run unchecked.  So nothing is read that anybody but the user and root
could have written, and each file begins with the checksum of the rest.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import pickle
import shutil
import stat
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import compiler, config, serialize
from numba.core.registry import cpu_target

from ..interruption import uninterrupted

log = logging.getLogger("fastrec")

NAME = "kernels-"  # prefix of a folder for each version of the sources and of the compiler
MOST, DAYS = 32, 30  # number of such folders that are kept, and for how long if unused


def location() -> Path:
    """The cache folder: FASTREC_CACHE_DIR, a folder in NUMBA_CACHE_DIR, or the platform's."""
    if folder := os.environ.get("FASTREC_CACHE_DIR"):
        return Path(folder).absolute()
    if folder := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(folder).absolute() / "fastrec"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "fastrec" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fastrec"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastrec"


def sources(place: Path) -> str:
    """Checksum of the sources of all kernels, and of the constants in the folder above, which they use."""
    files = [place.parent / "__init__.py", *sorted(place.glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


# Read at import: a running process does not compile what is edited later.
SOURCES = sources(Path(__file__).parent)


@functools.cache
def key() -> str:
    """What machine code depends on besides the types of arguments, as the name of a folder."""
    versions = numba.__version__, llvmlite.__version__, sys.implementation.cache_tag
    machine = cpu_target.target_context.codegen().magic_tuple()
    settings = config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE, config.BOUNDSCHECK
    text = repr((SOURCES, versions, machine, settings))
    return NAME + hashlib.sha256(text.encode()).hexdigest()[:20]


def others_can_write(status: os.stat_result) -> bool:
    """Whether anybody but this user and root may change a file or folder of this status."""
    if not hasattr(os, "geteuid"):
        return False
    return status.st_uid not in (0, os.geteuid()) or bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


@functools.cache
def folder() -> Path | None:
    """The folder of kernels, made if it is missing, or None (warned once) if none can be made or trusted."""
    try:
        for path in (location(), location() / key()):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if others_can_write(path.stat()):
                not_kept(f"{path} belongs to another user or can be written to by others")
                return None
        with suppress(OSError):  # on a read-only medium nothing is pruned either
            os.utime(path)
            prune(path.parent)
    except (OSError, RuntimeError) as error:  # Path.home() raises RuntimeError
        not_kept(f"{location_name()}: {getattr(error, 'strerror', None) or error}")
        return None
    return path


def location_name() -> str:
    try:
        return str(location())
    except RuntimeError:
        return "no home folder"


def prune(place: Path) -> None:
    """Remove folders of kernels that have long been unused, and the oldest if there are many."""
    used = {path: path.stat().st_mtime for path in place.glob(NAME + "*")}
    newest = sorted(used, key=lambda path: used[path], reverse=True)
    for number, path in enumerate(newest):
        if number >= MOST or used[path] < time.time() - DAYS * 86400:
            shutil.rmtree(path, ignore_errors=True)


def not_kept(why: str) -> None:
    """Warn once that kernels cannot be kept."""
    if not Cache.said:
        Cache.said = True
        log.warning("compiled kernels are not kept: %s; set FASTREC_CACHE_DIR to a folder of your own", why)


class Cache:
    """The files of one kernel, one for each combination of types of arguments."""

    said = False

    def __init__(self, function: Any) -> None:
        module = sys.modules[function.__module__]
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        if module.__name__.rpartition(".")[0] != __package__:  # whose sources `key` does not cover
            file = getattr(module, "__file__", None)
            source = Path(file).read_bytes() if file else function.__code__.co_code
            self.name += "-" + hashlib.sha256(source).hexdigest()[:20]

    def path(self, args: tuple[Any, ...]) -> Path | None:
        """The file of the kernel for arguments of these types."""
        kept = folder()
        return kept and kept / f"{self.name}-{hashlib.sha256(repr(args).encode()).hexdigest()[:20]}"

    def load(self, args: tuple[Any, ...]) -> Any:
        """The compiled kernel, or None if there is no file or it cannot be trusted."""
        path = self.path(args)
        if path is None:
            return None
        try:
            flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
            with uninterrupted(), open(os.open(path, flags), "rb") as file:
                if others_can_write(os.fstat(file.fileno())):
                    return None
                data = file.read()
            if hashlib.sha256(data[32:]).digest() != data[:32]:
                return None
            cpu_target.target_context.refresh()  # what machine code calls must be loaded
            kernel = compiler.CompileResult._rebuild(cpu_target.target_context, *pickle.loads(data[32:]))
            return kernel if kernel.signature.args == args else None
        except Exception:  # unpickling what another version wrote may raise any
            return None

    def save(self, args: tuple[Any, ...], compiled: Any) -> None:
        """Write a compiled kernel to disk, or warn why that is not possible."""
        path = self.path(args)
        if path is None:
            return
        data = serialize.dumps(compiled._replace(type_annotation="")._reduce())
        try:
            with uninterrupted(), tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                try:
                    file.write(hashlib.sha256(data).digest() + data)
                    file.close()
                    os.replace(file.name, path)
                except BaseException:
                    with suppress(OSError):
                        os.unlink(file.name)
                    raise
        except OSError as error:
            not_kept(f"{error.filename or path.parent}: {error.strerror}")


def size() -> int:
    """Bytes of all kernels on disk."""
    with suppress(OSError, RuntimeError):
        return sum(path.stat().st_size for path in location().glob(f"{NAME}*/*"))
    return 0
