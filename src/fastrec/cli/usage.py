"""Commands whose help and whose errors speak of their options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..backend import BackendError
from ..messages import printable
from .help import help_text

UsageError: Any = typer.BadParameter.__base__  # of the click that this typer uses, which may be its own

LISTED = {"sizes": "n", "loads": "alphas"}  # options of lists, and what the library calls their elements


@contextmanager
def told_in_print() -> Iterator[None]:
    """Arguments may be names of files, which may contain any character."""
    try:
        yield
    except UsageError as error:
        vars(error)["message"] = printable(error.message)
        raise


def in_options(message: str, params: Sequence[Any]) -> str:
    """Return a message of the library in which the options of a command stand for the arguments they become.

    "max_sweeps is 0" becomes "--max-sweeps is 0", and 'backend="cpu"' becomes "--backend cpu".
    """
    names = {param.name: max(param.opts, key=len) for param in params if param.param_type_name == "option"}
    if not names:
        return message
    for name, argument in LISTED.items():
        if name in names:
            names[argument] = names[name]

    def option(found: re.Match[str]) -> str:
        value = found["value"]
        return names[found["name"]] + (f" {shlex.quote(value.strip(chr(34)))}" if value else "")

    name = f"(?P<name>{'|'.join(map(re.escape, names))})"
    value = rf'(?<![\w.-]){name}=(?P<value>"[^"]*"|[^\s",;)]+)'
    subject = rf"(?<![\w.'\"-])(?<!the ){name}(?P<value>)(?= (?:is|are|must|holds|has|names|leaves)\b|: )"
    first = rf"^{name}(?P<value>)(?= and \w+ (?:is|are)\b)"
    compound = rf"(?<![\w.'\"-])(?=\w+_){name}(?P<value>)(?![\w='\"-]|\.\w)"
    for pattern in (value, first, subject, compound):
        message = re.sub(pattern, option, message)
    return message


class Command(TyperCommand):
    """A command that names its options where the library names arguments."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(help_text(self, ctx))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (ValueError, BackendError, MemoryError, ArithmeticError) as error:
            if len(error.args) == 1 and isinstance(error.args[0], str):
                error.args = (in_options(error.args[0], self.params),)
            raise


class Commands(TyperGroup):
    """A group of commands whose messages show only what can be printed."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(help_text(self, ctx))

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        with told_in_print():
            return super().make_context(info_name, args, *rest, **extra)

    def invoke(self, ctx: Any) -> Any:
        with told_in_print():
            return super().invoke(ctx)


def wrong_usage(error: Any) -> str:
    """Return what was wrong with how a command was typed, and where it is explained."""
    context = error.ctx
    if near := getattr(error, "possibilities", None):  # not those that are deprecated, and in no help
        hidden = {name for param in context.command.params if param.hidden for name in param.opts}
        error.possibilities = [name for name in near if name not in hidden]
    text = " ".join(str(error.format_message()).rstrip(".").split())
    text = re.sub(r"^(Invalid value for )'([^']*)': (?:Value error, )?", r"\1\2: ", text)
    text = text.replace(": Input should be ", ": it must be ", 1)  # pydantic's, which typer uses
    for fault in getattr(error.__cause__, "errors", list)()[:1]:
        if (found := repr(printable(str(fault["input"])))) not in text:
            text += f", not {found}"
    if context is None:
        return text
    see = " See" if text.endswith("?") else "; see"
    return f"{text}{see} {context.command_path} --help"
