"""A fixed sample of what scripts/attack tries."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest
from attacks import HEAD, arguments, files, interruptions, races

from fastrec import Adam, CharModel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of processes are those of Linux")


@pytest.fixture(autouse=True)
def same_level() -> Iterator[None]:
    """Attacks say nothing about damaged files; later tests do."""
    log = logging.getLogger("fastrec")
    level = log.level
    yield
    log.setLevel(level)


@pytest.mark.slow
def test_mutants_of_files(record_property) -> None:
    rows = list(files.campaign(500))
    record_property("note", "\n".join([HEAD, *map(str, rows)]))
    assert {row.kind for row in rows} == {*files.FORMATS} and all(row.tried >= 500 for row in rows)
    assert not [failure for row in rows for failure in row.failures]
    # Mutants that no reader refuses would test nothing.
    assert all(row.endings["refused"] + row.endings["salvaged"] > 50 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize(("campaign", "count"), [(races, 150), (arguments, 1000)])
def test_races_and_arguments(campaign, count: int, record_property) -> None:
    rows = list(campaign.campaign(count))
    record_property("note", "\n".join([HEAD, *map(str, rows)]))
    assert rows and all(row.tried >= count for row in rows)
    assert not [failure for row in rows for failure in row.failures]


@pytest.mark.slow
def test_interruptions(record_property) -> None:
    rows = list(interruptions.campaign(15))
    record_property("note", "\n".join([HEAD, *map(str, rows)]))
    assert {row.kind for row in rows} == {*interruptions.JOBS} and all(row.tried == 15 for row in rows)
    assert not [failure for row in rows for failure in row.failures]
    assert all(row.endings["ended"] < 6 for row in rows)  # most are heard


def step_in_two(self, *arguments):
    """Parameters, and a while later the number of steps."""
    step = self._step
    whole_step(self, *arguments)
    made, self._step = self._step, step
    for _ in range(20):
        sorted("a little later")
    self._step = made


def save_in_place(self, path):
    with open(path, "wb") as file:
        for _ in range(9):
            file.write(b"a")
            file.flush()


whole_step = Adam._apply


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "owner", "name", "bad", "message"),
    [
        ("Adam.step", Adam, "_apply", step_in_two, "half changed"),
        ("CharModel.save", CharModel, "save", save_in_place, "half changed"),
    ],
)
def test_interruptions_notice_what_they_look_for(kind, owner, name, bad, message, monkeypatch) -> None:
    monkeypatch.setattr(owner, name, bad)
    interruptions.whole.cache_clear()
    found = []
    for number in range(60):
        try:
            interruptions.attempt(kind, number)
        except interruptions.Failure as failure:
            found.append(str(failure))
    interruptions.whole.cache_clear()
    assert found and all(message in failure for failure in found)


@pytest.mark.slow
def test_attacks_notice_what_they_look_for(monkeypatch: pytest.MonkeyPatch) -> None:
    content, expected = files.whole("network")

    def unnamed(path):
        raise ValueError("damaged")

    def wrong(path):
        raise KeyError("damaged")

    def greedy(path):
        return len(bytearray(b"x" * 10**9)) and expected

    def fooled(path):
        return None

    for read, message in (
        (unnamed, "names no file"),
        (wrong, "KeyError"),
        (greedy, "MB of memory"),
        (fooled, "not the"),
    ):
        form = files.FORMATS["network"]._replace(read=read)
        monkeypatch.setitem(files.FORMATS, "network", form)
        with pytest.raises(files.Failure, match=message):
            files.read("network", content)
