"""The `fastrec` command among faults: one line and an exit code, nothing half-written, nothing lost."""

import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastrec
from fastrec.hopfield.storage_capacity.result import SCHEMA, ScalingResult
from fastrec.jobs import store as runs
from fastrec.jobs.database import DamagedFile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="faults are made with the tools of Linux"),
]

SOURCE = Path(fastrec.__file__).parents[1]
COMMAND = [sys.executable, "-c", "from fastrec.cli import main; main()"]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
TEXT = "the word was short, and the word was the end.\n" * 8

# Starts commands in milliseconds: forked from a process that has imported what they need.
SERVER = """
import json, os, resource, signal, sys
from fastrec import cli
import fastrec.hopfield.storage_capacity.run, fastrec.hopfield.retrieval.run
import fastrec.text.language_model, fastrec.text.ngrams
import matplotlib.backends.backend_agg, matplotlib.figure, matplotlib.font_manager, PIL.PngImagePlugin
for line in sys.stdin:
    case = json.loads(line)
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    os.chdir(case["folder"])
    for number in (0, 1, 2):
        os.dup2(os.open(case["streams"][number], os.O_RDWR), number)
    if case["room"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (case["room"], case["room"]))
    os.environ.update(case["environment"])
    signal.alarm(60)
    sys.argv = ["fastrec", *case["arguments"]]
    exec(case["before"])
    cli.main()
    sys.exit()
"""


@pytest.fixture(scope="module")
def server():
    environment = {**os.environ, "FASTREC_BACKEND": "reference"}
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield process
        process.stdin.close()


def ask(server, folder, arguments, streams, room=None, before="", environment=None):
    """The exit code of a command."""
    case = {"folder": str(folder), "arguments": arguments, "streams": streams, "room": room}
    case |= {"before": before, "environment": environment or {}}
    print(json.dumps(case), file=server.stdin, flush=True)
    return int(server.stdout.readline())


@pytest.fixture
def run(server, tmp_path, tmp_path_factory):
    """Runs a command in a folder, in which files may have `room` bytes: exit code, output, errors."""
    streams = tmp_path_factory.mktemp("streams")

    def run(*arguments, folder=tmp_path, room=None, before="", **environment):
        names = [streams / name for name in ("out", "err")]
        for name in names:
            name.write_bytes(b"")
        paths = [os.devnull, *map(str, names)]
        code = ask(server, folder, arguments, paths, room, before, environment)
        return code, *(name.read_text() for name in names)

    return run


def start(*arguments, cwd, shell=None, **environment):
    """A process of its own, in a shell that says how: 'exec "$@" >&-'."""
    before = [] if shell is None else ["sh", "-c", shell, "sh"]
    return subprocess.Popen(
        [*before, *COMMAND, *arguments],
        cwd=cwd,
        env={**os.environ, "FASTREC_BACKEND": "reference", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def ended(process):
    """Exit code, output and errors of such a process."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out.decode(), err.decode()


def told(result, code=1, word=""):
    """One line on standard error, after the name of the program, and an exit code."""
    found, _, err = result
    assert (found, err.count("\n"), err[:9]) == (code, 1, "fastrec: "), err
    assert word in err and len(err) > 12


def contents(folder):
    """Every file below a folder, with what is in it."""
    return {
        os.fsencode(path): path.read_bytes() if path.is_file() else None for path in Path(folder).rglob("*")
    }


def counts(path):
    """Capacities in a file, by size."""
    return {result.n: result.counts.tolist() for result in ScalingResult.load(path)}


CAPACITY = ("capacity", "--sizes", "6:9:lin4", "--trials", "3")
RETRIEVAL = ("retrieval", "--sizes", "20", "--loads", "0.1,0.2", "--trials", "2", "--probes", "2")
TRAIN = ("text", "train", "poem.txt", "--hidden", "4", "--layers", "1", "--batch", "2", "--steps", "10")
TRAIN += ("--epochs", "2", "--no-baselines")
LONGER = (*TRAIN[:-2], "24", TRAIN[-1], "--dropout", "0.2", "--backend", "reference")
LETTER = ("recall", "A", "--side", "4")


@pytest.fixture(scope="module")
def made(server, tmp_path_factory):
    """A folder with a file of every kind, as a run that went well leaves them."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "poem.txt").write_text(TEXT)
    written = ("--out", "model.npz", "--checkpoint", "ck.npz", "--curve", "c.csv", "--plot", "t.png")
    for arguments in (
        (*CAPACITY, "--out", "run.db", "--plot", "run.png"),
        (*CAPACITY, "--out", "run.csv", "--plot", "run.png"),
        (*RETRIEVAL, "--out", "r.csv", "--plot", "r.png"),
        (*LETTER, "--out", "l.png"),
        (*TRAIN, *written),
        (*LONGER, "--out", "longer.npz", "--plot", "t.png"),
    ):
        assert ask(server, folder, arguments, [os.devnull] * 3) == 0
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(made, tmp_path / "a")


MORE = ("capacity", "--sizes", "6:9:lin4", "--trials", "90")
WRITERS = {  # what each command writes, and how many bytes are too few for this file but not for those before
    "table": ((*CAPACITY, "--out", "run.csv", "--plot", "run.png"), "run.csv", 100),
    "picture": ((*CAPACITY, "--out", "run.csv", "--plot", "run.png"), "run.png", 9000),
    "run file": ((*MORE, "--out", "run.db", "--plot", "run.png"), "run.db", 9000),
    "new run file": ((*MORE, "--out", "new.db", "--plot", "run.png"), "new.db", 100),
    "retrieval": ((*RETRIEVAL, "--out", "r.csv", "--plot", "r.png"), "r.csv", 100),
    "retrieval run": ((*RETRIEVAL, "--out", "new.db", "--plot", "r.png"), "new.db", 100),
    "recall": ((*LETTER, "--out", "l.png"), "l.png", 100),
    "model": ((*TRAIN, "--out", "model.npz", "--plot", "t.png"), "model.npz", 100),
    "checkpoint": ((*TRAIN, "--out", "model.npz", "--checkpoint", "new.npz"), "new.npz", 100),
    "curves": ((*TRAIN, "--out", "model.npz", "--curve", "c.csv"), "c.csv", None),  # smaller than the model
    "curve picture": ((*TRAIN, "--out", "model.npz", "--plot", "t.png"), "t.png", 9000),
    "export": (("export", "run.db", "run.csv"), "run.csv", 100),
    "plot": (("plot", "run.db", "--out", "run.png"), "run.png", 9000),
}


@pytest.mark.parametrize("what", [what for what in WRITERS if WRITERS[what][2]])
def test_full_disk_leaves_what_was_there(run, folder, what):
    arguments, name, room = WRITERS[what]
    before = contents(folder)
    told(run(*arguments, folder=folder, room=room), word=name)
    after = contents(folder)
    for path in (path for path in after if path not in before):
        assert path.endswith(b".db") and after[path] == b""  # of a run that can be begun again
    changed = {os.path.basename(path) for path in before if before[path] != after.get(path)}
    assert changed <= ({b"run.csv"} if what == "picture" else {b"model.npz"} if "pict" in what else set())
    if what == "run file":
        assert run(*arguments, folder=folder)[0] == 0


@pytest.fixture
def disk(tmp_path):
    """A file system with 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place]).returncode:
        pytest.skip("cannot mount a file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_small_disk(run, made, disk):
    for name in ("run.db", "run.csv", "model.npz", "poem.txt"):
        shutil.copy(made / name, disk)
    (disk / "fill").write_bytes(
        bytes(64 * 1024 - sum(-(-f.stat().st_size // 4096) * 4096 for f in disk.iterdir()))
    )
    before = contents(disk)
    for what in ("table", "run file", "recall", "model", "export", "plot", "checkpoint"):
        told(run(*WRITERS[what][0], folder=disk))
        assert contents(disk) == before
    os.truncate(disk / "fill", 4096)
    assert run(*WRITERS["run file"][0][:-2], "--plot", "/dev/shm/no/a.png", folder=disk)[0] == 1
    assert contents(disk).keys() == before.keys()


PLACES = ("poem.txt/x", "none/x", "/proc/x", "folder", "pipe")
ELSEWHERE = [(what, PLACES[(i + j) % 5]) for i, what in enumerate(WRITERS) for j in (0, 2)]


@pytest.mark.parametrize(("what", "place"), ELSEWHERE)
def test_places_that_cannot_be_written_to(run, folder, what, place):
    arguments, name, _ = WRITERS[what]
    suffix = Path(name).suffix
    target = folder / f"{place}{suffix}"
    if place == "folder":
        target.mkdir()
    elif place == "pipe":
        os.mkfifo(target)
    before = contents(folder)
    named = [f"{place}{suffix}" if argument == name else argument for argument in arguments]
    result = run(*named, folder=folder)
    told(result, word=place)
    assert result[1] == "" and contents(folder) == before  # before the work, too


def test_a_file_that_cannot_be_replaced(run, folder):
    fix = subprocess.run(["sh", "-c", "chattr +i run.png"], cwd=folder, capture_output=True)
    if fix.returncode:
        pytest.skip("cannot fix a file")
    try:
        before = contents(folder)
        for what in ("picture", "plot"):
            result = run(*WRITERS[what][0], folder=folder)
            told(result, word="run.png: cannot be written")
            assert result[1] == "" and contents(folder) == before
    finally:
        subprocess.run(["chattr", "-i", folder / "run.png"], check=True)


class Planted:
    def __reduce__(self):
        return (open, ("planted", "w"))


def archive(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as found:
        for name, content in members.items():
            found.writestr(f"{name}.npy", content)
    return file.getvalue()


def planted_arrays(good):
    """An archive of the same names, in which each array is a pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as found:
        names = [name.removesuffix(".npy") for name in found.namelist()]
    np.savez(file, **{name: np.array([Planted()], dtype=object) for name in names})
    return file.getvalue()


DAMAGES = {
    "empty": lambda good: b"",
    "picture": lambda good: PNG,
    "archive": lambda good: archive(x=b"y"),
    "pickle": lambda good: pickle.dumps(Planted()),
    "cut at 1": lambda good: good[:1],
    "cut at 40": lambda good: good[:40],
    "cut in half": lambda good: good[: len(good) // 2],
    "cut at the end": lambda good: good[:-1],
    "flipped": lambda good: good[:100] + bytes(255 - byte for byte in good[100:200]) + good[200:],
    "pickles": planted_arrays,
}
TEXTS = ("cut at 1", "cut at 40", "cut in half", "cut at the end", "flipped")  # leave a text that is one
READERS = {
    "export": (("export", "run.db", "new.csv"), "run.db"),
    "plot": (("plot", "run.db", "--out", "new.png"), "run.db"),
    "resume": ((*CAPACITY, "--out", "run.db", "--plot", "new.png"), "run.db"),
    "sample": (("text", "sample", "model.npz"), "model.npz"),
    "checkpoint": ((*TRAIN, "--checkpoint", "ck.npz", "--out", "new.npz", "--plot", "new.png"), "ck.npz"),
    "text": ((*TRAIN, "--out", "new.npz", "--plot", "new.png"), "poem.txt"),
}


@pytest.mark.parametrize("reader", READERS)
def test_files_of_others(run, folder, reader):
    arguments, name = READERS[reader]
    path = folder / name
    good = path.read_bytes()
    for damage, make in DAMAGES.items():
        if (damage == "pickles" and path.suffix != ".npz") or (reader == "text" and damage in TEXTS):
            continue
        path.write_bytes(bad := make(good))
        before = contents(folder)
        result = run(*arguments, folder=folder)
        if reader == "resume" and result[0] == 0:  # what can be read of it is kept, and it too
            assert damage.startswith(("cut", "flip", "empty")) and result[2].count("\n") <= 1
            kept = folder / "run.db.damaged"
            assert not kept.exists() or kept.read_bytes() == bad
            assert result[2].startswith("fastrec: run.db: damaged") == kept.exists()
            assert counts(path) == counts(folder / "run.csv")
            for left in (kept, folder / "new.png"):
                left.unlink(missing_ok=True)
            continue
        told(result, word=name)
        assert contents(folder) == before, damage


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file(run, folder, reader):
    arguments, name = READERS[reader]
    for make, remove in ((Path.mkdir, Path.rmdir), (os.mkfifo, Path.unlink)):
        (folder / name).unlink()
        make(folder / name)
        if make is os.mkfifo and reader == "text":  # which may come from another program
            writer = subprocess.Popen(["sh", "-c", 'printf "%s" "$0" > poem.txt', TEXT], cwd=folder)
            assert run(*arguments, folder=folder)[0] == 0 and writer.wait() == 0
        else:
            before = contents(folder)
            told(run(*arguments, folder=folder), word=name)
            assert contents(folder) == before
        remove(folder / name)
        (folder / name).touch()
    null = [os.devnull if argument == name else argument for argument in arguments]
    told(run(*null, folder=folder))


@pytest.mark.parametrize("name", ["-a \nb\udcff\u00e9", "n" * 240])  # a dash, a space, two lines, no UTF-8
def test_names_of_files(run, folder, name):
    def at(suffix):
        return f"{name}{suffix}"

    os.rename(folder / "poem.txt", folder / at(".txt"))
    (short := [*TRAIN]).remove("poem.txt")
    outputs = {"out": ".npz", "plot": ".pdf", "checkpoint": ".k.npz"}
    for arguments in (
        (*CAPACITY, f"--out={at('.db')}", f"--plot={at('.png')}"),
        ("export", "--", at(".db"), at(".csv")),
        ("plot", f"--out={at('.svg')}", "--", at(".db")),
        (*LETTER, f"--out={at('.png')}"),
        (*short, *(f"--{option}={at(suffix)}" for option, suffix in outputs.items()), "--", at(".txt")),
        ("text", "sample", "--length", "5", "--", at(".npz")),
    ):
        code, _, err = run(*arguments, folder=folder)
        assert (code, err) == (0, "")
    assert contents(folder)[os.fsencode(folder / at(".csv"))].startswith(b"# fastrec")
    assert not list(folder.glob(".*"))
    told(run("export", "--", at(".none"), "b.csv", folder=folder), word="No such file")
    told(run("text", "sample", "--", at(".db"), folder=folder), word="not a fastrec text model")


SAMPLE = ("text", "sample", "model.npz", "--length", "100000")
LONG = ("capacity", "--sizes", "4:40:lin37", "--trials", "1", "--out", "x.csv", "--plot", "x.png")


@pytest.mark.parametrize("arguments", [SAMPLE, LONG, (*LETTER, "--out", "x.png"), ("text", "train", "-h")])
def test_reader_of_the_output_leaves(folder, arguments):
    with start(*arguments, cwd=folder, PYTHONUNBUFFERED="1", PYTHONIOENCODING="latin-1") as process:
        if arguments == SAMPLE:
            assert process.stdout.read(100)
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait(60) == 1
    if "x.png" in arguments:
        assert (folder / "x.png").read_bytes().startswith(PNG[:8])


def test_reader_of_the_errors_leaves(folder):
    for arguments, code in ((("export", "none.db", "x.csv"), 1), (("export", "run.db"), 2)):
        with start(*arguments, cwd=folder) as process:
            process.stderr.close()
            assert process.stdout.read() == b"" and process.wait(60) == code


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_closed_from_the_start(folder, closed):
    before = contents(folder)
    assert ended(start("export", "run.png", "x.csv", cwd=folder, shell=f'exec "$@" {closed}'))[:2] == (1, "")
    assert contents(folder) == before
    arguments = (*CAPACITY, "--out", "x.db", "--plot", "x.png")
    code, out, err = ended(start(*arguments, cwd=folder, shell=f'exec "$@" {closed}'))
    assert (code, err) == (0, "") and ("median" in out) == (closed == "2>&-")
    assert counts(folder / "x.db") == counts(folder / "run.csv")
    if closed == ">&-":
        assert ended(start(*SAMPLE[:-1], "9", cwd=folder, shell=f'exec "$@" {closed}')) == (0, "", "")


ENDINGS = [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGKILL, -9, "")]


@pytest.mark.parametrize(
    ("job", "number", "code", "word"),  # test_runs has more
    [
        ("capacity", *ENDINGS[0]),
        ("workers", *ENDINGS[1]),
        ("training", *ENDINGS[1]),
        ("training", *ENDINGS[2]),
    ],
)
def test_what_was_ended_goes_on(folder, run, job, number, code, word):
    if job != "training":
        arguments = ("capacity", "--sizes", "50:70:lin5", "--trials", "20", "--out", "x.db")
        arguments += ("--plot", "x.png", *(("--workers", "2") if job == "workers" else ()))
        process = start(*arguments, cwd=folder)
        while not (folder / "x.db").exists() or not kept(folder / "x.db"):
            time.sleep(0.01)
    else:
        arguments = (*LONGER, "--out", "x.npz", "--checkpoint", "k.npz", "--plot", "x.png")
        process = start(*arguments, cwd=folder)
        for _ in range(6):
            process.stdout.readline()
    os.killpg(process.pid, number)  # as a terminal and batch systems do
    if number == signal.SIGTERM:  # which some send again and again
        os.killpg(process.pid, number)
    found, _, err = ended(process)
    left = "the training up to its last full epoch is kept in k.npz"
    left = left if job == "training" else "what is done is kept in x.db"
    said = f"fastrec: {word}; {left}; go on with\n  fastrec " * bool(word)
    assert found == code and err.startswith(said) and bool(err) == bool(word)
    if number != signal.SIGKILL:  # which leaves hidden ones
        assert not list(folder.glob(".*")) and not list(folder.glob("*-journal"))
    assert not (folder / "x.png").exists()
    if job != "training":
        rows = kept(folder / "x.db")
        assert 0 < len(rows) < 100
    else:
        assert fastrec.CharModel.load(folder / "x.npz", "reference").sample(length=3)
    assert run(*arguments, folder=folder)[::2] == (0, "")
    if job != "training":
        assert [row for row in kept(folder / "x.db") if row in rows] == rows
        expected = fastrec.capacity_scaling(range(50, 71, 5), 20, backend="reference", progress=False)
        assert counts(folder / "x.db") == {result.n: result.counts.tolist() for result in expected}
    else:
        assert (folder / "x.npz").read_bytes() == (folder / "longer.npz").read_bytes()


def kept(path):
    """Rows of a run file that may just have been begun."""
    try:
        return runs.read(path, SCHEMA)[2]
    except DamagedFile:
        return []


@pytest.mark.parametrize(("seconds", "ending"), [(0, 0), (0.3, 1), (0.8, 0), (1.5, 1), (2.5, 0)])
def test_signals_while_kernels_are_imported_and_compiled(tmp_path, seconds, ending):
    number, code, word = ENDINGS[ending]
    tell = "from fastrec import cli; hear = cli.hear_interrupts; "
    tell += "cli.hear_interrupts = lambda: (hear(), print(flush=True)); cli.main()"
    process = subprocess.Popen(
        [sys.executable, "-c", tell, *LETTER],
        cwd=tmp_path,
        env={**os.environ, "FASTREC_BACKEND": "cpu", "FASTREC_CACHE_DIR": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(number)
    found, _, err = ended(process)
    assert (found, err) == (code, f"fastrec: {word}\n")
    assert not [name for name in os.listdir(tmp_path) if name != "cache"]


SIGNAL = """
replace = os.replace
def stop(*names):
    os.kill(os.getpid(), {})
    replace(*names)
os.replace = stop
"""


@pytest.mark.parametrize(("number", "code", "word"), ENDINGS)
def test_signals_while_a_file_is_written(run, folder, number, code, word):
    for what in ("table", "recall", "model", "checkpoint", "export", "plot"):
        before = contents(folder)
        found, _, err = run(*WRITERS[what][0], folder=folder, before=SIGNAL.format(int(number)))
        assert found == code and err.startswith(f"fastrec: {word}" * bool(word)) and bool(err) == bool(word)
        for path in folder.glob(".*") if number == signal.SIGKILL else ():
            path.unlink()
        assert contents(folder) == before


BUSY = """
import time
from pathlib import Path
unlink = Path.unlink
def late(path, **options):
    time.sleep(2)
    unlink(path, **options)
Path.unlink = late
"""


@pytest.mark.parametrize(("number", "code", "word"), ENDINGS[:2])
def test_who_heard_a_signal_may_take_long_to_end(run, folder, number, code, word):
    before = contents(folder)
    busy = BUSY + SIGNAL.format(int(number))
    found, _, err = run(*WRITERS["table"][0], folder=folder, before=busy)
    assert found == code and err.startswith(f"fastrec: {word}")
    assert contents(folder) == before


INTERRUPTED_IMPORT = """
import sys
class Finder:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
import fastrec.cli
"""


def test_ctrl_c_before_it_is_heard(tmp_path):
    command = [sys.executable, "-c", INTERRUPTED_IMPORT]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    told((found.returncode, found.stdout, found.stderr), 130, "interrupted")


NOWHERE = os.devnull + "/cache"


def test_installed_where_nothing_can_be_written(tmp_path, folder):
    shutil.copytree(SOURCE / "fastrec", tmp_path / "fastrec", ignore=shutil.ignore_patterns("__pycache__"))
    nowhere = dict.fromkeys(("FASTREC_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "MPLCONFIGDIR"), NOWHERE)
    code, out, err = ended(start("info", cwd=tmp_path, PYTHONPATH=str(tmp_path), **nowhere))
    told((0, out, err), 0, "FASTREC_CACHE_DIR")
    assert code == 0 and "cache      none" in out
    assert ended(start(*LETTER, cwd=folder, TERM="dumb", COLUMNS="20", **nowhere))[::2] == (0, "")


@pytest.mark.parametrize("value", ["abc", "0", "-1", "1.5", "²"])
@pytest.mark.parametrize("name", ["FASTREC_NUM_THREADS", "NUMBA_NUM_THREADS"])
def test_numbers_of_threads_that_are_none(run, name, value):
    told(run("info", **{name: value}), word=f"{name} is '{value}'")
    told(run(*CAPACITY, **{name: value}), word=f"{name} is '{value}'")


def test_numbers_of_threads_do_not_matter(run, folder):
    for environment in ({"NUMBA_NUM_THREADS": "1"}, {"FASTREC_NUM_THREADS": "1" + "0" * 30}):
        code, out, err = run(*LETTER, "--backend", "cpu", **environment)
        assert (code, err) == (0, "")
        assert out == run(*LETTER)[1]


def test_backends_that_are_none(run, folder):
    for arguments in (("info",), LETTER, RETRIEVAL, TRAIN, SAMPLE, ("addition",), CAPACITY):
        before = contents(folder)
        result = run(*arguments, folder=folder, FASTREC_BACKEND="nonsense")
        told(result, word="FASTREC_BACKEND is 'nonsense'")
        assert result[1] == "" and contents(folder) == before


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1", "COLUMNS": "20", "TERM": "dumb"},
    ],
)
def test_places_without_utf_8(folder, environment):
    (folder / "\u00e9\u0142.txt").write_text("s\u00e9\u0142 " * 99, encoding="utf-8")
    train = [argument.replace("poem", "\u00e9\u0142") for argument in TRAIN]
    for arguments in (
        (*train, "--out", "\u00e9.npz", "--plot", "\u00e9.png"),
        ("text", "sample", "\u00e9.npz", "--length", "50"),
        (*CAPACITY, "--out", "\u00e9.csv", "--plot", "\u00e9.svg"),
        ("retrieval", "--help"),
    ):
        process = start(*arguments, cwd=folder, **environment)
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, b"")
    assert counts(folder / "\u00e9.csv") == counts(folder / "run.csv")
    process = start("export", "\u00e9.db", "x.csv", cwd=folder, **environment)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.count(b"\n") == 1 and err.startswith(b"fastrec: ")
