"""What people see in terminals of several widths: tables, help, errors, bars and what follows Ctrl-C."""

from __future__ import annotations

import pytest

from fastrec.terminal import terminal_width, wrapped


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("short", ["short"]),
        ("some words that are long", ["some words", "that are", "long"]),
        ("  some words indented", ["  some", "  words", "  indented"]),
        ("ab  the second column", ["ab  the", "    second", "    column"]),
        ("averyveryverylongword", ["averyveryverylongword"]),
        ("a two-word", ["a two-word"]),
    ],
)
def test_lines_are_broken_between_words(line: str, parts: list[str]) -> None:
    assert wrapped(line, 10).splitlines() == parts
    assert wrapped(f"{line}\n{line}", 10).splitlines() == parts * 2
    assert wrapped(line, None) == line


def test_a_stream_that_is_no_terminal_has_no_width(tmp_path) -> None:
    with open(tmp_path / "file", "w") as file:
        assert terminal_width(file) is None
    assert terminal_width(None) is None
