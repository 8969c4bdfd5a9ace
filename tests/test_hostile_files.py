"""Files that were made to do harm: memory that a small file asks for, code, values that cannot be."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks import memory

import fastrec
from fastrec import cli
from fastrec.files import DamagedFile
from fastrec.hopfield import RetrievalResult, ScalingResult
from fastrec.hopfield.storage_capacity.result import SCHEMA
from fastrec.jobs import database
from fastrec.jobs.database import UNFINISHED_SQL, Form
from fastrec.jobs.export import export
from fastrec.jobs.store import RunFile

MB = 10**6
DATA = Path(__file__).parent / "data/0.1.0"
ARCHIVE, TABLE, STROKES = (
    (2, 16 * MB),
    (20, 64 * MB),
    (40, 64 * MB),
)  # bytes of memory for each byte of a file, and for any file
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured with the tools of Linux")


@pytest.fixture(scope="module")
def measured() -> Iterator[Callable[..., str]]:
    """Reads a file, and gives how that ended, once it has taken no more memory than it may."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "FASTREC_BACKEND": "reference"}
    command = [sys.executable, memory.__file__]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:

        def read(reader: str, path: Path, room: tuple[int, int]) -> str:
            assert server.stdin is not None and server.stdout is not None
            size = path.stat().st_size
            print(json.dumps([reader, str(path)]), file=server.stdin, flush=True)
            found = json.loads(server.stdout.readline())
            assert found["bytes"] <= room[0] * size + room[1], (size, found)
            assert found["ending"] == "read" or str(path) in found["ending"], found
            assert "Traceback" not in found["ending"]
            return found["ending"]

        yield read
        assert server.stdin is not None
        server.stdin.close()


METHODS = {name: getattr(zipfile, f"ZIP_{name.upper()}") for name in ("stored", "deflated", "bzip2", "lzma")}
METHODS |= {name: getattr(zipfile, name) for name in dir(zipfile) if name == "ZIP_ZSTANDARD"}


def bomb(path: Path, method: int, size: int, said: int) -> None:
    """A network file whose array W_in has many zeros, and says how many."""
    parts = fastrec.RNN(2, 3).parameters
    fastrec.RNN(2, 3).save(path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        text, {"descr": "<f4", "fortran_order": False, "shape": parts["W_in"].shape}
    )
    with zipfile.ZipFile(path, "w", method) as new:
        for name, content in members.items():
            with new.open(name, "w", force_zip64=True) as member:
                if name != "W_in.npy":
                    member.write(content)
                    continue
                member.write(text.getvalue())
                for _ in range(size // MB):
                    member.write(bytes(MB))
    if said:
        content = bytearray(path.read_bytes())
        at = content.rindex(b"W_in.npy") - 46
        content[at + 24 : at + 28] = struct.pack("<L", said)
        path.write_bytes(content)


@linux
@pytest.mark.each_value
@pytest.mark.parametrize("said", [0, 152])
@pytest.mark.parametrize("method", METHODS)
def test_archives_take_no_more_than_their_size(
    tmp_path: Path, measured: Callable[..., str], method: str, said: int
) -> None:
    path = tmp_path / "a.npz"
    bomb(path, METHODS[method], 60 * MB if method != "stored" else 8 * MB, said)
    ending = measured("network", path, ARCHIVE)
    assert "damaged" in ending or "compressed" in ending


def archive(path: Path, **arrays: Any) -> None:
    np.savez(path, **arrays)


TEXTS = {  # what makes most of a few bytes
    "lists": "[" + "[]," * MB + "[]]",
    "dicts": "[" + "{}," * MB + "{}]",
    "words": json.dumps([f"{i:x}" for i in range(MB // 4)]),
    "floats": "[" + "1.5," * MB + "1]",
    "nested": "[" * MB,
    "keys": json.dumps({f"{i:x}": 1 for i in range(MB // 4)}),
    "wide": "[" + '"字",' * MB + '"字"]',
    "number": "1" * MB,
}


@linux
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in ("dicts", "wide"))) for name in TEXTS]
)
def test_texts_in_archives(tmp_path: Path, measured: Callable[..., str], name: str) -> None:
    path = tmp_path / "a.npz"
    model = fastrec.CharModel(2, seed=1, backend="reference")
    model.fit("tick tock " * 9, epochs=1, batch_size=2, steps=5, progress=False)
    model.save(path)
    arrays = dict(np.load(path))
    np.savez(path, **(arrays | {"fastrec_beside": np.array(TEXTS[name])}))
    assert "a.npz: " in measured("text model", path, ARCHIVE)
    symbols = TEXTS[name]
    settings = f'{{"format": 1, "unit": "character", "unknown": null, "seed": 1, "symbols": {symbols}}}'
    np.savez(path, **(arrays | {"fastrec_beside": np.array(settings)}))
    assert "a.npz: " in measured("text model", path, ARCHIVE)
    settings = (
        f'{{"format": 1, "vocabulary_size": 9, "min_count": 1, "seed": 1, "source": {symbols}, "target": []}}'
    )
    np.savez(path, **(arrays | {"fastrec_beside": np.array(settings)}))
    assert "a.npz: " in measured("translator", path, ARCHIVE)
    np.savez(path, **(arrays | {"fastrec_rnn": np.array(TEXTS[name])}))
    assert "a.npz: " in measured("network", path, ARCHIVE)


@linux
@pytest.mark.slow
def test_members_of_archives(tmp_path: Path, measured: Callable[..., str]) -> None:
    path = tmp_path / "a.npz"
    for count in (60_000, 80_000):  # 80 000 are more than fastrec writes
        with zipfile.ZipFile(path, "w") as file:
            for number in range(count):
                file.writestr(str(number), b"")
        assert "a.npz: " in measured("network", path, ARCHIVE)
    content = path.read_bytes()
    for count in (2, 0xFFFF):  # an end that says otherwise
        path.write_bytes(content[:-12] + struct.pack("<HH", count, count)[:2] * 2 + content[-8:])
        assert "a.npz: " in measured("network", path, ARCHIVE)


@linux
def test_a_large_network_takes_its_size_once(tmp_path: Path, measured: Callable[..., str]) -> None:
    path = tmp_path / "a.npz"
    fastrec.RNN(4000, 500, 4000, initial="uniform").save(path)
    assert path.stat().st_size > 16 * MB
    assert measured("network", path, (1, 4 * MB)) == "read"


def headers(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "member",
    [
        headers("(2, 3)"),
        headers("(-2, -3)") + bytes(24),
        headers("(" * 300 + ")" * 300),
        headers("(2, 3)", "'<U1000000000'"),
        headers("(2, 3)", "'|O'") + bytes(24),
        headers("(4611686018427387904, 4)") + bytes(24),
        headers("(2, 3)", "[('a', '<f4', (10**9,))]"),
        headers(f"({'9' * 5000}, 3)"),
        b"\x93NUMPY\2\0" + struct.pack("<L", 2**31) + bytes(100),
        b"\x93NUMPY\1\0\xff\xff" + bytes(100),
        b"",
        b"\x93NUM",
    ],
)
def test_arrays_that_cannot_be(tmp_path: Path, member: bytes) -> None:
    path = tmp_path / "a.npz"
    fastrec.RNN(2, 3).save(path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "b.npz", "w") as new:
        for name in old.namelist():
            new.writestr(name, member if name == "W_in.npy" else old.read(name))
    with pytest.raises(DamagedFile, match=r"b\.npz: ") as caught:
        fastrec.RNN.load(tmp_path / "b.npz")
    assert "\n" not in str(caught.value)


def test_members_that_share_bytes_or_names(tmp_path: Path) -> None:
    """Members lie one after the other, so that no byte is read twice."""
    path = tmp_path / "a.npz"
    fastrec.RNN(2, 3).save(path)
    content = path.read_bytes()
    first, second = (content.rindex(name) - 46 for name in (b"W_in.npy", b"W_rec.npy"))
    moved = bytearray(content)
    moved[second + 42 : second + 46] = content[first + 42 : first + 46]
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as new:
        new.writestr("W_in.npy", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            new.writestr("W_in.npy", b"")
    for changed in (bytes(moved), (tmp_path / "b.npz").read_bytes()):
        path.write_bytes(changed)
        with pytest.raises(DamagedFile, match=r"a\.npz: damaged, (its members are not|it has two members)"):
            fastrec.RNN.load(path)


def test_archives_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    """Their end has other fields; here of a small one, as `zipfile` writes it above a limit."""
    path = tmp_path / "a.npz"
    for limit in ("ZIP64_LIMIT", "ZIP_FILECOUNT_LIMIT"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(zipfile, limit, 3)
            fastrec.RNN(2, 3, seed=1).save(path)
        loaded = fastrec.RNN.load(path)
        for key, array in fastrec.RNN(2, 3, seed=1).parameters.items():
            assert np.array_equal(loaded.parameters[key], array)


POINTS = {  # what makes most of a few bytes
    "traces.inkml": "<ink>" + "<trace>1 1</trace>" * (MB // 4) + "</ink>",
    "points.inkml": "<ink><trace>" + "1 1," * MB + "1 1</trace></ink>",
    "text.inkml": "<ink>" + "<a>" * MB,
    "wide.inkml": "<ink><trace>" + "\U0001f58b" * MB + "</trace></ink>",
    "entities.inkml": "<!DOCTYPE ink [<!ENTITY a '" + "1 1," * 1000 + "'>]><ink><trace>" + "&a;" * MB,
    "attributes.inkml": "<ink " + " ".join(f"a{i}=''" for i in range(MB // 4)) + "/>",
    "strokes.csv": "stroke,x,y\n" + "1,1,1\n2,1,1\n" * (MB // 4),
    "columns.csv": "stroke,x,y," + "," * MB,
    "text.csv": "stroke,x,y\n" + "1" * MB,
}


@linux
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[pytest.mark.slow] * (name in ("points.inkml", "attributes.inkml", "strokes.csv"))
        )
        for name in POINTS
    ],
)
def test_strokes_take_no_more_than_their_size(
    tmp_path: Path, measured: Callable[..., str], name: str
) -> None:
    path = tmp_path / name
    path.write_text(POINTS[name], encoding="utf-8")
    measured("strokes", path, STROKES)


DEFINITION = fastrec.capacity(12, 1, backend="reference").definition
ORIGIN = ("reference", 0.25, "0.2", "2.4", "", "machine", "processor", "2026-01-02T03:04:05.678+00:00")


def make_run(path: Path, trials: int = 8, origin: tuple[Any, ...] = ORIGIN) -> list[tuple[Any, ...]]:
    """A run file; its rows."""
    records = [(12, trial, trial % 4, 0) for trial in range(trials)]
    with RunFile(path, SCHEMA) as file:
        file.add(SCHEMA.rows(records, DEFINITION, *origin))
        return file.rows()


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


SCHEMAS = {  # statements that make a run file another one
    "trigger": ["CREATE TRIGGER t BEFORE INSERT ON capacity BEGIN SELECT RAISE(IGNORE); END"],
    "other trigger": [
        "CREATE TRIGGER t AFTER INSERT ON capacity BEGIN UPDATE capacity SET capacity = 9; END"
    ],
    "view": ["CREATE VIEW v AS SELECT hex(zeroblob(100000000))"],
    "index": ["CREATE INDEX i ON capacity (hex(zeroblob(n)))"],
    "column": ["ALTER TABLE capacity ADD COLUMN more TEXT DEFAULT 'x'"],
    "quotes": ['CREATE TABLE "a""b" (x)'],
    "only quotes": ["DROP TABLE capacity", 'CREATE TABLE "a""b" (x)'],
    "renamed": ["ALTER TABLE capacity RENAME COLUMN n TO m"],
    "many": ["BEGIN", *(f"CREATE TABLE t{number} (x)" for number in range(500)), "COMMIT"],
    "text": ['CREATE TABLE "\x1b[31m\n" (x)'],
}


def generated(path: Path) -> None:
    """A table with a column that SQLite computes, of 200 MB in each row."""
    make_run(path)
    sql = Form(1).sql(SCHEMA).replace('"machine" TEXT NOT NULL', '"machine" AS (hex(zeroblob(100000000)))')
    change(
        path,
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_schema SET sql = '{sql}' WHERE type = 'table'",
    )


@pytest.mark.parametrize("name", [*SCHEMAS, "generated"])
def test_tables_that_fastrec_does_not_write_are_not_obeyed(
    tmp_path: Path, name: str, measured: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.db"
    rows = make_run(path)
    if name == "generated":
        path.unlink()
        generated(path)
    else:
        change(path, *SCHEMAS[name])
    content = path.read_bytes()
    for use in (lambda: ScalingResult.load(path), lambda: export(path, tmp_path / "a.csv")):
        with pytest.raises(ValueError, match=r"a\.db: (damaged, its tables are not|a run of)") as caught:
            use()
        assert str(caught.value).isprintable() and path.read_bytes() == content
    if sys.platform == "linux":
        assert "a.db: " in measured("results", path, TABLE)
        assert measured("resume", path, TABLE) == "read"
    with RunFile(path, SCHEMA) as file:
        assert file.rows() == (rows if name != "only quotes" else file.rows())
        file.add(SCHEMA.rows([(12, 99, 2, 0)], DEFINITION, *ORIGIN))
        assert (12, 99, 2) in [row[:3] for row in file.rows()]
    assert path.with_name("a.db.damaged").read_bytes() == content


VALUES = {  # what cannot be, by column
    "seconds": ("-1", "9e999"),
    "capacity": ("4611686018427387904", "-1"),
    "n": ("4611686018427387904", "0", "-5"),
    "trial": ("-1",),
    "censored": ("2", "-1"),
    "max_patterns": ("0",),
    "max_sweeps": ("-9223372036854775808",),
    "update": ("'magic'", "x'00ff'"),
    "seed": ("'1e3'", "''"),
    "backend": ("''", "char(27)"),
    "finished": ("'yesterday'", "'2026-01-01'"),
}


@pytest.mark.parametrize(("column", "value"), [(name, value) for name in VALUES for value in VALUES[name]])
def test_values_that_cannot_be_are_damage_that_is_told_before_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the checksum of the row agrees with them, and in files of 0.1.0."""
    monkeypatch.chdir(tmp_path)
    path = Path("a.db")
    rows = make_run(path)
    change(path, f'UPDATE capacity SET "{column}" = {value} WHERE trial = 3')
    connection = sqlite3.connect(path, isolation_level=None)
    (changed,) = connection.execute(
        "SELECT * FROM capacity WHERE trial NOT IN (0, 1, 2, 4, 5, 6, 7)"
    ).fetchall()
    if not any(isinstance(each, bytes) for each in changed):
        total = database.row_checksum(changed[1:])
        connection.execute("UPDATE capacity SET checksum = ? WHERE checksum = ?", (total, changed[0]))
    connection.close()
    Path("old.db").write_bytes((DATA / "capacities.db").read_bytes())
    change(Path("old.db"), f'UPDATE capacity SET "{column}" = {value} WHERE n = 30 AND trial = 1')
    for name in ("a.db", "old.db"):
        for use in (ScalingResult.load, partial(export, out="a.csv")):
            with pytest.raises(ValueError, match=f"^{name}: damaged, the row .* has values that cannot be"):
                use(name)
    with RunFile(path, SCHEMA) as file:
        assert file.rows() == [row for row in rows if row[1] != 3]
    assert caplog.messages == [
        "a.db: damaged; 7 rows could be read and are kept, the damaged file is now a.db.damaged"
    ]
    assert not Path("a.csv").exists()


def test_a_changed_value_that_could_be_is_found_by_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    rows = make_run(path)
    change(path, "UPDATE capacity SET capacity = capacity + 1 WHERE trial = 3")
    with pytest.raises(DamagedFile, match=r"a\.db: damaged, the row \(12, 3, 4, \.\.\.\) has changed"):
        ScalingResult.load(path)
    with RunFile(path, SCHEMA) as file:
        assert file.rows() == [row for row in rows if row[1] != 3]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"seconds" REAL NOT', b'"seconds" REAL$NOT'),
        (b'"trial"', b'"tri\xffl"'),
        (b'"retri', b'"ret\xffi'),
        (b"CREATE", b"CREATA"),
        (b"sqlite_autoindex", b"sqlite_autoinde\xf8"),
    ],
)
@pytest.mark.parametrize("name", ["capacities.db", "retrievals.db"])
def test_one_bit_of_the_schema(tmp_path: Path, old: bytes, new: bytes, name: str) -> None:
    path = tmp_path / name
    content = (DATA / name).read_bytes()
    if old not in content:
        return
    path.write_bytes(content.replace(old, new, 1))
    kind = ScalingResult if name == "capacities.db" else RetrievalResult
    for use in (lambda: kind.load(path), lambda: export(path, tmp_path / "a.csv")):
        with pytest.raises(DamagedFile, match=f"{name}: damaged"):
            use()
    before = kind.load(DATA / name)
    with RunFile(path, kind._schema) as file:
        assert len(file.rows()) >= len(before._rows())


def test_a_file_whose_tables_are_gone_is_no_new_one(tmp_path: Path) -> None:
    """A bit of the number of tables, in the first page: found by flipping each."""
    path = tmp_path / "a.db"
    rows = make_run(path)
    content = bytearray(path.read_bytes())
    assert content[103:105] == b"\0\2"
    content[104] = 0
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match="damaged, its tables are not"):
        ScalingResult.load(path)
    with RunFile(path, SCHEMA) as file:
        assert file.rows() == rows


def test_rows_of_earlier_versions_have_no_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.db"
    path.write_bytes((DATA / "capacities.db").read_bytes())
    assert not database.require_run_file(path).checked
    change(path, "UPDATE capacity SET capacity = capacity + 1 WHERE n = 20 AND trial = 0")
    assert ScalingResult.load(path)[0].counts[0] == 4  # which nobody can know
    make_run(tmp_path / "b.db")
    assert database.require_run_file(tmp_path / "b.db").checked
    monkeypatch.setattr(cli, "hear_interrupts", lambda: None)
    for name in "ab":
        monkeypatch.setattr(
            sys, "argv", ["fastrec", "export", f"{tmp_path / name}.db", f"{tmp_path / name}.csv"]
        )
        with pytest.raises(SystemExit):
            cli.main()
        assert ("without checksums" in capsys.readouterr().out) == (name == "a")


@pytest.mark.parametrize(("at", "message"), [(18, "write-ahead logging"), (46, "damaged"), (16, "header")])
def test_headers(tmp_path: Path, at: int, message: str) -> None:
    path = tmp_path / "a.db"
    make_run(path)
    content = bytearray(path.read_bytes())
    content[at : at + 2] = b"\2\2" if at == 18 else b"\xff\xff"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.db: .*({message})"):
        ScalingResult.load(path)
    assert os.listdir(tmp_path) == ["a.db"]


@linux
@pytest.mark.slow
def test_runs_and_tables_take_no_more_than_their_size_allows(
    tmp_path: Path, measured: Callable[..., str]
) -> None:
    path = tmp_path / "a.db"
    make_run(path, 20_000)
    assert measured("results", path, TABLE) == "read" and measured("resume", path, TABLE) == "read"
    assert export(path, tmp_path / "a.csv") == 20_000
    assert measured("results", tmp_path / "a.csv", TABLE) == "read"
    ScalingResult.load(path).save(tmp_path / "b.csv")
    assert measured("results", tmp_path / "b.csv", TABLE) == "read"
    change(path, UNFINISHED_SQL, "INSERT INTO unfinished VALUES ('a', 'b', zeroblob(60000000), 1.0)")
    assert measured("resume", path, TABLE) == "read"


LINES = {
    "short": "ab\n" * MB,
    "empty": "\n" * MB,
    "commas": "," * MB + "\n",
    "quotes": '"' * MB + "\n",
    "open": '"' + "ab\n" * MB,
    "rows": ",".join(["1"] * 13) + "\n",
    "digits": "9" * MB + ",1" * 12 + "\n",
    "fields": ("," * 12 + "\n") * (MB // 10),
    "texts": ("1,0,1,0," + ",".join(f'"{"x" * 9}"' for _ in range(9)) + "\n") * (MB // 50),
}


@linux
@pytest.mark.parametrize("name", LINES)
def test_lines_of_tables(tmp_path: Path, measured: Callable[..., str], name: str) -> None:
    path, lines = tmp_path / "a.csv", LINES[name]
    head = f"# fastrec capacity 1\n{','.join(SCHEMA.columns)}\n"
    for count in (lines.count("\n"), 1):
        path.write_text(f"{head}{lines}# end {count}\n")
        assert "a.csv: " in measured("results", path, TABLE)


NAMES = (
    "a,b\nc",
    "=cmd|' /C calc'!A0",
    "+1",
    "-x",
    "@SUM(A1)",
    "\t=1",
    "'=1",
    "''",
    'say "a"',
    "#1",
    "\r\n",
    "",
    "Zoë",
)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_exported_is_loaded_and_is_no_formula(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.db"
    rows = make_run(path, origin=(*ORIGIN[:5], name, name, ORIGIN[-1]))
    assert export(path, tmp_path / "a.csv") == 8
    assert ScalingResult.load(tmp_path / "a.csv") == ScalingResult.load(path)
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        fields = list(csv.reader(file))
    assert {len(line) for line in fields[1:-1]} == {len(SCHEMA.run_columns)}
    place = list(SCHEMA.run_columns).index("machine")
    for line, row in zip(fields[2:-1], rows, strict=True):
        assert line[place] in (name, f"'{name}") and row[place] == name
        assert not line[place].startswith(("=", "+", "-", "@", "\t", "\r"))


def kill(path: Path) -> None:
    """Leave what a run leaves that is killed during a commit."""
    code = (
        "import os, sqlite3, sys; file = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "file.execute('PRAGMA cache_size = 1'); file.execute('BEGIN IMMEDIATE'); "
        "file.execute('UPDATE capacity SET machine = hex(zeroblob(300))'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert Path(f"{path}-journal").exists()


def test_no_journal_leads_to_other_files(tmp_path: Path) -> None:
    """The journal of a transaction on several files names a file, which SQLite deletes."""
    path, other = tmp_path / "a.db", tmp_path / "other.txt"
    rows = make_run(path, 50)
    kill(path)
    other.write_text("precious")
    name, journal = str(other).encode(), Path(f"{path}-journal")
    content = journal.read_bytes()
    end = struct.pack(">LL", len(name), sum(name)) + database.OF_SEVERAL
    page = struct.pack(">L", 2**30 // 4096 + 1)
    journal.write_bytes(content + bytes(-len(content) % 512) + page + name + end)
    for use in (lambda: ScalingResult.load(path), lambda: RunFile(path, SCHEMA).__enter__()):
        with pytest.raises(ValueError, match=r"a\.db-journal is no journal of fastrec"):
            use()
    assert other.read_text() == "precious"
    journal.write_bytes(content)
    with RunFile(path, SCHEMA) as file:
        assert file.rows() == rows
    Path(f"{path}-wal").write_bytes(bytes(5000))
    with pytest.raises(ValueError, match="another program has set write-ahead logging"):
        ScalingResult.load(path)


@pytest.mark.slow
def test_a_killed_run_that_cannot_be_undone_is_told_with_a_cure(tmp_path: Path) -> None:
    path, place = tmp_path / "run" / "a.db", tmp_path / "fixed"
    path.parent.mkdir()
    place.mkdir()
    make_run(path, 50)
    kill(path)
    mount = ["mount", "--bind", path.parent, place]
    if os.geteuid() or subprocess.run(mount).returncode:
        pytest.skip("cannot mount a file system")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
        for use in (
            lambda: ScalingResult.load(place / "a.db"),
            lambda: export(place / "a.db", tmp_path / "a.csv"),
        ):
            with pytest.raises(
                OSError, match=r"a\.db: a run that was killed .*copy both files to another folder"
            ):
                use()
    finally:
        subprocess.run(["umount", "-l", place], check=True)
    assert ScalingResult.load(path)[0].trials == 50 and os.listdir(path.parent) == ["a.db"]
