"""Compiled kernels on disk: where they are kept, who may have written them, what becomes of damaged ones."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastrec.kernels.cpu import cache, jit
from fastrec.kernels.cpu.cache import Cache

NOWHERE = os.devnull + "/cache"
HOMES = ("FASTREC_CACHE_DIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME")


def twice(x: Any) -> Any:
    return 2 * x


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Gives the warnings so far, of a cache that is used for the first time."""
    cache.folder.cache_clear()
    monkeypatch.setattr(Cache, "said", False)
    yield lambda: [record.message for record in caplog.records if record.levelname == "WARNING"]
    cache.folder.cache_clear()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: Any) -> Path:
    """The folder of a cache that is empty."""
    monkeypatch.setenv("FASTREC_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Calls a kernel in what is a new process for the cache; how often that compiled it."""
    made = []

    class Counted(jit.Compilation):
        def __enter__(self) -> Any:
            made.append(self.name)
            return super().__enter__()

    monkeypatch.setattr(jit, "Compilation", Counted)

    def call() -> int:
        cache.folder.cache_clear()
        made.clear()
        kernel = jit.Kernel(twice)
        assert kernel(21) == 42 and kernel(0.5) == 1.0
        return len(made)

    return call


def files(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*twice*") if path.is_file())


def test_kernels_are_compiled_once(place: Path, compiled: Callable[[], int], warnings: Any) -> None:
    assert [compiled(), compiled()] == [2, 0]
    assert len(files(place)) == 2 and not warnings()
    for path in (place, files(place)[0].parent):
        assert path.stat().st_mode & 0o777 == 0o700
    assert files(place)[0].stat().st_mode & 0o077 == 0
    assert cache.size() == sum(path.stat().st_size for path in files(place))


def test_the_key_follows_sources_and_the_constants_that_they_import(tmp_path: Path) -> None:
    package = Path(cache.__file__).parents[1]
    shutil.copytree(package / "cpu", tmp_path / "cpu", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(package / "__init__.py", tmp_path)
    seen = {cache.sources(tmp_path / "cpu")}
    assert seen == {cache.SOURCES}
    for file in ("__init__.py", "cpu/random.py", "cpu/gru.py"):
        with (tmp_path / file).open("a") as source:
            source.write("# another\n")
        seen.add(cache.sources(tmp_path / "cpu"))
    assert len(seen) == 4


def test_a_relative_folder_stays_where_it_was(
    warnings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTREC_CACHE_DIR", "cache")
    monkeypatch.chdir(tmp_path)
    folder = cache.folder()
    assert folder is not None and folder.parent == tmp_path / "cache"


def test_damaged_kernels_are_compiled_again(place: Path, compiled: Callable[[], int], warnings: Any) -> None:
    compiled()
    path, other = files(place)
    good = path.read_bytes()
    middle = len(good) // 2
    turned = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
    for bad in (b"", good[:1], good[:middle], good[:-1], bytes(300), b"garbage" * 99, turned):
        path.write_bytes(bad)
        assert [compiled(), compiled()] == [1, 0]
    path.write_bytes(other.read_bytes())  # of other arguments, but whole
    assert [compiled(), compiled()] == [1, 0]
    path.unlink()
    path.mkdir()
    assert compiled() == 1
    assert len(warnings()) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other rights")
@pytest.mark.parametrize("which", ["folder", "kernels", "file"])
@pytest.mark.parametrize("way", ["group", "all", "owner"])
def test_what_others_can_write_is_not_run(
    place: Path, compiled: Callable[[], int], warnings: Any, which: str, way: str
) -> None:
    compiled()
    path = {"folder": place, "kernels": files(place)[0].parent, "file": files(place)[0]}[which]
    if way == "owner":
        if os.geteuid():
            pytest.skip("only root can give files away")
        os.chown(path, 12345, -1)
    else:
        path.chmod(path.stat().st_mode | (0o020 if way == "group" else 0o002))
    if which == "file":
        assert compiled() == 1 and not warnings()
        assert compiled() == 0  # and another file is in its place
    else:
        assert [compiled(), compiled()] == [2, 2]
        assert len(warnings()) == 1 and str(path) in warnings()[0] and "FASTREC_CACHE_DIR" in warnings()[0]


def test_a_link_is_not_followed(place: Path, compiled: Callable[[], int], tmp_path: Path) -> None:
    compiled()
    path = files(place)[0]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert [compiled(), compiled()] == [1, 0] and not path.is_symlink()


@pytest.mark.parametrize("bad", [NOWHERE, "/proc/cache", "file"])
def test_where_no_folder_can_be_made(
    bad: str, tmp_path: Path, compiled: Callable[[], int], warnings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FASTREC_CACHE_DIR", str(tmp_path / bad))
    assert [compiled(), compiled()] == [2, 2]
    assert len(warnings()) == 1 and "FASTREC_CACHE_DIR" in warnings()[0]


FULL = """
import resource
from fastrec.kernels.cpu.jit import Kernel
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
print(Kernel(lambda x: 2 * x)(21))
"""


def test_a_full_disk_is_told_once(tmp_path: Path) -> None:
    environment = {**os.environ, "FASTREC_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", FULL], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert done.stderr.count("\n") == 1 and "File too large" in done.stderr
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_cache_that_is_only_read(
    place: Path, compiled: Callable[[], int], warnings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled()
    files(place)[0].unlink()

    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for module, name in ((os, "utime"), (os, "replace"), (cache.tempfile, "NamedTemporaryFile")):
        monkeypatch.setattr(module, name, refuse)
    assert [compiled(), compiled()] == [1, 1]  # the other one is read
    assert len(warnings()) == 1 and "Read-only" in warnings()[0]


def test_the_place_is_chosen_by_the_first_that_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in HOMES:
        monkeypatch.setenv(name, str(tmp_path / name))
    folders = {
        "FASTREC_CACHE_DIR": tmp_path / "FASTREC_CACHE_DIR",
        "NUMBA_CACHE_DIR": tmp_path / "NUMBA_CACHE_DIR" / "fastrec",
        "XDG_CACHE_HOME": tmp_path / "XDG_CACHE_HOME" / "fastrec",
    }
    if sys.platform in ("win32", "darwin"):
        folders.pop("XDG_CACHE_HOME")
    for name, folder in folders.items():
        assert cache.location() == folder
        monkeypatch.delenv(name)


def test_old_kernels_are_pruned(place: Path, compiled: Callable[[], int]) -> None:
    compiled()
    kept = files(place)[0].parent
    for number in range(cache.MOST + 5):
        old = place / f"{cache.NAME}{number}"
        shutil.copytree(kept, old)
        age = time.time() - (cache.DAYS + 1) * 86400 if number == 0 else time.time() - 60 * number
        os.utime(old, (age, age))
    (place / "other").mkdir()
    assert compiled() == 0
    left = {path.name for path in place.iterdir()}
    assert {kept.name, "other", f"{cache.NAME}1"} <= left and f"{cache.NAME}0" not in left
    assert len(left) == cache.MOST + 1


def test_arguments_that_differ_are_other_kernels(place: Path) -> None:
    kernel = jit.Kernel(twice)
    frozen = np.arange(3.0)
    frozen.flags.writeable = False
    for value in (1, 1.0, np.float32(1), np.arange(3.0), np.arange(3), np.arange(6.0)[::2], frozen):
        np.testing.assert_array_equal(kernel(value), 2 * value)
    assert len(files(place)) == 7
