"""scripts/gpu-check with a card that is not there and steps that go wrong; it refuses without one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gpu import results, table
from gpu.report import Report
from gpu.steps import STEPS

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "gpu-check"
PATHS = [ROOT / "src", ROOT / "benchmarks", ROOT / "tests" / "fakes"]

pytestmark = [pytest.mark.skipif(not shutil.which("bash"), reason="needs bash"), pytest.mark.slow]


def environment(**changes):
    """The environment of a run in which the fake CuPy is imported."""
    return os.environ | {"PYTHON": sys.executable, "PYTHONPATH": os.pathsep.join(map(str, PATHS))} | changes


def gpu_check(*arguments, command=(sys.executable, "-m", "gpu"), **changes):
    """Run the fake steps."""
    command = [*command, "--steps", "fake_steps", *map(str, arguments)]
    return subprocess.run(
        command, env=environment(**changes), capture_output=True, text=True, errors="replace"
    )


def results_in(out):
    return results.read(out / "gpu-fake-9000.jsonl")


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A run of all steps: how it ended, and the folder of its results."""
    out = tmp_path_factory.mktemp("out") / "results"
    return gpu_check("--out", out, command=[SCRIPT]), out


@pytest.mark.slow
def test_every_step_is_tried(everything):
    done, out = everything
    assert done.returncode == 1 and not done.stderr
    expected = {
        **{"works": "ok", "fails": "failed", "skips": "skipped", "forgets": "ok", "killed": "died"},
        **{"segfault": "died", "exits": "failed", "vanishes": "died", "lingers": "failed", "traps": "failed"},
        **dict.fromkeys(("hangs", "stubborn", "endless"), "timed out"),
        **dict.fromkeys(("orphan", "daemon", "closes", "prints", "scribbles"), "ok"),
        **{"missing": "failed", "end": "ok"},
    }
    steps = results_in(out).steps
    assert {name: step["status"] for name, step in steps.items()} == expected
    assert steps["killed"]["signal"] == "SIGKILL" and steps["segfault"]["signal"] == "SIGSEGV"
    for name, error in (
        ("fails", "AssertionError: not what the reference gets | 3 of 5"),
        ("skips", "PyTorch is not installed"),
        ("vanishes", "ended with exit status 0 and did not say how it went"),
        ("traps", "CUDARuntimeError: cudaErrorIllegalAddress: an illegal memory access"),
        ("hangs", "ended at its limit of 1 s; its last row is 'last'"),
        ("missing", "ModuleNotFoundError: No module named 'no_such_module'"),
    ):
        assert steps[name]["error"] == error


def test_time_limits_hold(everything):
    steps = results_in(everything[1]).steps
    assert 1 <= steps["hangs"]["seconds"] < 5 <= steps["stubborn"]["seconds"] < 11
    assert all(steps[name]["seconds"] < 5 for name in ("orphan", "daemon", "closes", "lingers"))


def test_no_process_is_left(everything):
    pid = results_in(everything[1]).rows["orphan", "child"]["pid"]
    ran = Path(f"/proc/{pid}/cmdline")
    assert not ran.exists() or b"98764" not in ran.read_bytes()


def test_rows_and_log(everything):
    done, out = everything
    seen = results_in(out)
    assert {path.suffix for path in out.iterdir()} == {".jsonl", ".md", ".log"}
    assert all(path.stat().st_size < 2**24 for path in out.iterdir())
    assert seen.machine["card"] == "NVIDIA Fake 9000" and seen.machine["cuda"] == ["13.0", "13.2"]
    assert seen.rows["works", "a | b"]["checked"] and not seen.rows["fails", "sum"]["checked"]
    assert seen.rows["end", "sizes"]["limits_seen"] == {"copy": 4e12, "b1": 1e15}
    assert "first_s" not in seen.rows["scribbles", "odd"] and seen.rows["scribbles", "whole"]["checked"]
    log = (out / "gpu-fake-9000.log").read_text(encoding="utf-8")
    assert "Traceback" in log and "Segmentation fault" in log and "characters left out" in log
    assert "in hangs" in log, "where a step was at its limit"
    assert "a line without an end: ½\ngpu-check: prints: ok" in log
    assert "a job | of several parts" in done.stdout and "in hangs" in done.stdout


def test_table(everything):
    done, out = everything
    text = (out / "gpu-fake-9000.md").read_text(encoding="utf-8")
    assert text in done.stdout
    assert "NVIDIA Fake 9000, compute capability 9.0, 132 multiprocessors, 80 GB" in text
    measured = next(line for line in text.splitlines() if line.startswith(r"| works | a \| b"))
    assert measured == (
        r"| works | a \| b | 250 ms (50 ms a step) | 200 ms (40 ms a step) | 5 GB/s | 0% | 20 Top/s "
        r"| 2% of b1 mma | 1 MB | PyTorch, 1 s (200 ms a step) | **4** "
        r"| ≥ 3 x PyTorch: yes; ≤ 10 ms a step: no | 1.5 s | yes |"
    )
    assert "- forgets, forgotten: **not checked**\n" in text
    assert "| killed | **died: ended with signal SIGKILL; its last row is 'before'** |" in text
    assert text.count("**not checked** |") == 3  # of fails, forgets and scribbles


def test_steps_run_again(everything, tmp_path):
    out = shutil.copytree(everything[1], tmp_path / "out")
    before = results_in(out)
    done = gpu_check("--out", out, "--only", "fails", "--only", "works", "forgets", FAKE_MENDED="1")
    after = results_in(out)
    assert done.returncode == 0
    assert after.rows["fails", "sum"]["checked"] and after.steps["fails"]["status"] == "ok"
    assert after.rows.keys() ^ before.rows.keys() == {("forgets", "forgotten"), ("forgets", "remembered")}
    assert after.steps.keys() == before.steps.keys()
    assert after.steps["killed"] == before.steps["killed"]
    assert len(list(out.iterdir())) == 3

    small = gpu_check("--out", out, "--only", "works", "--small")
    assert small.returncode == 0 and len(list(out.iterdir())) == 6
    sizes = results.read(out / "gpu-fake-9000-small.jsonl").rows["works", "sizes"]
    assert sizes["small"] and sizes["full"] == 0


def test_limits_from_the_command_line(tmp_path):
    done = gpu_check("--out", tmp_path, "--limit", "0.5", "--total", "1.4", "--only", "hangs", "end")
    steps = results_in(tmp_path).steps
    assert done.returncode == 1
    assert steps["hangs"]["error"].startswith("ended at its limit of 0.5 s")
    assert steps["end"]["error"] == "not begun: no time was left of 1.4 s"


def test_unchecked_rows_fail(tmp_path):
    assert gpu_check("--out", tmp_path, "--only", "forgets").returncode == 1


def test_card_lost(tmp_path):
    only = ("--only", "works", "killed", "closes", "end")
    done = gpu_check("--out", tmp_path / "out", *only, FAKE_LOST=str(tmp_path / "lost"))
    steps = results_in(tmp_path / "out").steps
    assert done.returncode == 1 and steps["works"]["status"] == "ok"
    for name in ("closes", "end"):
        assert steps[name]["status"] == "failed" and steps[name]["error"] == (
            "CUDA cannot be started in this process: cudaErrorUnknown: unknown error; "
            "the card may be lost since step 'killed' died"
        )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path, number):
    command = [SCRIPT, "--steps", "fake_steps", "--out", tmp_path, "--only", "works", "sleeps", "end"]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    while "sleeps" not in (seen := results_in(tmp_path)).steps or ("sleeps", "asleep") not in seen.rows:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    printed, _ = process.communicate()
    assert process.returncode == 128 + number
    seen = results_in(tmp_path)
    assert seen.steps["works"]["status"] == "ok" and seen.steps["sleeps"]["status"] == "interrupted"
    assert "end" not in seen.steps
    assert "| sleeps | **interrupted** |" in (tmp_path / "gpu-fake-9000.md").read_text(encoding="utf-8")
    assert "| sleeps | **interrupted** |" in printed
    with pytest.raises(ProcessLookupError):
        os.kill(seen.rows["sleeps", "asleep"]["pid"], 0)


def test_closed_output(tmp_path):
    command = [SCRIPT, "--steps", "fake_steps", "--out", tmp_path, "--only", "works", "prints"]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    with process.stderr:
        assert not process.stderr.read() and process.wait() == 0
    assert results_in(tmp_path).steps["prints"]["status"] == "ok"


def test_clocks(tmp_path):
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        "#!/bin/sh\ncase $* in\n"
        "--id=0000:1B:00.0*) echo '1980, 2619, 1980, 2619, 41, [N/A]' ;;\n"
        "*driver_version*) echo 'NVIDIA Fake 9000, 580.1'; echo 'NVIDIA Other, 580.1' ;;\n"
        "*) exit 9 ;;\nesac\n"
    )
    smi.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    assert gpu_check("--out", tmp_path / "out", "--only", "works", PATH=path).returncode == 0
    seen = results_in(tmp_path / "out")
    clocks = {"sm": 1980, "memory": 2619, "sm_max": 1980, "memory_max": 2619, "temperature": 41}
    assert seen.machine["clocks"] == seen.steps["works"]["clocks"] == clocks
    assert seen.machine["driver"] == "580.1"
    assert "clock 1980 of 1980 MHz, memory at 2619 of 2619 MHz; driver 580.1," in table.table(seen)


def test_card_that_does_not_answer(tmp_path):
    """The steps are tried all the same."""
    done = gpu_check("--out", tmp_path, "--only", "skips", FAKE_CUPY="crash")
    seen = results.read(tmp_path / "gpu-unknown-card.jsonl")
    assert done.returncode == 1 and seen.steps["skips"]["signal"] == "SIGABRT"
    assert seen.machine["unavailable"] == "CUDA could not be asked about the card: signal SIGABRT"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("no driver", "no usable CUDA device: cudaErrorInsufficientDriver"),
        ("broken", "cannot run it; it needs CuPy, NumPy and Numba: ImportError: libnvrtc.so.13"),
    ],
)
def test_refuses_without_cuda(tmp_path, fault, said):
    done = gpu_check("--out", tmp_path / "out", command=[SCRIPT], FAKE_CUPY=fault)
    assert done.returncode == 2 and said in done.stderr
    assert done.stderr.startswith("gpu-check: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("", "no card here: "),
        ("no-python", "PYTHON=no-python cannot run it"),
        (sys.executable, "named 'cupy'"),
    ],
)
def test_refuses_without_a_card(tmp_path, python, said):
    script = tmp_path / "scripts" / "gpu-check"
    script.parent.mkdir()
    shutil.copy(SCRIPT, script)  # beside no .venv
    for tool in ("dirname", "sed", "bash"):  # no nvidia-smi, no python3
        (tmp_path / tool).symlink_to(shutil.which(tool))
    # Without site-packages this interpreter has no CuPy, wherever it runs.
    changes = {"PYTHON": python, "PATH": str(tmp_path), "PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}
    if python == sys.executable:
        python = tmp_path / "python"
        python.write_text(f'#!{shutil.which("bash")}\nexec "{sys.executable}" -S "$@"\n')
        python.chmod(0o755)
        changes["PYTHON"] = str(python)
    done = subprocess.run([script], env=environment(**changes), capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "works", "nothing"), "no step is named 'nothing'; there are works, fails, "),
        (("--out", __file__), "is not a folder that can be written to: File exists"),
        (("--out", "/dev/null/results"), "is not a folder that can be written to: Not a directory"),
        (("--limit", "-3"), "argument --limit: invalid seconds value: '-3'"),
        (("--quick",), "unrecognized arguments: --quick"),
        (("--table", "--out", "nowhere"), "--out nowhere is not a folder"),
    ],
)
def test_wrong_arguments(arguments, said):
    done = gpu_check(*arguments)
    assert done.returncode == 2 and said in done.stderr
    assert done.stderr.startswith("gpu-check: ") and done.stderr.count("\n") == 1


def test_list():
    command = [SCRIPT, "--list"]
    done = subprocess.run(command, env=environment(FAKE_CUPY="broken"), capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
    for step, line in zip(STEPS, done.stdout.splitlines(), strict=False):
        assert line.split()[0] == step.name and line.endswith(step.about)
        assert ("default" in line) == step.default and f" {step.limit} s " in line


def test_steps():
    default = [step for step in STEPS if step.default]
    assert sum(step.expected for step in default) <= 300
    assert all(0 < step.expected <= step.limit for step in STEPS)
    assert len({step.name for step in STEPS}) == len(STEPS)
    assert [step.name for step in default] == [
        *("card", "compile", "kernels-hopfield", "kernels-rnn", "kernels-teams", "capacity", "main-job"),
        *("million", "recurrent", "training", "torch", "suite"),
    ]


def test_half_a_line_spoils_no_other(tmp_path):
    path = tmp_path / "rows.jsonl"
    for i in range(2):
        results.append(path, {"step": "a", "name": str(i)})
        with path.open("a") as file:
            file.write('{"step": "a", "na')
    assert list(results.read(path).rows) == [("a", "0"), ("a", "1")]
    assert results.read(tmp_path / "none") == results.Results()


def test_row_is_named_once(tmp_path):
    """A field called like what the row is known by does not take its place."""
    report = Report(tmp_path / "rows", "step", False, {}, 0)
    report.row("its name", **{"name": "another", "step": "another", "seconds": 1})
    assert results.read(report.path).rows["step", "its name"]["seconds"] == 1


def test_many_unchecked_rows(tmp_path):
    for i in range(50):
        results.append(tmp_path / "rows", {"step": "a", "name": f"case {i}", "error": "wrong\n" * 1000})
    text = table.table(results.read(tmp_path / "rows"))
    assert "- a, case 0: **not checked**: wrong wrong" in text and "\n- and 30 more\n" in text
    assert len(text) < 6000


def test_arrays_are_written(tmp_path):
    np = pytest.importorskip("numpy")
    results.append(tmp_path / "rows", {"a": np.float32(0.5), "b": np.arange(2), "c": Path("x")})
    assert json.loads((tmp_path / "rows").read_text()) == {"a": 0.5, "b": [0, 1], "c": "x"}


def test_readme(everything, tmp_path):
    readme = tmp_path / "README.md"
    shutil.copy(ROOT / "benchmarks" / "README.md", readme)
    out = shutil.copytree(everything[1], tmp_path / "out")
    shutil.copy(out / "gpu-fake-9000.jsonl", out / "gpu-other.jsonl")
    shutil.copy(out / "gpu-fake-9000.jsonl", out / "gpu-other-small.jsonl")
    for _ in range(2):
        table.write_readme(readme, out)
        assert readme.read_text(encoding="utf-8").count(r"| works | a \| b |") == 2
    table.write_readme(readme, tmp_path / "none")
    assert "<!-- gpu table -->\nNot measured yet.\n<!-- gpu end -->" in readme.read_text(encoding="utf-8")
