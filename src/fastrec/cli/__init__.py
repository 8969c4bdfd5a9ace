"""The `fastrec` command."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

from .. import __version__
from ..backend import BackendError, is_device_error
from .process import Interrupted, ended, fail, flush_output, hear_interrupts, leave, prepare_streams

try:
    import typer

    from . import addition, completion, course, hopfield, laws, machine, runs, text, translate
    from .outputs import show
    from .usage import Command, Commands, UsageError, wrong_usage
except KeyboardInterrupt:  # before `hear_interrupts`
    fail("interrupted", 130)

app = typer.Typer(
    cls=Commands,
    help="Hopfield networks and recurrent neural networks in compiled kernels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Memories": (hopfield.capacity, hopfield.retrieval, laws.laws, hopfield.phase, hopfield.recall),
    "Sequences": (addition.addition,),
    "Results": (runs.export, runs.plot),
    "Machine": (machine.bench, machine.compile, machine.info, completion.completion),
}
for title, commands in COMMANDS.items():
    for command in commands:
        app.command(cls=Command, rich_help_panel=title)(command)
for name, group in {"course": course, "text": text, "translate": translate}.items():
    app.add_typer(group.app, name=name, rich_help_panel="Sequences")


def version(asked: bool) -> None:
    if asked:
        print(f"fastrec {__version__}")
        raise typer.Exit


@app.callback()
def options(
    show: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line.

    The exit code is 0, or 1 after an error (reported in one line), 2 for wrong usage, 130 after Ctrl-C and
    143 after SIGTERM.
    """
    try:
        prepare_streams()
        hear_interrupts()
        try:
            try:
                code = app(standalone_mode=False)
            except OSError as error:
                if hasattr(error, "result"):  # the job is done, only its file could not be written
                    with suppress(OSError):
                        show(error.result)
                        flush_output()
                raise
            finally:
                flush_output()
        except BaseException:
            if Interrupted.number:  # compilation swallowed the interrupt, see `tell`, and then failed
                raise Interrupted from None
            raise
        sys.exit(code if isinstance(code, int) else 0)
    except UsageError as error:
        if type(error).__name__ != "NoArgsIsHelpError":  # of a click that may be typer's own
            fail(wrong_usage(error), error.exit_code)
        typer.echo(error.ctx.get_help())
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of the output has exited (`| head`)
        sys.exit(1)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error) or type(error).__name__)
    except (ValueError, BackendError, MemoryError, ArithmeticError) as error:
        fail(str(error) or type(error).__name__)
    except KeyboardInterrupt:
        leave(ended(signal.SIGINT), 130)
    except Interrupted:
        Interrupted.told = True
        leave(ended(Interrupted.number), 128 + Interrupted.number)
    except Exception as error:
        if not is_device_error(error):
            raise
        fail(f"the device failed: {error}")
