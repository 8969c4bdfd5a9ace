"""Wrong usage of a command, told without what a terminal would obey."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from ..messages import printable

UsageError: Any = typer.BadParameter.__base__  # of the click that this typer uses, which may be its own


@contextmanager
def told_in_print() -> Iterator[None]:
    """Arguments may be names of files, which may contain any character."""
    try:
        yield
    except UsageError as error:
        vars(error)["message"] = printable(error.message)
        raise


class Commands(TyperGroup):
    """A group of commands whose messages show only what can be printed."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        with told_in_print():
            return super().make_context(info_name, args, *rest, **extra)

    def invoke(self, ctx: Any) -> Any:
        with told_in_print():
            return super().invoke(ctx)
