"""Values and text of others in messages."""

from __future__ import annotations

import re

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what terminals obey, but for lines and tabs
LONGEST = 80  # characters of a value in a message


def shown(value: object) -> str:
    """A value of an argument in a message: in one line, of an array or a long text only the beginning."""
    return printable(" ".join(repr(value).split()), LONGEST)


def printable(text: object, most: int | None = None) -> str:
    r"""Text of a file, or its name, in one line of a message: "\x1b" for an escape character.

    most: number of characters, of a longer text only the first are shown.
    """
    shown = str(text)
    if most is not None and len(shown) > most:
        shown = f"{shown[:most]}..."
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)


def visible(text: object) -> str:
    r"""Text as a terminal may get it: "\x1b" for an escape character; lines and tabs stay."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], str(text))


def install_command(*packages: str) -> str:
    """The command that installs packages, in the versions that the metadata of fastrec asks for.

    Each name may have extras, as in "cupy-cuda13x[ctk]". The command works where no index has fastrec.
    """
    from importlib.metadata import PackageNotFoundError, requires

    try:
        requirements = requires("fastrec") or []
    except PackageNotFoundError:  # fastrec is on the path, but not installed
        requirements = []
    requirements.sort(key=lambda text: "extra == 'test" in text)  # what tests pin is the last choice
    arguments = []
    for package in packages:
        named = re.compile(rf"{re.escape(package)}(?![\w.\[-])[^;]*", re.IGNORECASE)
        matches = (match[0].strip() for text in requirements if (match := named.match(text)))
        found = next(matches, package)
        arguments.append(f'"{found}"' if re.search(r"[\[<>=!~]", found) else found)
    return f"pip install {' '.join(arguments)}"
