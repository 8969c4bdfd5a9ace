"""How commands are explained, completed, and named in errors."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import fastrec
from fastrec import cli
from fastrec.cli.completion import SCRIPTS, candidates
from fastrec.cli.help import declared, help_text
from fastrec.cli.usage import UsageError, in_options, wrong_usage

ROOT = typer.main.get_command(cli.app)


def leaves(command: Any = ROOT, names: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return all commands, with their names."""
    found = {names: command} if not hasattr(command, "commands") else {}
    for name, inner in getattr(command, "commands", {}).items():
        found |= leaves(inner, (*names, name))
    return found


COMMANDS = leaves()
each_command = pytest.mark.parametrize("names", COMMANDS, ids=" ".join)


def explained(names: tuple[str, ...], width: int) -> str:
    context = COMMANDS[names].make_context(" ".join(["fastrec", *names]), [], resilient_parsing=True)
    return re.sub(r"\x1b\[\d*m", "", help_text(COMMANDS[names], context, width))


@each_command
def test_help_fits_and_names_every_option(names: tuple[str, ...]) -> None:
    texts = [explained(names, width) for width in (50, 80, 120)]
    for text, width in zip(texts, (50, 80, 120), strict=True):
        longest = max(map(len, text.split()))
        assert max(map(len, text.splitlines())) <= max(width, 6 + longest)
        assert "<" not in text and "bool" not in text.replace("or bool,", "")
    for param in COMMANDS[names].params:
        if not getattr(param, "hidden", False) and param.param_type_name == "option":
            assert all(
                re.search(rf"^  .*{option}\b", text, re.MULTILINE) for text in texts for option in param.opts
            )


@each_command
def test_examples_of_help_are_commands(names: tuple[str, ...]) -> None:
    _, _, rest = explained(names, 120).partition("\nExamples:\n")
    lines = rest.partition("\n\n")[0].splitlines()
    assert lines
    for line in lines:
        words = shlex.split(re.sub(r'^eval "\$\((.*)\)"$', r"\1", line.partition(" | ")[0].strip()))
        assert tuple(words[1 : len(names) + 1]) == names or names == ("course",)
        COMMANDS[names].make_context("fastrec", words[len(names) + 1 :])


def test_commands_and_long_options_are_in_groups() -> None:
    context = ROOT.make_context("fastrec", [], resilient_parsing=True)
    heads = re.findall(r"^(?:\x1b\[1m)?(\w.*):(?:\x1b\[0m)?$", help_text(ROOT, context, 80), re.MULTILINE)
    assert heads == ["Memories", "Sequences", "Results", "Machine", "Options"]
    heads = re.findall(r"^(\w.*):$", explained(("capacity",), 80), re.MULTILINE)
    assert heads == ["Examples", "What is measured", "How it runs", "Output", "Options"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("", {"capacity", "text", "completion"}),
        ("cap", {"capacity"}),
        ("text ", {"train", "sample"}),
        ("capacity --rul", {"--rule"}),
        ("capacity --rule ", {"hebb", "storkey"}),
        ("capacity --rule=cov", {"--rule=covariance"}),
        ("addition --cell l", {"lstm", "leaky"}),
        ("capacity --backend c", {"cpu"}),
        ("capacity --stop l", {"largest"}),
        ("recall AT", {"ATB", "AT7"}),
        ("recall ATOM --update s", {"sync"}),
        ("laws --only hebb-all,st", {"hebb-all,storkey"}),
        ("course four-ways --methods m", {"momentum"}),
        ("bench --only rec", {"recall"}),
        ("compile cap", {"capacity"}),
        ("plot ", {"run.db", "sub/"}),
        ("plot sub/", {"sub/other.db"}),
        ("text sample ", {"model.npz", "sub/"}),
        ("text sample model.npz --gr", {"--greedy"}),
        ("text sample --greedy mo", {"model.npz"}),
        ("text train --no-b", {"--no-baselines"}),
    ],
)
def test_what_is_offered(
    line: str, offered: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("run.db", "model.npz", "sub/other.db", "picture.png"):
        (tmp_path / name).touch()
    found = [value for value, _ in candidates(shlex.split(line) + [""] * (line[-1:] in ("", " ")))]
    last = line.rpartition(" ")[2]
    assert offered <= {*found} and all(value.startswith(last) for value in found)
    assert "picture.png" not in found and "--noise" not in found


@pytest.mark.parametrize(
    "line", ["nonsense ", "capacity --nonsense=", "capacity --sizes ", "export none/", "info "]
)
def test_nothing_is_offered(line: str) -> None:
    assert not list(candidates(shlex.split(line) + [""] * line.endswith(" ")))


ASKED = {  # how each shell prints what it would offer for the line $1
    "bash": """
        COMP_WORDS=($1); [[ $1 == *' ' ]] && COMP_WORDS+=(''); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        compopt() { :; }
        eval "$(fastrec completion bash)"; _fastrec; printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        compdef() { :; }
        compadd() { shift 3; print -l -- ${(P)1}; }
        _describe() { print -l -- ${${(P)2}%%:*}; }
        eval "$(fastrec completion zsh)"
        words=("${(@s: :)1}"); CURRENT=${#words}; _fastrec
    """,
    "fish": "fastrec completion fish | source; complete --do-complete $argv[1] | string split -f 1 \\t",
}


@pytest.mark.slow
@pytest.mark.parametrize("shell", SCRIPTS)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fastrec capacity --rule sto", ["storkey"]),
        ("fastrec capacity --cri", ["--criterion"]),
        ("fastrec plot ", ["my run.db", "sub/"]),
    ],
)
def test_shells_offer_it(shell: str, line: str, offered: list[str], tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"needs {shell}")
    folder = tmp_path / "bin"
    folder.mkdir()
    script = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m fastrec "$@"\n'
    (folder / "fastrec").write_text(script)
    (folder / "fastrec").chmod(0o755)
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (work / "my run.db").touch()
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    command = [program, "-c", ASKED[shell], *(["shell"] if shell != "fish" else []), line]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=120)
    assert sorted(filter(None, done.stdout.splitlines())) == offered, done.stderr


def test_completion_loads_no_compiler() -> None:
    code = "import sys; from fastrec.cli.completion import candidates; "
    code += "print(*candidates(['laws', '--only', '']), {'numba', 'matplotlib', 'rich'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "storkey" in done.stdout and done.stdout.endswith("set()\n")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("max_sweeps is 0; it must be 1", "--max-sweeps is 0; it must be 1"),
        ("trials must be 1, got 0", "--trials must be 1, got 0"),
        ('no device; give backend="cpu"', "no device; give --backend cpu"),
        ("give fewer trials, or max_patterns", "give fewer trials, or --max-patterns"),
        ("the seed is taken", "the seed is taken"),
        ("run.db: seed is 0 in the file, 1 is asked", "run.db: --seed is 0 in the file, 1 is asked"),
        ("max_sweeps.db: no such file", "max_sweeps.db: no such file"),
        ("n is 0; it must be 1", "--sizes is 0; it must be 1"),
    ],
)
def test_messages_name_options(message: str, told: str) -> None:
    assert in_options(message, COMMANDS["capacity",].params) == told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("retrieval --n 5", "No such option: --n; see fastrec retrieval --help"),  # --noise is hidden
        ("capcity", "No such command 'capcity'. Did you mean 'capacity'? See fastrec --help"),
        ("capacity --rule hebbian", "Invalid value for --rule: 'hebbian' is not one of 'hebb', "),
        ("retrieval --temperature -1", "Invalid value for --temperature: "),
        ("completion", "Choose from: bash, zsh, fish; see fastrec completion --help"),
    ],
)
def test_wrong_usage_is_told_in_one_sentence(line: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        ROOT.main(line.split(), prog_name="fastrec", standalone_mode=False)
    assert told in wrong_usage(error.value)


# Options that take any value of their kind, or whose wrong values depend on what else is given.
FREE = {"--columns", "--corruption", "--noise", "--dask", "--prompt", "--out", "--folder", "--checkpoint"}


def wrong_values() -> list[tuple[tuple[str, ...], str, str]]:
    """Return each option of each command with a value that it cannot have."""
    found = []
    for names, command in COMMANDS.items():
        for name, said in declared(command.callback).items():
            (param,) = (param for param in command.params if param.name == name)
            if param.param_type_name != "option" or said.kind is bool or FREE & {*param.opts}:
                continue
            for value in {int: ["-1", "x"], float: ["nan", "x"], Path: ["none/x.foo"]}.get(said.kind, ["?"]):
                found.append((names, max(param.opts, key=len), value))
    return found


REQUIRED = {
    ("export",): ["none.db", "a.csv"],
    ("plot",): ["none.db"],
    ("text", "sample"): ["model.npz"],
    ("translate", "train"): ["pairs.tsv"],
    ("translate", "run"): ["translator.npz", "one"],
}


@pytest.mark.slow
@pytest.mark.parametrize(("names", "option", "value"), wrong_values(), ids=str)
def test_wrong_values_are_told_by_option(names, option, value, tmp_path, monkeypatch, capsys, models) -> None:
    monkeypatch.chdir(models)
    monkeypatch.setattr(cli, "hear_interrupts", lambda: None)
    monkeypatch.setattr(sys, "argv", ["fastrec", *names, option, value, *REQUIRED.get(names, ())])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    assert end.value.code in (1, 2) and not out and err.count("\n") == 1
    assert option in err or (value in err and value.startswith("none/"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small model of text, pairs of sentences, and a translator."""
    folder = tmp_path_factory.mktemp("models")
    model = fastrec.CharModel(4, seed=1, backend="reference")
    model.fit("tick tock " * 9, epochs=0.1, batch_size=2, steps=5, progress=False)
    model.save(folder / "model.npz")
    pairs = [(fastrec.number_words(n), fastrec.number_words(n, "es")) for n in range(30)]
    (folder / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs))
    translator = fastrec.Translator(4, embedding_size=3, min_count=1, seed=1, backend="reference")
    translator.fit(pairs, epochs=1, progress=False)
    translator.save(folder / "translator.npz")
    return folder
