"""Finite automata: those of networks made by hand are known, number for number."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from devices import to_host

import fastrec
from fastrec import Automaton, automaton

COLUMNS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def adder(delay: int, cell: Any = "elman", **options: Any) -> fastrec.RNN:
    """A network made by hand: units count the ones of a column and the carry, others pass the digit on."""
    rnn = fastrec.RNN(2, 3 + delay, 2, cell, "logistic", seed=0, **options)
    p = rnn.parameters = to_host(rnn.parameters)
    for array in p.values():
        array[...] = 0
    if cell == "leaky":
        p["leak"][...] = 1
    p["W_in"][:, :3], p["b"][:3] = 40, [-20, -60, -100]
    p["W_rec"][1, :3] = 40  # two ones or more are the carry
    p["W_rec"][:3, 3:4], p["b"][3:] = [[40], [-40], [40]], -20
    for unit in range(4, 3 + delay):
        p["W_rec"][unit - 1, unit] = 40
    p["W_out"][:3, 1], p["b_out"][1] = [9, -9, 9], -4.5
    if delay:
        p["W_out"][...], p["W_out"][-1, 1] = 0, 9
    return rnn


def pairs(delay: int, count: int = 4, columns: int = 9) -> np.ndarray:
    return fastrec.addition_task(count, columns, delay, seed=3)[0]


@pytest.mark.parametrize("delay", [0, 1, 2])
def test_adders(delay: int, backend: str) -> None:
    found = automaton(adder(delay, backend=backend), pairs(delay))
    expected = fastrec.addition_automaton(delay)
    assert found.states == 4 * 2**delay and found.prints_on_arrival
    for name in ("symbols", "transitions", "outputs"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.slow
def test_other_cells_and_forms_of_input() -> None:
    expected = fastrec.addition_automaton()
    x = pairs(0, 9)
    for options in ({"cell": "leaky"}, {"dtype": np.float64}):
        assert automaton(adder(0, **options), x).is_equivalent(expected)
    rnn = adder(0)
    ragged = np.where(np.arange(10) < 7, 1, np.nan)[:, None] * x
    assert automaton(rnn, ragged, lengths=[7] * 9).is_equivalent(expected)
    assert automaton(rnn, x[:, ::-1].astype(bool)).is_equivalent(expected)
    # Tokens, one for each column, in place of numbers.
    by_token = fastrec.RNN(4, 3, 2, activation="logistic", seed=0)
    by_token.parameters = rnn.parameters | {"W_in": (COLUMNS @ rnn.parameters["W_in"]).astype(np.float32)}
    tokens = (x @ [2, 1]).astype(int)
    found = automaton(by_token, tokens)
    np.testing.assert_array_equal(found.symbols, np.arange(4))
    np.testing.assert_array_equal(found.transitions, expected.transitions)
    two = fastrec.RNN(2, 3, 1, activation="logistic", num_layers=2, seed=1)
    assert automaton(two, x, decide=lambda y: y[:, 0] > 100).states == 1


def test_one_short_sequence_suffices() -> None:
    """Most states are not on its way, and those that are look alike for a step."""
    x = COLUMNS[None, [1, 2, 0, 3]]
    assert automaton(adder(2), x).is_equivalent(fastrec.addition_automaton(2))


def test_trained_networks_have_the_automaton_of_addition() -> None:
    result = fastrec.addition(
        4, "elman", hidden_size=5, columns=4, delay=0, test_pairs=9, test_columns=99, progress=False
    )
    assert result.automaton().is_equivalent(fastrec.addition_automaton())


def test_says_when_there_are_more_states() -> None:
    x = np.random.default_rng(0).standard_normal((1, 30, 2)).round(1)
    rnn = fastrec.RNN(2, 9, 3, seed=1)
    rnn.parameters["W_out"] *= 50
    with pytest.raises(RuntimeError, match="in more than max_states = 4 ways, which words of up to"):
        automaton(rnn, x, max_states=4)
    assert automaton(adder(2), pairs(2), max_states=16).states == 16
    with pytest.raises(RuntimeError, match="more than max_states = 15 ways"):
        automaton(adder(2), pairs(2), max_states=15)


@pytest.mark.parametrize("delay", [0, 2])
def test_run_prints_sums(delay: int) -> None:
    x, digits, mask = fastrec.addition_task(7, 40, delay, seed=5)
    moore = fastrec.addition_automaton(delay)
    lengths = np.arange(7) * 6
    judged = mask & (np.arange(x.shape[1]) < lengths[:, None])
    for found in (moore, moore.mealy()):
        outputs, states = found.run(x, lengths)
        np.testing.assert_array_equal(outputs[judged], digits[judged])
        assert states.shape == (7, x.shape[1] + 1) and not states[:, 0].any() and states.max() < found.states
        assert (outputs[0] == -1).all() and (states[0] == 0).all()
    assert moore.mealy().states == moore.states // 2


def printed(one: Automaton, length: int) -> np.ndarray:
    words = np.array([*itertools.product(range(len(one.symbols)), repeat=length)])
    return one.run(one.symbols[words])[0]


def test_minimal_and_equivalent() -> None:
    random = np.random.default_rng(1)
    for kind in range(2):
        for _ in range(60):
            n = int(random.integers(1, 7))
            transitions = random.integers(0, n, (n, 2))
            outputs = random.integers(0, 2, (n, 2) if kind else n)
            one = Automaton([0, 1], transitions, outputs)
            least = one.minimal()
            assert least.is_equivalent(one) and one.is_equivalent(one.mealy()) and least.states <= n
            np.testing.assert_array_equal(printed(one, 8), printed(least, 8))
            again = least.minimal()
            np.testing.assert_array_equal(again.transitions, least.transitions)
            np.testing.assert_array_equal(again.outputs, least.outputs)
            other = Automaton([0, 1], transitions, np.roll(outputs, 1, axis=0))
            assert one.is_equivalent(other) == np.array_equal(printed(one, 10), printed(other, 10))


def test_minimal_does_not_depend_on_what_the_first_state_prints() -> None:
    """Nobody sees that before the state is returned to: starts that go on alike are one."""
    first = fastrec.addition_automaton()
    order = np.array([1, 0, 2, 3])  # states 0 and 1 have the same transitions
    other = Automaton(first.symbols, order[first.transitions[order]], first.outputs[order])
    assert other.is_equivalent(first)
    for one in (first, other):
        np.testing.assert_array_equal(one.minimal().transitions, first.transitions)
        np.testing.assert_array_equal(one.minimal().outputs, first.outputs)


def test_equivalence_after_some_steps() -> None:
    """A first digit that is not asked for may be anything."""
    one, other = (Automaton([0], [[1], [1]], [[first], [5]]) for first in (3, 4))
    assert not one.is_equivalent(other) and one.is_equivalent(other, after=1)
    assert one.is_equivalent(other, after=2**31 - 1)  # at once
    late = [Automaton([0], [[1], [2], [1]], [[0], [last], [1]]) for last in (1, 0)]
    assert not late[0].is_equivalent(late[1], after=2**31 - 1)
    assert not one.is_equivalent(Automaton([1], [[1], [1]], [[3], [5]]))
    assert not one.is_equivalent(Automaton([0, 1], [[0, 0]], [3]))
    swapped = Automaton([1, 0], [[1, 0], [0, 1]], [0, 1])
    assert swapped.is_equivalent(Automaton([0, 1], [[0, 1], [1, 0]], [0, 1]))


def test_pictures_show_every_arrow() -> None:
    for found in (
        fastrec.addition_automaton(),
        fastrec.addition_automaton().mealy(),
        Automaton([0], [[0]], [1]),
    ):
        ax = found.plot()
        different = {(s, t) for s, row in enumerate(found.transitions) for t in row.tolist()}
        assert len(ax.patches) == len(different) + found.states + 1
        texts = " ".join(text.get_text() for text in ax.texts)
        assert all(name in texts for name in found._names())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transitions": [[0, 2], [1, 0]]}, "transitions holds 2; states are 0 to 1"),
        ({"transitions": [[0, -1], [1, 0]]}, "transitions holds -1; states are"),
        ({"transitions": [[0], [1]]}, r"transitions has shape \(2, 1\)"),
        ({"transitions": [[0.5, 0], [1, 0]]}, "and dtype float64; it must be integers"),
        ({"outputs": [0, 1, 2]}, r"outputs has shape \(3,\)"),
        ({"symbols": [1, 1]}, "symbols has equal ones"),
        ({"symbols": 3}, r"symbols has shape \(\)"),
    ],
)
def test_automata_that_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Automaton(**{"symbols": [0, 1], "transitions": [[0, 1], [1, 0]], "outputs": [0, 1]} | changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: automaton(fastrec.RNN(2, 3, 2, models=2), pairs(0)), "rnn holds 2 networks"),
        (lambda: automaton(fastrec.RNN(2, 3, 2, reverse=True), pairs(0)), "the network is reverse"),
        (lambda: automaton(fastrec.RNN(2, 3, 1), pairs(0)), "decide is None, and one output"),
        (lambda: automaton(adder(0), pairs(0), decide=3), "decide is 3"),
        (lambda: automaton(adder(0), pairs(0), decide=lambda y: y), "decide returned shape"),
        (lambda: automaton(adder(0), pairs(0), max_states=0), "max_states is 0"),
        (
            lambda: automaton(adder(0), np.random.default_rng(0).random((40, 40, 2))),
            "x has 1600 different steps",
        ),
        (lambda: automaton(adder(0), pairs(0), lengths=[0] * 4), "x has 0 different steps"),
        (lambda: fastrec.addition_automaton(-1), "delay is -1"),
        (lambda: fastrec.addition_automaton().run(np.full((1, 2, 2), 7)), r"x holds \[7, 7\], which is none"),
        (lambda: fastrec.addition_automaton().run(np.zeros((1, 2))), "x has shape"),
        (lambda: fastrec.addition_automaton().is_equivalent(3), "other is 3"),
    ],
)
def test_refuses(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change()
