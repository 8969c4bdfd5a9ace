"""The `fastrec` command: what it writes, its exit codes, one line for an error and never a traceback."""

import errno
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fastrec
from fastrec import cli
from fastrec.cli.options import parse_sizes
from fastrec.cli.pictures import read_pictures
from fastrec.cli.translate import bleu
from fastrec.hopfield.storage_capacity import ScalingResult

PNG = b"\x89PNG"
COMMAND = [sys.executable, "-c", "from fastrec.cli import main; main()"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "hear_interrupts", lambda: None)  # pytest keeps its own Ctrl-C
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs main() on arguments; gives the exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fastrec", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


def start(*arguments, **options):
    return subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(result, folder, word=""):
    """Exit code 1, one line that holds a word, no output, no file."""
    code, out, err = result
    assert code == 1 and out == ""
    assert err.startswith("fastrec: ") and err.count("\n") == 1 and word in err
    assert files(folder) == []


@pytest.fixture
def no_work(monkeypatch):
    """Fails a test that starts the kernels."""
    monkeypatch.setattr("fastrec.hopfield.storage_capacity.run.scan", lambda *_: pytest.fail("work started"))


def test_capacity_writes_csv_and_picture(run, folder):
    code, out, err = run("capacity", "--sizes", "20,30,40", "--trials", "5", "--seed", "3")
    assert code == 0 and err == ""
    assert "median" in out and "capacity.csv and capacity.png" in out
    assert files(folder) == ["capacity.csv", "capacity.png"]
    assert Path("capacity.png").read_bytes().startswith(PNG)
    loaded = ScalingResult.load("capacity.csv")
    expected = fastrec.capacity_scaling([20, 30, 40], 5, seed=3, progress=False)
    assert loaded.sizes == expected.sizes
    assert [list(r.counts) for r in loaded] == [list(r.counts) for r in expected]


def test_capacity_writes_elsewhere(run, folder):
    Path("sub").mkdir()
    code, out, _ = run(
        "capacity", "--sizes", "20", "--trials", "2", "--out", "sub/a.csv", "--plot", "sub/b.svg"
    )
    assert code == 0 and "sub/a.csv" in out
    assert files(folder) == ["sub"] and files(folder / "sub") == ["a.csv", "b.svg"]


def test_capacity_resumes_exports_and_plots_a_run_file(run, folder):
    arguments = ("capacity", "--sizes", "20,30,40", "--out", "run.db", "--plot", "a.png")
    assert run(*arguments, "--trials", "3")[0] == 0
    code, out, err = run(*arguments, "--trials", "5", "--workers", "2")
    assert code == 0 and err == "" and "run.db and a.png" in out
    code, out, err = run("export", "run.db", "run.csv")
    assert (code, out, err) == (0, "15 rows written to run.csv\n", "")
    assert ScalingResult.load("run.csv") == ScalingResult.load("run.db")
    code, out, err = run("plot", "run.db", "--out", "b.png")
    assert code == 0 and err == "" and "written to b.png" in out and "median" in out
    assert Path("b.png").read_bytes().startswith(PNG)
    assert files(folder) == ["a.png", "b.png", "run.csv", "run.db"]
    code, _, err = run(*arguments, "--seed", "1")
    assert code == 1 and "--seed is 0 in the file, 1 is asked" in err and err.count("\n") == 1


def test_retrieval(run, folder):
    arguments = (
        "retrieval",
        "--sizes",
        "40,60",
        "--loads",
        "0.05:0.1:lin2",
        "--trials",
        "2",
        "--probes",
        "3",
    )
    code, out, err = run(*arguments)
    assert (
        code == 0 and err == "" and out.splitlines()[0].startswith("retrieval: recall of at most 3 memories")
    )
    assert files(folder) == ["retrieval.csv", "retrieval.png"]
    assert Path("retrieval.png").read_bytes().startswith(PNG)
    assert run(*arguments, "--out", "r.db")[1].replace("r.db", "retrieval.csv") == out
    code, table, err = run("plot", "r.db")
    assert code == 0 and err == "" and table.splitlines()[:5] == out.splitlines()[:5]
    assert run(*arguments, "--workers", "2", "--dask", "tcp://127.0.0.1:1")[0] == 2


@pytest.mark.slow
def test_retrieval_at_a_temperature_and_of_dense_memories(run, folder):
    few = ("retrieval", "--sizes", "40", "--loads", "0.05,0.5", "--trials", "2", "--probes", "3")
    for options, told in (
        (("--temperature", "0.3"), "(async updates at temperature 0.3, 100 sweeps)"),
        (("--degree", "3"), "in dense memories of degree 3"),
        (("--degree", "exponential"), "in exponential dense memories"),
        (("--rule", "sequence", "--update", "sync"), "in networks of the rule sequence"),
    ):
        code, out, err = run(*few, *options)
        assert code == 0 and err == "" and told in out.splitlines()[0]
    for wrong in (("--degree", "x"), ("--temperature", "-1")):
        assert run(*few, *wrong)[0] == 2
    code, out, _ = run("capacity", "--sizes", "20", "--trials", "2", "--degree", "3", "--flips", "0")
    assert code == 0 and "in dense memories of degree 3" in out
    code, _, err = run(*few, "--rule", "sequence")
    assert code == 1 and "give --update sync" in err


@pytest.mark.parametrize("loads", ["x", "0.1:0.2", "0.2:0.1:lin3", "0.1:0.2:log3", ""])
def test_bad_loads(run, folder, loads):
    assert run("retrieval", "--loads", loads)[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "none.db", "a.csv"),
        ("plot", "none.db"),
        ("plot", "none.db", "--out", "a.foo"),
        ("export", "none.db", "a.xls"),
        ("capacity", "--dask", "nonsense://"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of a Dask client that found no scheduler
def test_runs_that_are_not_there(run, folder, arguments):
    refused(run(*arguments), folder)


@pytest.mark.usefixtures("no_work")
def test_dask_that_is_not_installed(run, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    refused(run("capacity", "--dask", "tcp://127.0.0.1:1"), folder, "pip install distributed")


def test_workers_or_dask(run):
    assert run("capacity", "--dask", "tcp://127.0.0.1:1", "--workers", "2")[0] == 2


def test_capacity_options_reach_the_job(run):
    arguments = ["--stop", "largest", "--criterion", "newest", "--update", "sync", "--backend", "reference"]
    code, _, _ = run("capacity", "--sizes", "12", "--trials", "3", "--max-patterns", "9", *arguments)
    definition = ScalingResult.load("capacity.csv").definition
    assert code == 0
    assert (definition.stop, definition.criterion, definition.update) == ("largest", "newest", "sync")
    assert definition.max_patterns == 9


@pytest.mark.slow
def test_rules_and_patterns_of_studies(run, folder):
    np.save("x.npy", np.random.default_rng(0).choice([-1, 1], (9, 20)))
    options = ["--sizes", "20", "--trials", "2", "--plot", "a.png", "--rule", "perceptron", "--margin", "0.1"]
    options += ["--max-passes", "50", "--self-coupling", "--thresholds", "1", "--tolerance", "0.1"]
    networks = "networks of the rule perceptron with patterns of the array with SHA-256 "
    for job, more in (("capacity", []), ("retrieval", ["--loads", "0.1"])):
        code, out, err = run(job, *options, "--patterns", "x.npy", *more)
        assert (code, err) == (0, "") and networks in out.splitlines()[0]
        code, out, _ = run(job, *options, "--activity", "0.3", *more)
        assert code == 0 and "rule perceptron with patterns of activity 0.3, self-coupling" in out
    result = ScalingResult.load("capacity.csv")
    given = {"rule": "perceptron", "margin": 0.1, "max_passes": 50, "self_coupling": True, "thresholds": 1}
    expected = fastrec.capacity(20, 2, activity=0.3, tolerance=0.1, **given)
    assert result[0].definition == expected.definition and np.array_equal(result[0].counts, expected.counts)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--patterns", "none.npy"], "none.npy"),
        (["--patterns", "."], "is a folder"),
        (["--patterns", "x.txt"], "x.txt: no .npy file of numbers"),
        (["--patterns", "cut.npy"], "cut.npy: no .npy file of numbers"),
        (["--patterns", "x.npz"], "x.npz: no .npy file of numbers"),
        (["--patterns", "objects.npy"], "objects.npy: no .npy file of numbers"),
        (["--rule", "covariance"], "activity is not given"),
        (["--margin", "1"], "it is of --rule perceptron"),
        (["--activity", "1.5"], "activity is 1.5"),
        (["--thresholds", "0.5"], "thresholds holds 0.5"),
    ],
)
@pytest.mark.usefixtures("no_work")
def test_studies_that_cannot_be(run, folder, arguments, word):
    x = np.ones((9, 10), np.int8)
    np.save("cut.npy", x)
    Path("cut.npy").write_bytes(Path("cut.npy").read_bytes()[:-1])
    np.savez("x.npz", x)
    np.save("objects.npy", np.array([None]))
    Path("x.txt").write_text("1 -1")
    before = files(folder)
    code, out, err = run("capacity", "--sizes", "10", *arguments)
    assert (code, out) == (1, "") and err.count("\n") == 1 and word in err and files(folder) == before


def test_capacity_without_a_fit_still_writes_everything(run, folder):
    code, out, _ = run("capacity", "--sizes", "20,30,40", "--trials", "1")
    assert code == 0 and "no fit: " in out
    assert files(folder) == ["capacity.csv", "capacity.png"]


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("20", [20]),
        ("200,400,800", [200, 400, 800]),
        ("20, 10", [20, 10]),
        ("10:1000:log3", [10, 100, 1000]),
        ("100:500:lin5", [100, 200, 300, 400, 500]),
        ("7:7:lin1", [7]),
        ("1:3:log9", [1, 2, 3]),
    ],
)
def test_sizes(text, sizes):
    assert parse_sizes(text) == sizes


BAD_SIZES = ["", ",", "abc", "1.5", "20,", "10:20", "10:20:30", "10:20:log", "10:20:log0", "20:10:log3"]
BAD_SIZES += ["0:10:log3", "10:20:foo3", "1:2:3:log4", f"10:{10**26}:log3", "1:9:lin99999999999999"]


@pytest.mark.parametrize("sizes", BAD_SIZES)
def test_bad_sizes_are_wrong_usage(run, folder, sizes):
    code, out, err = run("capacity", "--sizes", sizes)
    assert code == 2 and out == "" and "neither a list" in err
    assert files(folder) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--sizes", "50000000"], "memory"),
        (["--sizes", "20,50000000"], "memory"),
        (["--sizes", "0"], "--sizes is 0"),
        (["--sizes=-5"], "--sizes is -5"),
        (["--sizes", "20,20"], "more than once"),
        (["--trials", "0"], "trials"),
        (["--seed", "-1"], "seed"),
        (["--flips", "11"], "flips is 11"),
        (["--flips", "1.5"], "flips is 1.5"),
        (["--corruption", "11"], "flips is 11"),
        (["--max-sweeps", "0"], "--max-sweeps"),
        (["--plot", "a.foo"], ".png"),
        (["--out", "a.txt"], ".csv"),
        (["--out", ""], ".csv"),
        (["--out", "none/a.csv"], "none"),
        (["--plot", "none/a.png"], "none"),
        (["--out", "/proc/a.csv"], "/proc"),
        (["--plot", "/proc/a.png"], "/proc"),
    ],
)
@pytest.mark.usefixtures("no_work")
def test_capacity_refuses_before_work(run, folder, arguments, word):
    if "/proc" in word and not os.path.isdir("/proc"):
        pytest.skip("needs a folder that nobody can write to")
    refused(run("capacity", "--sizes", "10,20", *arguments), folder, word)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("option", ["--out", "--plot"])
def test_a_folder_is_no_file(run, folder, option):
    name = {"--out": "d.csv", "--plot": "d.png"}[option]
    Path(name).mkdir()
    code, _, err = run("capacity", "--sizes", "20", option, name)
    assert code == 1 and "is a folder" in err and files(folder) == [name]


def test_missing_backend(run, folder, monkeypatch):
    monkeypatch.setattr(
        "fastrec.backend.unavailable_reason", lambda name, domain=None: "no gpu" if name == "gpu" else None
    )
    refused(run("capacity", "--sizes", "20", "--backend", "gpu"), folder, "gpu")
    refused(run("recall", "--backend", "gpu"), folder, "gpu")


def test_environment_names_the_backend(run, folder, monkeypatch):
    monkeypatch.setenv("FASTREC_BACKEND", "nonsense")
    refused(run("capacity", "--sizes", "20"), folder, "FASTREC_BACKEND")
    assert run("capacity", "--sizes", "10", "--trials", "1", "--backend", "reference")[0] == 0


@pytest.mark.parametrize("threads", ["1", "100000"])
@pytest.mark.slow
def test_threads_do_not_change_results(threads):
    process = start("capacity", "--sizes", "20,50", "--trials", "8", "--threads", threads)
    assert process.communicate()[1] == "" and process.returncode == 0
    expected = fastrec.capacity_scaling([20, 50], 8, progress=False)
    assert [list(r.counts) for r in ScalingResult.load("capacity.csv")] == [list(r.counts) for r in expected]


def test_recall(run, folder):
    code, out, err = run("recall")
    assert code == 0 and err == "" and out.count("the memory") == 4
    assert files(folder) == ["recall.png"] and Path("recall.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(("text", "number"), [("é", 1), ("A", 1), ("AAAA", 1), ("ABAB", 2)])
def test_recall_counts_each_letter_once(run, text, number):
    code, out, _ = run("recall", text)
    assert code == 0 and out.startswith(f"{number} memories of 32 x 32")


@pytest.mark.parametrize("text", ["", " ", "A B", "\n", "\udcff"])
def test_recall_refuses_letters_without_ink(run, folder, text):
    refused(run("recall", text), folder)


def test_recall_of_inverted_memories(run):
    code, out, _ = run("recall", "A", "--noise", "1.0")
    assert code == 0 and "-1.000  -1.000" in out and "a fixed point" in out


@pytest.mark.parametrize("flips", ["1", "1.0", "0.3"])
def test_flips_of_a_recall(run, folder, flips):
    _, out, _ = run("recall", "A", "--flips", flips)
    number = int(flips) if flips.isdigit() else round(float(flips) * 1024)
    assert f"{number / 1024:.0%} flipped" in out and f"{1 - 2 * number / 1024:.3f}" in out
    if "." in flips:
        assert run("recall", "A", "--noise", flips)[1] == out


@pytest.mark.slow
def test_flips_of_studies(run, folder):
    for job, old, flips in (("capacity", "--corruption", "2"), ("retrieval", "--noise", "0.1")):
        options = [job, "--sizes", "20,30", "--trials", "2", "--plot", "a.png", "--out"]
        options += ["a.csv"] if job == "capacity" else ["a.csv", "--loads", "0.1"]
        found = []
        for name in (old, "--flips"):
            assert run(*options, name, flips)[0] == 0
            found.append([row.split(",cpu,")[0] for row in Path("a.csv").read_text().splitlines()])
        assert found[0] == found[1]
    code, _, err = run("capacity", "--flips", "one")
    assert code == 2 and "neither a number of units" in err


def shades(*shape):
    return np.random.default_rng(shape).integers(0, 256, shape, np.uint8)


def test_recall_of_pictures(run, folder):
    """One gradient in every format and mode: dark is +1, half of the units."""
    ramp = np.broadcast_to(np.arange(0, 240, 4, dtype=np.uint8), (60, 60))
    paper = np.zeros((60, 60, 4), np.uint8)  # transparent black is white
    paper[:, :30, 3] = 255
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees clockwise
    for name, image, options in (
        ("grey.png", Image.fromarray(ramp), {}),
        ("colour.jpg", Image.fromarray(np.stack([ramp, ramp // 2, ramp], axis=-1)), {"quality": 95}),
        ("sixteen.png", Image.fromarray(ramp.astype(np.uint16) * 256), {}),
        ("float.tif", Image.fromarray(ramp.astype(np.float32)), {}),
        ("transparent.png", Image.fromarray(paper), {}),
        ("palette.gif", Image.fromarray(ramp).convert("P"), {}),
        ("bits.bmp", Image.fromarray(ramp < 120).point(lambda value: 255 - value), {}),
        ("turned.jpg", Image.fromarray(np.ascontiguousarray(ramp.T[::-1])), {"exif": turned}),
    ):
        image.save(name, **options)
        (pattern,) = read_pictures([Path(name)], 12)
        assert (pattern[:, :6] == 1).all() and (pattern[:, 6:] == -1).all(), name
    Image.fromarray(shades(90, 50)).save("a.webp")
    Image.fromarray(shades(9, 5, 3)).save("b.ppm")
    code, out, err = run("recall", "--image", "a.webp", "--image", "b.ppm", "--image", "grey.png")
    assert code == 0 and err == "" and out.startswith("3 memories of 32 x 32 = 1024 units, 25% flipped")
    assert "+1 where a picture is darker than its median grey" in out and out.count("the memory\n") == 3
    assert Path("recall.png").read_bytes().startswith(PNG) and "\ngrey.png  " in out
    code, out, err = run("recall", "AT", "--image", "a.webp", "--side", "20", "--out", "c.svg")
    assert code == 0 and err == "" and out.startswith("3 memories of 20 x 20") and "  T " in out
    assert "median grey" in " ".join(run("recall", "--help")[1].split())


@pytest.mark.parametrize(("dark", "share"), [(0, 0.7), (0, 0.3), (40, 0.5)])
def test_pictures_with_one_grey_in_more_than_half(dark, share):
    pixels = np.full((10, 10), 255, np.uint8)
    pixels[: round(10 * share)] = dark
    Image.fromarray(pixels).save("a.png")
    assert np.array_equal(read_pictures([Path("a.png")], 10)[0], np.where(pixels == dark, 1, -1))


def test_recall_refuses_pictures(run, folder, monkeypatch):
    def refuses(*words, arguments=("--image", "a.png")):
        code, out, err = run("recall", *arguments)
        assert code == 1 and out == "" and err.startswith("fastrec: ") and err.count("\n") == 1
        assert all(word in err for word in words) and not Path("recall.png").exists(), err

    refuses("a.png", "No such file")
    Path("a.png").mkdir()
    refuses("a.png", "directory")
    Path("a.png").rmdir()
    for contents in (b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"):
        Path("a.png").write_bytes(contents)
        refuses("a.png: no PNG, JPEG, ", "picture that can be read")
    for pixels in (np.full((9, 9), 3, np.uint8), np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 255):
        Image.fromarray(pixels).save("a.png")
        refuses("a.png: all pixels are equal at 32 x 32")
    Image.fromarray(shades(99, 99) // 2).save("a.png")
    Image.fromarray(shades(99, 99) // 2 + 100).save("b.png")
    twice = ("--image", "a.png", "--image", "b.png")
    refuses("b.png becomes the same pattern as a.png", arguments=twice)
    refuses("text is empty", arguments=("", *twice))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9000)  # one of 99 x 99 is above it, by less than twice
    refuses("a.png: no PNG, ", "exceeds limit")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    refuses("a.png: no PNG, ", "exceeds limit")


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm"])
def test_damaged_pictures(suffix):
    """Whatever the bytes are, there is a pattern or one sentence that names the file."""
    Image.fromarray(shades(40, 30)).save(f"whole.{suffix}")
    whole, path = Path(f"whole.{suffix}").read_bytes(), Path(f"damaged.{suffix}")
    rng, refused = np.random.default_rng(0), []
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), rng.choice([40, 2000])), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged[: rng.choice([len(whole), rng.integers(1, len(whole))])])
        try:
            assert (abs(read_pictures([path], 8)) == 1).all()
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert all(text.startswith(f"{path}: ") and "\n" not in text for text in refused)


@pytest.mark.parametrize("arguments", [["--noise", "1.5"], ["--noise", "nan"], ["--side", "3"]])
def test_recall_wrong_usage(run, arguments):
    assert run("recall", *arguments)[0] == 2


@pytest.mark.parametrize("out", ["a.foo", "none/a.png", "/proc/a.png", ""])
def test_recall_refuses_before_work(run, folder, out):
    if out.startswith("/proc") and not os.path.isdir("/proc"):
        pytest.skip("needs a folder that nobody can write to")
    refused(run("recall", "--out", out), folder)


def test_module_is_the_command(folder):
    command = [sys.executable, "-m", "fastrec"]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    assert "Usage" in shown and all(name in shown for name in ("capacity", "retrieval", "text", "info"))
    assert subprocess.run([*command, "nonsense"], capture_output=True).returncode == 2


def test_info_version_help(run):
    code, out, _ = run("info")
    assert code == 0 and all(name in out for name in ("reference", "cpu", "gpu", fastrec.__version__))
    assert run("--version")[:2] == (0, f"fastrec {fastrec.__version__}\n")
    for arguments in (["--help"], ["capacity", "-h"], ["recall", "--help"]):
        code, out, _ = run(*arguments)
        assert code == 0 and "Usage" in out
    assert run("nonsense")[0] == 2
    assert run()[0] in (0, 2)  # the help; click changed its mind about the code


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
# The second is inside one kernel call for minutes.
@pytest.mark.parametrize("size", [pytest.param("20000", marks=pytest.mark.slow), "200000"])
def test_interrupt(folder, size):
    process = start("capacity", "--sizes", size, "--trials", "1000", "--max-patterns", "8000")
    time.sleep(2.5)
    if process.poll() is not None:  # a machine with many cores and little memory
        pytest.skip(process.communicate()[1])
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and time.monotonic() - begin < 5
    assert out == "" and err.startswith("fastrec: interrupted") and files(folder) == []


def test_interrupt_inside_a_callback_of_c(folder):
    """As compilation makes them, where Python can only report an exception and go on."""
    code = """
import ctypes, os, signal, time
from fastrec import cli
from fastrec.cli.options import parse_sizes
cli.hear_interrupts()
@ctypes.CFUNCTYPE(None)
def callback():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
callback()
time.sleep(20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "fastrec: interrupted\n")


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.slow
def test_broken_pipe(folder, unbuffered):
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    process = start("capacity", "--sizes", "20", "--trials", "1", env=environment)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 1
    assert files(folder) == ["capacity.csv", "capacity.png"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_disk(unbuffered):
    with open("/dev/full", "w") as full:
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(
            [*COMMAND, "info"], stdout=full, stderr=subprocess.PIPE, text=True, env=environment
        )
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "No space" in done.stderr


@pytest.mark.slow
def test_no_escape_codes_off_a_terminal():
    process = start("capacity", "--sizes", "300,600", "--trials", "60")
    out, err = process.communicate()
    assert process.returncode == 0 and err == "" and "\x1b" not in out and "\r" not in out


def test_addition(run, folder):
    arguments = (
        "--cell",
        "elman",
        "--delay",
        "0",
        "--networks",
        "8",
        "--epochs",
        "12",
        "--test-columns",
        "99",
    )
    code, out, err = run("addition", *arguments, "--save", "adder.npz")
    assert code == 0 and not err
    assert "0 wrong digits of 100000" in out and "written to addition.png and adder.npz" in out
    assert (folder / "addition.png").read_bytes().startswith(b"\x89PNG")
    assert fastrec.RNN.load(folder / "adder.npz").cell == "elman"


@pytest.mark.parametrize("arguments", [("--plot", "a.txt"), ("--save", "a.txt"), ("--save", "none/a.npz")])
def test_addition_refuses_before_work(run, folder, arguments):
    refused(run("addition", *arguments), folder)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--networks", "2", "--epochs", "1"),
        ("--networks", "1", "--cell", "elman", "--delay", "0", "--epochs", "3", "--learning-rate", "1e38"),
        ("--test-columns", "99999999999"),
    ],
)
def test_addition_that_fails_says_so(run, folder, arguments):
    refused(run("addition", *arguments), folder)


@pytest.mark.slow
def test_four_ways(run, folder):
    arguments = ("course", "four-ways", "--quick", "--tasks", "order-2,addition-80")
    code, out, err = run(*arguments, "--methods", "constant,echo-state", "--networks", "2")
    assert code == 0 and not err
    rows = [line.split() for line in out.splitlines()[2:10]]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        (task, method, network)
        for task in ("addition-80", "order-2")
        for method in ("constant", "echo-state")
        for network in "01"
    ]
    assert out.endswith(" s without compilation, written to four-ways.csv and four-ways.png\n")
    assert (folder / "four-ways.png").read_bytes().startswith(PNG)
    again = run(*arguments, "--methods", "constant,echo-state", "--networks", "2")
    assert again[1].splitlines()[:10] == out.splitlines()[:10]
    code, out, err = run(*arguments, "--seed", "1")
    assert code == 1 and not out and "is of a run with --seed 0, and --seed is 1" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--out", "a.txt"),
        ("--plot", "a.txt"),
        ("--tasks", "addition"),
        ("--methods", ""),
        ("--out", "none/a.csv"),
    ],
)
def test_four_ways_refuses_before_work(run, folder, arguments):
    refused(run("course", "four-ways", "--quick", *arguments), folder)


TINY = ("--hidden", "6", "--layers", "1", "--batch", "4", "--steps", "10", "--epochs", "2")


@pytest.fixture
def poem(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "my poem.txt"
    path.write_text("the word was short, and the word was the end.\n" * 20, encoding="utf-8")
    return path


def test_text_train_without_a_file(run, folder):
    code, out, err = run("text", "train", *TINY[:-1], "0.1", "--prompt", "ROMEO:", "--no-baselines")
    assert code == 0 and err == ""
    assert out.startswith("Romeo and Juliet: 133465 characters, 61 symbols; 1 x 6 gru")
    assert files(folder) == ["model.npz", "text.png"]


def test_text_train_looks_whether_the_baselines_fit(run, folder, poem, monkeypatch):
    monkeypatch.setattr("fastrec.validation.SMALL", 0)
    monkeypatch.setattr("fastrec.validation.available_memory", lambda _: 10**5)
    refused(run("text", "train", str(poem), *TINY), folder, "counting n-grams needs 134 kB of memory, 100 kB")


def test_text_train_and_sample(run, folder, poem):
    code, out, err = run("text", "train", str(poem), *TINY, "--curve", "c.csv", "--checkpoint", "ck.npz")
    assert code == 0 and err == ""
    assert "920 characters, 14 symbols; 1 x 6 gru" in out
    assert "6-gram" in out and "this model" in out and "held out" in out
    assert files(folder) == ["c.csv", "ck.npz", "model.npz", "text.png"]
    assert (folder / "text.png").read_bytes().startswith(PNG)
    model = (folder / "model.npz").read_bytes()
    code, again, _ = run("text", "train", str(poem), *TINY, "--checkpoint", "ck.npz", "--no-baselines")
    assert code == 0 and "gram" not in again
    assert (folder / "model.npz").read_bytes() == model

    code, out, err = run("text", "sample", "model.npz", "--prompt", "the", "--length", "300", "--seed", "3")
    assert code == 0 and err == ""
    assert out.startswith("the") and len(out) == 3 + 300 + 1
    assert run("text", "sample", "model.npz", "--prompt", "the", "--length", "300", "--seed", "3")[1] == out
    code, out, _ = run("text", "sample", "model.npz", "--samples", "3", "--length", "7", "--top-k", "4")
    assert code == 0 and out.count("---") == 6
    greedy = run("text", "sample", "model.npz", "--greedy", "--length", "20")[1]
    assert greedy == run("text", "sample", "model.npz", "--temperature", "0", "--length", "20")[1]
    assert len(run("text", "sample", "model.npz", "--rounded", "--top-p", "0.9", "--length", "20")[1]) == 21
    code, out, err = run("text", "sample", "model.npz", "--prompt", "Zebra")
    assert code == 1 and out == ""
    assert err.startswith(
        "fastrec: --prompt holds 'Z', 'b', not among the 14 symbols of this model; give --prompt era"
    )


def test_text_by_word(run, folder, poem):
    options = (*TINY, "--unit", "word", "--embedding", "3", "--held-out", "0")
    code, out, _ = run("text", "train", str(poem), *options)
    assert code == 0 and "train" in out and "held out" not in out
    assert run("text", "sample", "model.npz", "--prompt", "the word", "--length", "5")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("train", "none.txt"), "none.txt"),
        (("train", "POEM", "--out", "model.txt"), "suffix"),
        (("train", "POEM", "--out", "nowhere/model.npz"), "nowhere"),
        (("train", "POEM", "--plot", "curve.xyz"), "curve.xyz"),
        (("train", "POEM", "--epochs", "1", "--minutes", "1"), "--epochs and --minutes"),
        (("train", "POEM", "--learning-rate", "0"), "--learning-rate is 0"),
        (("train", "BYTES"), "is not UTF-8 text: byte 3"),
        (("train", "EMPTY"), "text is empty"),
        (
            ("train", "POEM", "--prompt", "xyz"),
            "--prompt holds 'x', 'y', 'z', not among the 14 symbols",
        ),
        (("train", "POEM", "--checkpoint", "model.npz"), "--checkpoint and --out are both model.npz"),
        (("sample", "POEM"), "poem.txt: not a fastrec text model"),
        (("sample", "none.npz"), "none.npz"),
    ],
)
def test_text_refuses(run, folder, poem, arguments, word):
    for name, content in (("BYTES", b"abc\xff"), ("EMPTY", b"")):
        (poem.parent / name).write_bytes(content)
    given = [str(poem) if a == "POEM" else str(poem.parent / a) if a.isupper() else a for a in arguments]
    refused(run("text", *given), folder, word)


PAIRS = "".join(f"{fastrec.number_words(n)}\t{fastrec.number_words(n, 'es')}\n" for n in range(40))
SMALL = ("--hidden", "6", "--embedding", "5", "--batch", "8", "--epochs", "2")


@pytest.mark.slow
def test_translate_train_and_run(run, folder, monkeypatch):
    Path("pairs.tsv").write_text(PAIRS, encoding="utf-8")
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    code, out, err = run("translate", "train", "pairs.tsv", *SMALL, "--held-out", "0.1", "--attention", "dot")
    assert code == 0 and err == ""
    assert out.startswith("pairs.tsv: 36 pairs, ") and "    thirty-nine\n" in out and "held out" in out
    assert "BLEU of 4 held-out pairs: not computed, as sacrebleu is not installed" in out
    assert out.endswith("\nwritten to translator.npz\n")
    assert files(folder) == ["pairs.tsv", "translator.npz"]
    code, out, err = run("translate", "run", "translator.npz", "one", "Two", "--width", "2")
    assert code == 0 and err == "" and out.count("\n") == 2
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\n\nTwo\n")))
    lines = run("translate", "run", "translator.npz", "--width", "2")[1].split("\n")
    assert [lines[0], *lines[2:]] == out.split("\n") and lines[1] == ""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert run("translate", "run", "translator.npz") == (0, "", "")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\n\xff\n")))
    assert run("translate", "run", "translator.npz")[2].endswith(
        "standard input: line 2 is not UTF-8 text; convert it\n"
    )


def test_translate_needs_pairs_to_train_on(run, folder):
    file = folder.parent / "single pair.tsv"
    file.write_text("one\tuno\n", encoding="utf-8")
    refused(
        run("translate", "train", str(file), "--held-out", "0.9"), folder, "leaves none of the 1 pairs in"
    )


def test_bleu_of_translations(run, folder):
    pytest.importorskip("sacrebleu")
    for name in ("pairs.tsv", "others.tsv"):
        Path(name).write_text(PAIRS, encoding="utf-8")
    options = (*SMALL, "--validation", "others.tsv", "--attention", "none", "--out", "a.npz")
    code, out, err = run("translate", "train", "pairs.tsv", *options)
    assert code == 0 and err == "" and re.search(r"BLEU of 40 held-out pairs: \d+\.\d\n", out)
    assert fastrec.Translator.load("a.npz")._sizes.attention is None
    assert bleu(["uno dos tres cuatro"], ["uno dos tres cuatro"]) == "100.0"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("train", "none.tsv"), "none.tsv"),
        (("train", "PAIRS", "--out", "model.txt"), "suffix"),
        (("train", "PAIRS", "--epochs", "1", "--minutes", "1"), "--epochs and --minutes"),
        (("train", "PAIRS", "--hidden", "5"), "--hidden is 5"),
        (("train", "BYTES"), "BYTES: line 2 is not UTF-8 text; convert it"),
        (("train", "EMPTY"), "EMPTY: the file is empty"),
        (
            ("train", "TEXT"),
            "TEXT: line 1, 'the word was short', has 1 columns; give a sentence, a tab",
        ),
        (("train", "PAIRS", "--validation", "TEXT"), "TEXT: line 1"),
        (("run", "PAIRS", "one"), "PAIRS: not a fastrec translator"),
    ],
)
def test_translate_refuses(run, folder, tmp_path_factory, arguments, word):
    contents = {
        "BYTES": b"a\tb\n\xff",
        "EMPTY": b"",
        "TEXT": b"the word was short\n",
        "PAIRS": PAIRS.encode(),
    }
    other = tmp_path_factory.mktemp("pairs")
    for name, content in contents.items():
        (other / name).write_bytes(content)
    given = [str(other / a) if a in contents else a for a in arguments]
    refused(run("translate", *given), folder, word)


@pytest.mark.slow
def test_text_of_a_terminal_that_lacks_characters(folder, poem):
    poem.write_bytes("\ufeffthe sée ".encode() * 100)
    run = subprocess.run(
        [*COMMAND, "text", "train", str(poem), *TINY, "--prompt", "é", "--no-baselines"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )
    assert run.returncode == 0, run.stderr
    assert b"899 characters" in run.stdout  # without the first mark
    command = [*COMMAND, "text", "sample", "model.npz", "--prompt", "é", "--length", "9"]
    run = subprocess.run(command, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True)
    assert run.returncode == 0 and run.stdout.startswith(b"?")


@pytest.mark.slow
def test_interrupted_training_leaves_the_best_model(folder, poem):
    with start("text", "train", str(poem), *TINY[:-1], "100000", "--no-baselines") as training:
        for _ in range(6):
            training.stdout.readline()
        training.send_signal(signal.SIGINT)
        _, err = training.communicate(timeout=60)
    kept = files(folder)[-1]
    said, command, end = err.split("\n")
    assert training.returncode == 130 and end == "" and kept.startswith("training-")
    assert (
        said == f"fastrec: interrupted; the training up to its last full epoch is kept in {kept}; go on with"
    )
    assert shlex.split(command) == ["fastrec", *training.args[len(COMMAND) :]]
    assert files(folder) == ["model.npz", kept]
    assert len(fastrec.CharModel.load("model.npz").sample("the", 5)) == 5


def test_a_table_is_shown_whose_file_cannot_be_written(run, folder, monkeypatch):
    def full(self, path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(ScalingResult, "save", full)
    code, out, err = run("capacity", "--sizes", "20", "--trials", "2")
    assert code == 1 and "median" in out
    assert err == "fastrec: capacity.csv: No space left on device\n"
