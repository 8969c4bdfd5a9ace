"""Files and pickles of version 0.1.0 are read, and its interrupted jobs resumed, to what 0.1.0 gave.

fixtures.py wrote tests/data/0.1.0 with 0.1.0.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fixtures
import numpy as np
import pytest
from fixtures import DATA, FILES, JOBS

import fastrec
import fastrec.plot
from fastrec import cli
from fastrec.hopfield.retrieval.result import SCHEMA as RETRIEVAL
from fastrec.hopfield.storage_capacity.result import SCHEMA as CAPACITY

# 0.1.0 had these names alone.
pytestmark = pytest.mark.filterwarnings("ignore:(corruption|noise)= is called flips=:DeprecationWarning")
SCHEMAS = {schema.name: schema for schema in (CAPACITY, RETRIEVAL)}
EXPECTED = json.loads((DATA / "expected.json").read_text())
PLACES = json.loads((DATA / "places.json").read_text())
# Their results differ from those of 0.1.0 by rounding; all others are the same to the bit.
RECURRENT = (fastrec.RNN, fastrec.AdditionResult, fastrec.CharModel, fastrec.EncoderDecoder, tuple)
RUNS = sorted(name for name in JOBS if name.endswith(".db"))


@pytest.fixture(autouse=True)
def on_cpu() -> Iterator[None]:
    with fastrec.use_backend("cpu"):
        yield


def differences(wanted: Any, found: Any, exact: bool, where: str = "") -> list[str]:
    """Where two JSON values differ, floats unless exact by rounding only; dicts may have new keys."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        pairs = {key: (value, found.get(key, "missing")) for key, value in wanted.items()}
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = dict(enumerate(zip(wanted, found, strict=True)))
    elif repr(wanted) == repr(found):  # nan is not equal to itself, and 1 is equal to True
        return []
    else:
        floats = isinstance(wanted, float) and isinstance(found, float)
        near = floats and not exact and math.isclose(wanted, found, rel_tol=1e-4, abs_tol=1e-6)
        return [] if near else [f"{where}: {found!r}, and in 0.1.0 {wanted!r}"]
    return [text for key, pair in pairs.items() for text in differences(*pair, exact, f"{where}/{key}")]


def check(wanted: Any, found: Any, exact: bool) -> None:
    different = differences(wanted, found, exact)
    assert not different, f"{len(different)} differences: {'; '.join(different[:9])}"


@pytest.fixture
def copy(tmp_path: Path) -> Any:
    """Copies a file of 0.1.0 to where it may be written."""
    return lambda name: Path(shutil.copyfile(DATA / name, tmp_path / name))


def finished(path: Path) -> set[Any]:
    """What a file says that has been done: rows with their times, or the time of each epoch."""
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return set(enumerate(archive["history.seconds"].tolist()))
    with contextlib.closing(sqlite3.connect(path)) as file:
        (table,) = file.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchone()
        columns = file.execute(f"PRAGMA table_info({table})")
        names = [f'"{name}"' for _, name, *_ in columns if name not in SCHEMAS[table].added]  # later ones
        return set(file.execute(f"SELECT {', '.join(names)} FROM {table}"))


def seconds(result: Any) -> list[float]:
    return [part.seconds for part in (result if isinstance(result, fastrec.ScalingResult) else [result])]


@pytest.mark.parametrize("name", FILES)
def test_files_are_read(name: str, copy: Any) -> None:
    value, wanted = FILES[name].read(copy(name)), EXPECTED[Path(name).stem]
    check(wanted["attributes"], fixtures.attributes(value), exact=True)
    assert str(value) and repr(value)
    if hasattr(value, "plot"):
        assert value.plot().figure
    check(wanted["results"], fixtures.results(value), exact=not isinstance(value, RECURRENT))


@pytest.mark.parametrize("name", JOBS)
def test_interrupted_jobs_are_resumed(name: str, copy: Any) -> None:
    path, before = copy(name), finished(DATA / name)
    result = JOBS[name].run(path)
    check(EXPECTED[Path(name).stem]["outcome"], fixtures.outcome(result), exact=name in RUNS)
    assert before < finished(path)
    if name in RUNS:  # trials that were in the file have not been run again
        assert seconds(result) == pytest.approx(seconds(FILES[name].read(path)))


@pytest.mark.parametrize("name", RUNS)
def test_damaged_runs_are_salvaged(name: str, copy: Any, caplog: pytest.LogCaptureFixture) -> None:
    path, before = copy(name), finished(DATA / name)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        FILES[name].read(path)
    check(EXPECTED[Path(name).stem]["outcome"], fixtures.outcome(JOBS[name].run(path)), exact=True)
    assert before < finished(path)
    assert f"{len(before)} rows could be read" in caplog.text and path.with_name(f"{name}.damaged").exists()


@pytest.mark.parametrize("stem", ["capacity", "scaling", "retrieval", "text_history"])
def test_results_write_the_same_tables(stem: str, tmp_path: Path) -> None:
    path = tmp_path / f"{stem}.csv"
    FILES[f"{stem}.pickle"].read(DATA / f"{stem}.pickle").save(path)
    head, columns, *rows = path.read_text().splitlines()
    before = (DATA / path.name).read_text().splitlines()
    # What came later: the name of the last column, and fields of the definitions.
    kind = "retrieval" if stem == "retrieval" else "capacity"
    if stem != "text_history":
        assert head == f"# fastrec {kind} {4 if stem == 'retrieval' else 5}"
        head, columns = f"# fastrec {kind} 1", columns.replace("total_seconds", "seconds")
        cells = [line.split(",") for line in (columns, *rows[:-1])]
        for name, (_, value) in SCHEMAS[kind].added.items():
            at = cells[0].index(name)
            assert {line.pop(at) for line in cells} == {name, str(SCHEMAS[kind].defined[name](value))}
        columns, *rows = [*map(",".join, cells), rows[-1]]
    assert [head, columns, *rows] == before


@pytest.mark.parametrize("stem", ["capacities", "retrievals"])
def test_runs_are_exported_to_the_same_tables(
    stem: str, copy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / f"{stem}.csv"
    monkeypatch.setattr(sys, "argv", ["fastrec", "export", str(copy(f"{stem}.db")), str(out)])
    monkeypatch.setattr(cli, "hear_interrupts", lambda: None)  # pytest keeps its own Ctrl-C
    with contextlib.suppress(SystemExit):
        cli.main()
    assert out.read_bytes() == (DATA / out.name).read_bytes()


@pytest.mark.parametrize(("module", "name"), [(m, name) for m, names in PLACES.items() for name in names])
def test_names_are_imported_from_where_they_were(module: str, name: str) -> None:
    value = getattr(importlib.import_module(module), name)
    for public in (fastrec, fastrec.plot):
        assert name not in public.__all__ or value is getattr(public, name)


def test_every_file_is_tested() -> None:
    tables = {"text_history.csv", "expected.json", "places.json", "signatures.json"}
    assert {path.name for path in DATA.iterdir()} == {*FILES, *JOBS, *tables}
