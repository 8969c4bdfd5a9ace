"""Files are written whole or not at all, also when the power fails, with the permissions that they had."""

from __future__ import annotations

import ast
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrec
from fastrec import cli, files
from fastrec.bench.report import Report
from fastrec.files import new_file, require_writable
from fastrec.hopfield.storage_capacity.result import SCHEMA
from fastrec.jobs.export import export
from fastrec.jobs.store import RunFile
from fastrec.messages import printable, visible
from fastrec.plot import save_figure
from fastrec.rnn.checkpoint import Checkpoint, TrainingState
from fastrec.rnn.history import TrainingLog

ROOT = Path(fastrec.__file__).parent


class Disk:
    """Stands for the module os in `fastrec.files`, and knows what a power failure may leave in a folder.

    Until it is synced, what was written to a file may be on the disk in whole, in part or not at all; until
    its folder is synced, a name may lead to any file that has had it since.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.stat().st_ino
        self.paths = {path.stat().st_ino: path for path in folder.iterdir()}
        self.safe = {number: path.read_bytes() for number, path in self.paths.items()}
        self.names: dict[Path, list[int | None]] = {path: [number] for number, path in self.paths.items()}
        self.states: list[dict[Path, set[bytes | None]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def contents(self, number: int | None) -> set[bytes | None]:
        """What may be in a file, None if it is not there."""
        if number is None:
            return {None}
        path = self.paths[number]
        current = path.exists() and path.stat().st_ino == number
        whole = path.read_bytes() if current else self.safe.get(number, b"unknown")
        if self.safe.get(number) == whole:
            return {whole}
        return {self.safe.get(number, b""), b"", whole[: len(whole) // 2], whole}

    def fail(self) -> None:
        """Note what a power failure at this moment may leave under each name."""
        self.states.append({name: set().union(*map(self.contents, may)) for name, may in self.names.items()})

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor, number = os.open(path, flags, mode), 0
        if flags & os.O_CREAT:
            number = os.fstat(descriptor).st_ino
            self.paths[number] = Path(path)
            self.names.setdefault(Path(path), [None]).append(number)
        self.fail()
        return descriptor

    def fsync(self, descriptor: int) -> None:
        self.fail()
        number = os.fstat(descriptor).st_ino
        if number == self.folder:
            self.names = {name: may[-1:] for name, may in self.names.items()}
        else:
            self.safe[number] = self.paths[number].read_bytes()
        self.fail()

    def replace(self, source: Path, target: Path) -> None:
        self.fail()
        number = os.stat(source).st_ino
        os.replace(source, target)
        self.paths[number] = Path(target)
        self.names.setdefault(Path(target), [None]).append(number)
        self.names[Path(source)].append(None)
        self.fail()


def network(path: Path) -> None:
    fastrec.RNN(2, 3, seed=1).save(path)


def checkpoint(path: Path) -> None:
    rnn, log = fastrec.RNN(2, 3, seed=1), TrainingLog(None, "mse", False)
    Checkpoint(path, {}).write(TrainingState(rnn.parameters, rnn.parameters, None, fastrec.SGD(0.1), log, {}))


def text_model(path: Path) -> None:
    model = fastrec.CharModel(2, seed=1, backend="reference")
    model.fit("tick tock " * 9, epochs=1, batch_size=2, steps=5, progress=False)
    model.save(path)


def table(path: Path) -> None:
    fastrec.capacity(10, 3, backend="reference").save(path)


def curves(path: Path) -> None:
    model = fastrec.CharModel(2, seed=1, backend="reference")
    model.fit("tick tock " * 9, epochs=1, batch_size=2, steps=5, progress=False).save(path)


def picture(path: Path) -> None:
    save_figure(fastrec.capacity(10, 3, backend="reference")._figure(), path, 30)


def report(path: Path) -> None:
    Report("m", "1", "2026", 1, {"SGEMM": 1.0}).save(path)


def exported(path: Path) -> None:
    run = path.with_name("source.db")
    run.write_bytes(RUN)
    export(run, path)


def salvaged(path: Path) -> None:
    with RunFile(path, SCHEMA) as file:
        assert len(file.rows()) == 5


RUN = (Path(__file__).parent / "data/0.1.0/capacities.db").read_bytes()
WRITERS: dict[str, tuple[Callable[[Path], None], bytes | None]] = {  # and what they replace
    "network.npz": (network, b"old"),
    "new.npz": (network, None),
    "checkpoint.npz": (checkpoint, b"old"),
    "text.npz": (text_model, b"old"),
    "encoder.npz": (lambda path: fastrec.EncoderDecoder(2, 2, 3).save(path), b"old"),
    "table.csv": (table, b"old"),
    "curves.csv": (curves, b"old"),
    "picture.png": (picture, b"old"),
    "report.json": (report, b"old"),
    "run.csv": (exported, b"old"),
    "run.parquet": (exported, b"old"),
    "run.db": (salvaged, RUN[:8192] + bytes(4096)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_power_failure_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write, old = WRITERS[name]
    if name == "run.parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    if old is not None:
        path.write_bytes(old)
    disk = Disk(tmp_path)
    monkeypatch.setattr(files, "os", disk)
    write(path)
    disk.fail()
    new = path.read_bytes()
    assert len(new) > 10 and len(disk.states) > 6
    for state in disk.states:
        assert state.get(path, {old}) <= {old, new}
    assert disk.states[-1][path] == {new} and not list(tmp_path.glob(".*"))


def test_a_disk_that_is_not_waited_for_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sync, move in ((lambda *_: None, files.move), (files.sync, lambda *names: files.os.replace(*names))):
        path = tmp_path / "a.npz"
        path.write_bytes(b"old")
        disk = Disk(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(files, "os", disk)
            patch.setattr(files, "sync", sync)
            patch.setattr(files, "move", move)
            network(path)
        disk.fail()
        new = path.read_bytes()
        assert not all(state[path] <= {b"old", new} for state in disk.states) or disk.states[-1][path] != {
            new
        }


def test_every_file_is_written_in_one_place() -> None:
    """Modules that write, and how: in a block of `new_file`, except kernels, which have checksums."""
    for path in ROOT.rglob("*.py"):
        name = str(path.relative_to(ROOT))
        if name in ("files.py", "kernels/cpu/cache.py", "display.py"):  # the last one writes to memory
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        safe = {
            inner
            for block in ast.walk(tree)
            if isinstance(block, ast.With) and "new_file" in ast.unparse(block.items[0])
            for inner in ast.walk(block)
        }
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node not in safe):
            text = ast.unparse(call.func)
            opens = text.rpartition(".")[2] == "open" and any(
                isinstance(word, ast.Constant) and set(str(word.value)) & set("wxa+") and len(word.value) < 4
                for word in [*call.args, *(keyword.value for keyword in call.keywords)]
                if isinstance(word, ast.Constant) and isinstance(word.value, str)
            )
            writes = text.rpartition(".")[2] in ("savefig", "write_bytes", "write_text", "copyfile", "savez")
            assert not opens and not writes, f"{name}: {ast.unparse(call)}"
            assert text not in ("os.replace", "os.rename", "shutil.move"), f"{name}: {ast.unparse(call)}"


def test_permissions_and_links_are_kept(tmp_path: Path) -> None:
    real = tmp_path / "real" / "a.npz"
    real.parent.mkdir()
    link = tmp_path / "link.npz"
    link.symlink_to(real)
    network(link)  # a link to a file that is not there yet
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(real.stat().st_mode) == 0o666 & ~mask
    for mode in (0o600, 0o640, 0o444, 0o664):
        real.chmod(mode)
        before = real.stat().st_ino
        require_writable(link)
        network(link)
        assert link.is_symlink() and stat.S_IMODE(real.stat().st_mode) == mode
        assert real.stat().st_ino != before and fastrec.RNN.load(link)
    assert os.listdir(real.parent) == ["a.npz"] and len(os.listdir(tmp_path)) == 2


def test_nobody_reads_a_private_file_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    path.chmod(0o600)
    with new_file(path) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        temporary.write_text("new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_text() == "new"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_and_group_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    os.chown(path, 1234, 2345)
    path.chmod(0o640)
    table(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)

    def refuse(descriptor: int, owner: int, group: int) -> None:
        raise PermissionError("not root")

    monkeypatch.setattr(os, "fchown", refuse)
    table(path)  # what the old group could read is not shown to another one
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_text_of_files_is_shown_without_control_characters() -> None:
    assert printable("a\x1b[31m\nb\x9bc\u202e") == r"a\x1b[31m\nb\x9bc\u202e"
    assert visible("a\n\tb\x07\x1b[31m\r\x9b\xa0") == "a\n\tb\\x07\\x1b[31m\\r\\x9b\xa0"
    assert printable("Zoë, 文字") == "Zoë, 文字" and printable("a" * 9, most=3) == "aaa..."


ESCAPE = "\x1b]0;owned\x07\x1b[31m"


def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """All that a command prints."""
    monkeypatch.setattr(cli, "hear_interrupts", lambda: None)
    monkeypatch.setattr(sys, "argv", ["fastrec", *arguments])
    with pytest.raises(SystemExit):
        cli.main()
    return "".join(capsys.readouterr())


def test_terminals_obey_no_file_and_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = fastrec.CharModel(2, seed=1, backend="reference")
    model.fit("".join(ESCAPE) * 9, epochs=1, batch_size=2, steps=5, progress=False)
    model.save(f"{ESCAPE}.npz")
    Path(f"{ESCAPE}.db").write_bytes(RUN)
    network(Path("network.npz"))
    damaged = dict(np.load("network.npz"))
    settings = json.loads(str(damaged["fastrec_rnn"]))
    damaged["fastrec_rnn"] = np.array(json.dumps(settings | {ESCAPE: 1}))
    np.savez("network.npz", **damaged)
    for arguments in (
        ("text", "sample", f"{ESCAPE}.npz", "--backend", "reference", "--prompt", "\x1b"),
        ("text", "sample", f"{ESCAPE}.npz", "--backend", "reference", "--samples", "2"),
        ("export", f"{ESCAPE}.db", f"{ESCAPE}.csv"),
        ("export", f"{ESCAPE}.none", "a.csv"),
        ("export", f"{ESCAPE}.db", "a.csv", ESCAPE),
        ("plot", f"{ESCAPE}.db", "--out", f"{ESCAPE}.png"),
        ("plot", f"--{ESCAPE}"),
        (ESCAPE,),
        (f"--{ESCAPE}",),
        ("text", ESCAPE),
    ):
        shown = command(monkeypatch, capsys, *arguments)
        assert "\x1b" not in shown and "\x07" not in shown and r"\x1b" in shown, (arguments, shown)
    with pytest.raises(ValueError, match=r"damaged, its sizes are .*\\x1b"):
        fastrec.RNN.load("network.npz")
