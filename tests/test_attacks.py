"""A fixed sample of what scripts/attack tries."""

from __future__ import annotations

import sys

import pytest
from attacks import HEAD, arguments, files, races

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of processes are those of Linux")


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
