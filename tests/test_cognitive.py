"""The tasks of cognitive neuroscience: what trials show, when the choice may be told, and which is right."""

from __future__ import annotations

import numpy as np
import pytest

import fastrec


def test_evidence_points_to_the_right_choice() -> None:
    trials = fastrec.perceptual_decision(300, coherences=(-0.5, 0.25), noise=0.4, stimulus=30, seed=1)
    x, shown = trials.x, trials.periods["stimulus"]
    assert x.shape == (300, 55, 3) and x.dtype == np.float32 and set(trials.conditions) == {-0.5, 0.25}
    assert np.array_equal(trials.choices, trials.conditions < 0)
    evidence = (x[:, shown, 0] - x[:, shown, 1]).mean(axis=1)
    for coherence in (-0.5, 0.25):
        of = trials.conditions == coherence
        assert abs(evidence[of].mean() - coherence) < 0.03
    assert abs(x[:, shown, :2].std(axis=1).mean() - 0.4) < 0.02
    assert (
        not x[:, : shown.start, :2].any()
        and not x[:, shown.stop :].any()
        and (x[:, : shown.stop, 2] == 1).all()
    )


def test_frequencies_are_shown_one_after_the_other() -> None:
    trials = fastrec.delayed_comparison(50, noise=0, delay=7, seed=2)
    first, second = (trials.x[:, trials.periods[name], 0] for name in ("first", "second"))
    assert trials.x.shape[1] == 62 and {*map(tuple, trials.conditions)} <= {
        *map(tuple, fastrec.tasks.cognitive.FREQUENCIES)
    }
    assert np.allclose(10 + 24 * first, trials.conditions[:, :1]) and np.allclose(
        10 + 24 * second, trials.conditions[:, 1:]
    )
    assert np.array_equal(trials.choices == 1, second[:, 0] > first[:, 0])
    shown = trials.x[:, trials.periods["first"]]
    assert (
        np.allclose(shown[..., 0] + shown[..., 1], 1) and not trials.x[:, trials.periods["delay"], :2].any()
    )


@pytest.mark.parametrize("make", [fastrec.perceptual_decision, fastrec.delayed_comparison])
def test_targets_and_mask_go_with_the_periods(make) -> None:
    trials, again = (make(9, seed=3) for _ in "ab")
    assert np.array_equal(trials.x, again.x) and not np.array_equal(trials.x, make(9, seed=4).x)
    choice = trials.periods["choice"]
    assert (trials.targets[:, choice].argmax(axis=2) == trials.choices[:, None]).all()
    assert (trials.targets.sum(axis=2) == (np.arange(choice.stop) >= choice.start)).all()
    counted = np.zeros(choice.stop, bool)
    counted[trials.periods["fixation"]] = counted[choice] = True
    assert (trials.mask == counted).all()
    assert np.array_equal(trials.chosen(trials.targets), trials.choices) and "trials" in repr(trials)
    assert np.array_equal(trials.chosen(1 - trials.targets), 1 - trials.choices)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fastrec.perceptual_decision(0), "^trials is 0"),
        (lambda: fastrec.perceptual_decision(1, [0.5, 0]), "^coherences must be numbers .* not 0"),
        (lambda: fastrec.perceptual_decision(1, 0.5), "^coherences must be numbers"),
        (lambda: fastrec.perceptual_decision(1, []), "^coherences must be numbers"),
        (lambda: fastrec.perceptual_decision(1, [2]), r"^coherences\[0\] is 2"),
        (lambda: fastrec.perceptual_decision(1, noise=-1), "^noise is -1"),
        (lambda: fastrec.perceptual_decision(1, noise=1e300), "^noise is 1e[+]300"),
        (lambda: fastrec.delayed_comparison(1, [(10, 20), (10,)]), "^frequencies is not an array"),
        (lambda: fastrec.delayed_comparison(1, [(10, 10)]), "^frequencies must be pairs of different"),
        (lambda: fastrec.delayed_comparison(1, [(10, 40)]), "^frequencies must be pairs"),
        (lambda: fastrec.delayed_comparison(1, delay=0), "^delay is 0"),
        (lambda: fastrec.perceptual_decision(2).chosen(np.zeros((2, 3))), r"^outputs has shape \(2, 3\)"),
    ],
)
def test_invalid_arguments(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
