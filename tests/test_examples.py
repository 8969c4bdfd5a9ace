"""The examples, smaller: what each shows, shows in its numbers too, and each writes a picture."""

from __future__ import annotations

from ctypes.util import find_library
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


def test_all_examples_have_a_test() -> None:
    assert NAMES and not [name for name in NAMES if f"test_{name}" not in globals()]


def test_hello(main: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = main(epochs=150)
    assert found["with state"][0] < 0.05
    loss, chances = found["without state"]
    assert np.log(2) / 2 < loss < 0.37 and np.allclose(chances[2:, 2:], 0.5, atol=0.05)
    assert "-> e, l, l, o" in capsys.readouterr().out


def test_classify(main: Any) -> None:
    rights = main(trained=2000, tested=2000, epochs=6)
    assert rights["likeliest coin (Bayes)"] > 0.65
    assert 0.55 < rights["network"] < rights["likeliest coin (Bayes)"] + 0.03


def test_digits(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("sklearn")
    back = request.getfixturevalue("main")()
    assert back["hebb"] == 0 and back["storkey"] < 8 and min(back["projection"], back["perceptron"]) >= 9


def test_dreaming(main: Any) -> None:
    done, back, ended = main(n=60, loads=(0.2,), dreams=1400)[0.2]
    assert back[0] < 0.7 and back.max() == 1 and ended[0] < 0.2 < ended.max()
    assert done[-1] == 1400 and back[-1] == ended[-1] == 0


def test_unrolled(main: Any) -> None:
    error, apart, errors = main(updates=400, hidden_size=8, steps=6, tested=100, rate=0.005)
    assert error < 1e-12 and not any(apart["summed gradients"]) and apart["their own"][-1] > 0.1
    assert errors["summed gradients"].max() < 0.01 < errors["their own"][6:].mean()


def test_initial_state(main: Any) -> None:
    curves, by_step = main(models=12, epochs=16, trained=512)
    assert np.median(curves["learnt"][-1]) < np.median(curves["fixed at 0.5"][-1])
    assert by_step["learnt"].shape == (12, 5)


def test_max_cut(main: Any) -> None:
    best, found, bound = main(small=10, large=60, starts=300)
    assert best > 0 and len(found) == 300 and found.max() <= bound < 1.2 * found.max()


def test_handwriting(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("HersheyFonts")
    options = {"trained": 1500, "tested": 60, "epochs": 12, "hidden_size": 40, "letters": "aenost"}
    errors = request.getfixturevalue("main")(**options)
    assert errors["both directions"] < 0.1 and errors["causal"] < 0.25


def test_predict(main: Any) -> None:
    errors = main(train=3000, test=600, epochs=40, hidden_size=24)
    network, linear = errors["network"], errors["linear, 50 values"]
    assert linear[0] < 0.1 and (network[2:] < linear[2:]).all()


def test_memoryless(request: pytest.FixtureRequest) -> None:
    for library in ("hmmlearn", "statsmodels"):
        pytest.importorskip(library)
    losses = request.getfixturevalue("main")(steps=1800, epochs=(10, 60), states=(3,))
    best = {name: min(found, key=found.get) for name, found in losses.items()}
    assert best["oscillation"] == "linear dynamical system" and best["jumps"] == "hidden Markov model"
    chaos = losses["Mackey-Glass"]
    assert chaos["recurrent network (GRU)"] < chaos["linear autoregression"] < chaos["mean and spread"] - 0.5


def test_convolution(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("torch")
    found = request.getfixturevalue("main")(layers=(1, 4), n=48, steps=64, epochs=40)
    for task in ("chaos", "marks"):
        assert found[task, 2][0] > 1.3 * max(found[task, 16][0], found[task, "gru"][0]) > 0
    assert found["marks", "gru"][0] < found["marks", 16][0]


def test_number_names(main: Any) -> None:
    exact = main(trained=900, epochs=5, hidden_size=32)
    assert exact.keys() == {"seen", "unseen"} and 0 <= exact["unseen"] <= 1


def test_words(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("gensim")
    pytest.importorskip("simplemma")
    options = {"articles": 80, "words": 400, "size": 16, "hidden_size": 24, "epochs": 6}
    losses = request.getfixturevalue("main")(shares=(1,), **options)
    assert losses[1, "CBOW"] < losses[1, "random, one a word"] and losses[1, "n-grams"] > 2


def test_translate(main: Any) -> None:
    assert main(trained=1500, tested=100, epochs=4, hidden_size=64) > 0.3


def test_reverse(main: Any) -> None:
    exact = main(rounds=8, pairs=1000, tested=60, hidden_size=48)
    assert exact[1] > 0.9 and exact[1] >= exact[12] and sorted(exact) == list(range(1, 13))


def test_jordan_elman(main: Any) -> None:
    found = main(delays=(0, 2), epochs=15, models=3, trained=300, tested=50, steps=12)
    assert np.median(found["elman"]["delay 2"]) < 0.01 < 0.2 < np.median(found["jordan"]["delay 2"])
    assert all(np.median(found[cell]["delay 0"]) < 0.01 for cell in found)


def test_ngrams(main: Any, tmp_path: Path) -> None:
    table, loss, entropy = main(sentences=600, hidden_size=24, epochs=10)
    assert table[1] > table[2] > table[3] > table[6] > entropy and entropy < loss < table[2]
    file = tmp_path / "text.txt"
    file.write_text("say it again, " * 80, encoding="utf-8")
    table, loss, entropy = main(file, hidden_size=8, epochs=1)
    assert table[6] < table[1] and entropy is None and loss > 0


def test_write(main: Any, capsys: pytest.CaptureFixture[str]) -> None:
    score, counted = main(characters=20_000, epochs=30, hidden_size=24)
    assert 1 < score < counted[1] and counted[5] < counted[2]
    assert "temperature 0.5:\nThe " in capsys.readouterr().out


def test_echo_state(main: Any) -> None:
    stays, errors = main(units=150, train=1500, steps=200, networks=2)
    assert (stays > 100).all() and errors.shape == (2, 200) and errors[:, :5].max() < 0.02


def test_speed_up(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("torch")
    found = request.getfixturevalue("main")(updates=(12, 12), hidden_sizes=(24, 12))
    for runs in found.values():
        (before, _), (after, seconds) = runs.values()
        assert np.allclose(before, after, rtol=1e-3) and (np.diff(seconds) > 0).all()


@pytest.mark.parametrize("speech", ["generated", "espeak"])
def test_speech_quiz(request: pytest.FixtureRequest, speech: str) -> None:
    if speech == "espeak" and not find_library("espeak-ng"):
        pytest.skip("the library espeak-ng is not installed")
    right = request.getfixturevalue("main")(speech, trained=60, tested=10, hidden_size=48)
    blind = right.pop("feed-forward, 30 ms")
    assert right["feed-forward, 200 ms"] > blind + 0.3
    assert speech == "espeak" or min(right.values()) > blind + 0.2


def test_captions(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("sklearn")
    assert request.getfixturevalue("main")(trained=3000, tested=80, epochs=6, hidden_size=96) > 0.3


def test_decisions(main: Any) -> None:
    motion, vibrations = main(units=40, trials=400, epochs=(12, 3), tested=200)
    assert motion > 0.6 and 0 <= vibrations <= 1
