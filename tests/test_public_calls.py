"""What holds for every public function and method, whatever arrays and values it is given."""

from __future__ import annotations

import copy
import inspect
import pickle
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import public_calls
import pytest
from public_calls import CALLS, ERRORS, WRONG, call, same

# Names that have no call of their own, and why.
EXEMPT = {
    **dict.fromkeys(
        ("AdditionResult", "CapacityResult", "OscillationResult", "RecallResult"), "made by functions"
    ),
    **dict.fromkeys(
        ("Identification", "RetrievalResult", "ScalingResult", "GradientFlow", "History", "SequenceResult"),
        "made by functions",
    ),
    **dict.fromkeys(
        (
            "MemoryCapacity",
            "Stepper",
            "TextHistory",
            "Trace",
            "BeamResult",
            "Trials",
            "TrainingUpdate",
            "Vocabulary",
            "BackendError",
            "PhaseResult",
            "LawsResult",
            "FourWaysResult",
            "Alignment",
        ),
        "made by functions",
    ),
    **dict.fromkeys(
        (
            "Automaton.plot",
            "History.plot",
            "GradientFlow.plot",
            "OscillationResult.plot",
            "TextHistory.plot",
            "LawsResult.plot",
            "MemoryCapacity.plot",
        ),
        "plots",
    ),
    **dict.fromkeys(
        ("set_backend", "get_backend", "use_backend", "available_backends"), "a setting of the process"
    ),
    **dict.fromkeys(("set_threads", "get_threads"), "a setting of the process"),
    **dict.fromkeys(("example_text", "ngram_table", "addition"), "data and long runs"),
    "RNN.from_torch": "needs PyTorch",
    "HessianFree.step": "refuses all calls",
    "synthetic_handwriting": "needs Hershey-Fonts",
    **dict.fromkeys(
        ("TextHistory.save", "LawsResult.save", "FourWaysResult.save"), "the writer of the other results"
    ),
    **dict.fromkeys(
        ("LawsResult.of", *(f"FourWaysResult.{name}" for name in ("of", "wrong", "steps", "title"))),
        "what the result holds",
    ),
}
COMPUTING = (  # for which some wrong values are fine, so that they compute for seconds
    *("capacity_laws", "four_ways", "retrieval_curve ", "retrieval_scaling", "basin_map", "phase_diagram"),
    *("HopfieldNetwork.recall of known", "fit by Newton"),
)
QUICK = [name for name in CALLS if name not in ("CharModel.stream", "CharModel.score", "CharModel.save")]


@pytest.fixture(autouse=True)
def time_limit() -> Iterator[None]:
    """A call that does not come back is a fault as others are."""

    def stop(*_: object) -> None:
        raise TimeoutError("a call does not come back")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(600)  # kernels may have to be compiled
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_every_public_name_has_a_call() -> None:
    have = {name.split(" ")[0] for name in CALLS}
    assert public_calls.public_names() - have == EXEMPT.keys()


def of_arrays(arguments: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """The arguments that are arrays."""
    return ((key, value) for key, value in arguments.items() if isinstance(value, np.ndarray))


def read_only(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)


def backwards(array: np.ndarray) -> np.ndarray:
    return np.array(array[..., ::-1], order="C")[..., ::-1]


def unaligned(array: np.ndarray) -> np.ndarray:
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    raw[...] = array
    return raw


def mapped(array: np.ndarray) -> np.ndarray:
    with tempfile.NamedTemporaryFile() as file:
        file.write(array.tobytes())
        file.flush()
        return np.memmap(file.name, array.dtype, "r", shape=array.shape)


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "read-only": read_only,
    "Fortran order": np.asfortranarray,
    "backwards in memory": backwards,
    "unaligned": unaligned,
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "memory map": mapped,
    "subclass": lambda array: array.view(type("Subclass", (np.ndarray,), {})),
    "unmasked": lambda array: np.ma.MaskedArray(array),
}


@pytest.fixture
def kernels_asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of kernels that are compiled or read from disk from now on, for arguments of new types."""
    pytest.importorskip("numba")
    from fastrec.kernels.cpu.jit import Kernel

    asked: list[str] = []
    compile = Kernel.compile

    def asked_for(kernel: Any, signature: Any) -> Any:
        asked.append(f"{kernel.py_func.__qualname__}{signature}")
        return compile(kernel, signature)

    monkeypatch.setattr(Kernel, "compile", asked_for)
    return asked


@pytest.mark.parametrize("name", [name for name in QUICK if name != "unpad"])  # which returns views
def test_forms_of_arrays(name: str, kernels_asked: list[str]) -> None:
    """The same numbers in another form give the same results by the same kernels, or are refused."""
    run, arguments = call(name)
    given = list(of_arrays(call(name)[1]))
    expected = run(**arguments) if given else None
    kernels_asked.clear()
    for key, array in given:
        for form, change in FORMS.items():
            run, arguments = call(name)
            arguments[key] = change(array)
            if name == "PackedStates" and form in ("Fortran order", "backwards in memory", "big-endian"):
                with pytest.raises(ValueError, match=r"^words must be"):
                    run(**arguments)
            else:
                assert same(run(**arguments), expected), (form, key)
            assert not kernels_asked, (form, key)


def masked(array: np.ndarray) -> np.ndarray:
    mask = np.zeros(array.shape, np.bool_)
    mask[(0,) * array.ndim] = True
    return np.ma.MaskedArray(array, mask)


BAD: dict[str, Callable[[np.ndarray], Any]] = {
    "masked": masked,
    "complex": lambda array: array.astype(np.complex128) + 1j,
    "huge integers": lambda array: np.full(array.shape, 2**63, np.uint64),
    "most negative integers": lambda array: np.full(array.shape, -(2**63)),
    "objects": lambda array: np.full(array.shape, object(), object),
    "dates": lambda array: np.full(array.shape, np.datetime64("2000-01-01")),
    "text": lambda array: np.full(array.shape, "1"),
    "structured": lambda array: np.zeros(array.shape, [("a", np.int32)]),
    "empty": lambda array: array[:0],
    "one axis more": lambda array: array[None, None, None, None],
    "a scalar": lambda array: array.flat[0],
    "infinity": lambda array: np.full(array.shape, np.inf),
}


@pytest.mark.parametrize("name", QUICK)
def test_arrays_that_are_refused(name: str) -> None:
    """One sentence that names the argument."""
    for key, array in list(of_arrays(call(name)[1])):
        for form, change in BAD.items():
            if form in FINE.get((name, key), ()) or (array.dtype.kind == "f" and form.endswith("integers")):
                continue
            run, arguments = call(name)
            error = failure(run, arguments | {key: change(array)}, ValueError)
            assert error is not None, f"{key} as {form} is accepted"
            require_sentence(error, key)


# Forms that are refused elsewhere, and are as good as others here.
FINE = {
    ("pack", "states"): {"one axis more"},
    ("PackedStates", "words"): {"one axis more"},
    **{
        (f"HopfieldNetwork.{name}", "probes" if name.startswith("recall") else "states"): {"one axis more"}
        for name in ("recall", "recall in orders", "recall of known units", "recall at a temperature")
        + ("local_fields", "energy", "overlaps", "is_stable", "identify")
    },
    ("HopfieldNetwork.recall at a temperature", "temperature"): {"a scalar"},
    ("SequenceMemory.recall", "probes"): {"one axis more"},
    **{
        (f"DenseMemory.{name}", "probes" if name.startswith("recall") else "states"): {"one axis more"}
        for name in ("recall", "recall in orders", "energy", "overlaps", "is_stable", "identify")
    },
    ("DenseMemory.recall by attention", "probes"): {"one axis more", "huge integers"},
    ("EchoState", "leak"): {"a scalar"},
    ("unpad", "array"): set(BAD) - {"masked", "objects", "a scalar"},
    ("label_targets", "labels"): {"empty"},
    ("delayed", "x"): {"empty", "infinity"},
    ("delay_targets", "targets"): {"infinity"},
    ("Vocabulary.decode", "tokens"): {"empty"},
    ("NGramModel.log_chances", "tokens"): {"empty"},
    ("NGramModel.predict", "context"): {"empty"},
    ("HopfieldNetwork.from_couplings", "thresholds"): {"a scalar"},
    ("capacity of patterns", "thresholds"): {"a scalar"},
    ("retrieval_curve of patterns", "thresholds"): {"a scalar"},
}


def failure(run: Callable[..., Any], arguments: dict[str, Any], kinds: Any) -> BaseException | None:
    """The exception of one of some kinds that a call raises, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of arguments with new names
            run(**arguments)
    except kinds as error:
        return error
    return None


def require_sentence(error: BaseException, key: str = "") -> None:
    """Fail unless an error is told in one line, which names an argument."""
    assert str(error) and "\n" not in str(error) and key in str(error), repr(error)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * name.startswith(COMPUTING)) for name in QUICK]
)
def test_wrong_values(name: str) -> None:
    """Whatever an argument is, it is fine, or one of a few exceptions says in a sentence why it is not."""
    run, arguments = call(name)
    for key, parameter in inspect.signature(run).parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) or key in ("out", "minutes"):
            continue
        for value in WRONG:
            run, arguments = call(name)
            try:
                error = failure(run, arguments | {key: value}, ERRORS)
            except BaseException as fault:
                raise AssertionError(f"{key}={value!r}") from fault
            if error is not None:
                assert not isinstance(error, TimeoutError), f"{key}={value!r}"
                require_sentence(error)


def owner(run: Callable[..., Any]) -> Any:
    return getattr(run, "__self__", None)


def is_pure(name: str) -> bool:
    """Whether a call of a method leaves its object as it is."""
    run, _ = call(name, "reference")  # at once, where others would be compiled in each worker
    return owner(run) is not None and not inspect.isclass(owner(run))


PURE = [name for name in QUICK if is_pure(name) and not name.endswith((".save", ".fit"))]


@pytest.mark.parametrize("name", PURE)
def test_copies_are_equal(name: str) -> None:
    run, arguments = call(name)
    expected = run(**arguments)
    if "trace" in arguments:
        return  # of the network itself
    for again in (
        copy.copy(owner(run)),
        copy.deepcopy(owner(run)),
        pickle.loads(pickle.dumps(owner(run))),
    ):
        assert same(getattr(again, run.__name__)(**arguments), expected)


@pytest.mark.parametrize("name", PURE)
def test_threads_at_once(name: str) -> None:
    """Threads that call one object at once get what one gets alone."""
    run, arguments = call(name)
    expected = run(**arguments)
    run, arguments = call(name)
    faults: list[object] = []

    def many() -> None:
        try:
            faults.extend("differs" for _ in range(10) if not same(run(**arguments), expected))
        except BaseException as error:
            faults.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not faults


@pytest.mark.parametrize("name", [name for name in QUICK if name != "unpad"])  # which returns views
def test_arrays_that_are_filled_later(name: str) -> None:
    """Results and objects do not hold arrays of their caller."""
    run, arguments = call(name)
    if name.endswith(".step") or not (held := public_calls.writable_arrays(arguments)):
        return
    expected = copy.deepcopy(public_calls.arrays_of(run(**arguments)))
    run, arguments = call(name)
    held = public_calls.writable_arrays(arguments)
    result = run(**arguments)
    kept = public_calls.stored_in(owner(run), result)
    before = copy.deepcopy(kept())
    for array in held:
        array[...] = 0 if array.any() else 1
    assert same(result, expected)
    assert same(kept(), before)
