"""`fastrec completion`: what a shell offers when TAB is pressed."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import typer

from .help import choices, declared, sections
from .outputs import show

# Each calls `fastrec completion SHELL -- WORDS`, which prints candidates, and after a tab what they are for.
SCRIPTS = {
    "bash": """\
_fastrec() {
    local IFS=$'\\n'
    COMPREPLY=($(fastrec completion bash -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f 1))
    [[ -e ${COMPREPLY[0]} ]] && compopt -o filenames
    [[ ${COMPREPLY[0]} == */ ]] && compopt -o nospace
    return 0
}
complete -F _fastrec fastrec""",
    "zsh": """\
_fastrec() {
    local line
    local -a folders others
    for line in "${(@f)$(fastrec completion zsh -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        case $line in
            */) folders+=("$line") ;;
            ?*) others+=("${${line//:/\\\\:}/$'\\t'/:}") ;;
        esac
    done
    compadd -S '' -a folders
    _describe fastrec others
}
compdef _fastrec fastrec""",
    "fish": """\
complete --command fastrec --no-files \\
    --arguments '(fastrec completion fish -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'""",
}


class Shell(StrEnum):
    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="The shell that completes.")],
    words: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Print what lets a shell complete commands, options and their values when TAB is pressed.

    Add a line to the file that the shell reads when it starts, ~/.bashrc, ~/.zshrc (after compinit) or
    ~/.config/fish/config.fish.

    Examples::
      eval "$(fastrec completion bash)"
      eval "$(fastrec completion zsh)"
      fastrec completion fish | source
    """
    if words is None or not words:
        show(SCRIPTS[shell])
        return
    if shell == "bash":  # which makes words of the sign in --rule=hebb
        words = [word for word in words[:-1] if word != "="] + ["" if words[-1] == "=" else words[-1]]
    for value, text in candidates(words):
        show(f"{value}\t{text}" if text else value)


def candidates(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield what the last of the words of a command line can become, and what each is for."""
    from . import app

    command: Any = typer.main.get_command(app)
    context = command.make_context("fastrec", [], resilient_parsing=True)
    *before, incomplete = words
    waiting, places = None, 0
    for word in before:
        if waiting:
            waiting = None
        elif word.startswith("-"):
            waiting = None if "=" in word else valued(command, word)
        elif not hasattr(command, "commands"):
            places += 1
        elif (command := command.commands.get(word)) is None:
            return
    name, sign, value = incomplete.partition("=")
    if waiting:
        yield from values(command, waiting, incomplete)
    elif incomplete.startswith("-") and sign:
        yield from ((f"{name}={each}", text) for each, text in values(command, valued(command, name), value))
    elif incomplete.startswith("-") or hasattr(command, "commands"):
        for entries in sections(command, context).values():
            for names, text in entries:
                for each in names.replace(",", "").split():
                    if each.startswith(incomplete) and each.startswith("-") == incomplete.startswith("-"):
                        yield each, text
    else:
        arguments = [param for param in command.params if param.param_type_name == "argument"]
        for param in arguments[places : places + 1] or [each for each in arguments if each.nargs != 1]:
            yield from values(command, param.name, incomplete)


def valued(command: Any, option: str) -> str | None:
    """Return the name of the parameter of an option that takes a value, None for others."""
    for param in command.params:
        if option in param.opts and (said := declared(command.callback).get(param.name)):
            return None if said.kind is bool else str(param.name)
    return None


def values(command: Any, name: str | None, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield the values of a parameter that begin with what has been typed."""
    if name is None:
        return
    said = declared(command.callback)[name]
    complete = said.info.autocompletion
    for value in choices(said.kind) or (complete(incomplete) if complete else []):
        if value.startswith(incomplete):
            yield value, ""
