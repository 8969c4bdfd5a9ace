"""What `--help` says: usage, examples, and options in groups, as wide as the terminal."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from enum import Enum
from itertools import chain
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import typer

from ..terminal import terminal_width, wrapped

PIPED = 80  # columns where standard output is no terminal
WIDEST = 120  # longer lines are hard to read
BESIDE = 34  # columns of text, of which there must be as many where an option and its text share a line
WHOLE: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
RUNNING, OUTPUT, OPTIONS = "How it runs", "Output", "Options"  # titles
METAVARS = {int: "N", float: "X", str: "TEXT", Path: "FILE"}


class Entry(NamedTuple):
    """An option, argument or command, and what it is for."""

    name: str
    text: str


class Declared(NamedTuple):
    """What a function says of a parameter: its type, its default and the arguments of `typer.Option`."""

    kind: Any
    default: Any
    info: Any


def declared(callback: Callable[..., Any]) -> dict[str, Declared]:
    """Return what a command's function says of its parameters."""
    function = inspect.unwrap(callback)
    hints = get_type_hints(function, include_extras=True)
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint, info = hints[name], None
        if get_origin(hint) is Annotated:
            hint, info = get_args(hint)[:2]
        found[name] = Declared(bare(hint), parameter.default, info)
    return found


def bare(hint: Any) -> Any:
    """Return a type without None, and of a list that of its items."""
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (each for each in get_args(hint) if each is not type(None))
    return get_args(hint)[0] if get_origin(hint) is list else hint


def choices(kind: Any) -> list[str]:
    """Return the values of a type that has few."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [each.value for each in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []


def entry(param: Any, said: Declared | None) -> Entry:
    """Return how an option or argument is written, and its help, its choices and its default."""
    is_option = param.param_type_name == "option"
    names = sorted(param.opts, key=len) + param.secondary_opts if is_option else [param.name.upper()]
    text = [param.help or "Show this message and exit."]
    metavar = ""
    if said is not None and said.kind is not bool:
        metavar = param.metavar or METAVARS.get(said.kind) or param.name.rpartition("_")[2].upper()
        if values := choices(said.kind):
            text.append(f"One of {', '.join(values)}.")
    if said is not None:
        default = said.default.value if isinstance(said.default, Enum) else said.default
        shown = said.info.show_default if isinstance(said.info.show_default, str) else default
        if shown is inspect.Parameter.empty:
            text.append("[required]")
        elif isinstance(shown, bool):
            if param.secondary_opts:
                text.append(f"[default: {(param.opts if shown else param.secondary_opts)[0]}]")
        elif shown is not None:
            text.append(f"[default: {shown}]")
    return Entry(f"{', '.join(names)} {metavar if is_option else ''}".rstrip(), " ".join(text))


def sections(command: Any, context: Any) -> dict[str, list[Entry]]:
    """Return the entries of a command by the titles of their groups."""
    found: dict[str, list[Entry]] = {}
    said = declared(command.callback) if command.callback else {}
    for param in sorted(command.get_params(context), key=lambda param: param.param_type_name):
        if not getattr(param, "hidden", False):
            usual = "Arguments" if param.param_type_name == "argument" else OPTIONS
            title = getattr(param, "rich_help_panel", None) or usual
            found.setdefault(title, []).append(entry(param, said.get(param.name)))
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            title = getattr(inner, "rich_help_panel", None) or "Commands"
            first = " ".join(inspect.cleandoc(inner.help or "").partition("\n\n")[0].split())
            found.setdefault(title, []).append(Entry(name, first))
    for name in (RUNNING, OUTPUT, OPTIONS):  # what all commands have comes last
        if name in found:
            found[name] = found.pop(name)
    return found


def usage(command: Any, context: Any) -> str:
    """Return how the command is typed."""
    pieces = [context.command_path, "[OPTIONS]"]
    for param in command.params:
        if param.param_type_name == "argument" and not param.hidden:
            name = param.name.upper() + "..." * (param.nargs != 1)
            pieces.append(name if param.required else f"[{name}]")
    return " ".join(["Usage:", *pieces, *["COMMAND"] * hasattr(command, "commands")])


def help_text(command: Any, context: Any, width: int | None = None) -> str:
    """Return the help of a command, at the width of the terminal if none is given."""
    width = min(width or terminal_width(sys.stdout) or PIPED, WIDEST)
    blocks = [wrapped(usage(command, context), width)]
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        head, _, examples = paragraph.partition("\n")
        if head.endswith("::"):
            lines = (textwrap.wrap(line.strip(), width - 8, **WHOLE) for line in examples.split("\n"))
            blocks.append(
                "\n".join([title(head[:-1]), *("  " + " \\\n      ".join(parts) for parts in lines)])
            )
        elif paragraph:
            blocks.append(wrapped(" ".join(paragraph.split()), width))
    found = sections(command, context)
    column = 4 + max((len(each.name) for each in chain(*found.values()) if len(each.name) <= 26), default=2)
    for name, entries in found.items():
        blocks.append("\n".join([title(f"{name}:"), *listed(entries, column, width)]))
    return "\n\n".join(blocks)


def title(text: str) -> str:
    """Return the head of a section, bold in a terminal."""
    return typer.style(text, bold=True)


def listed(entries: list[Entry], column: int, width: int) -> Iterator[str]:
    """Yield the lines of a section: texts in a column beside the names where there is room, else below."""
    for name, text in entries:
        indent = column if (beside := width - column >= BESIDE) else 6
        lines = textwrap.wrap(text, width - indent, **WHOLE)
        first = f"  {name}".ljust(indent)
        if beside and len(name) + 4 <= indent and lines:
            first += lines.pop(0)
        yield first.rstrip()
        yield from (" " * indent + line for line in lines)
