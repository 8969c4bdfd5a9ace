"""Seeds of networks, trainings and draws: fresh by default, from generators, and said afterwards."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrec
from fastrec import RNN, CharModel, EncoderDecoder
from fastrec.streams import MAX_SEED, read_seed

TEXT = "the fat cat sat on the mat " * 20
X = np.arange(24).reshape(4, 6) % 3


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(array, b.parameters[key]) for key, array in a.parameters.items())


def trained(seed: Any, rnn: RNN | None = None, **options: Any) -> tuple[fastrec.History, RNN]:
    rnn = rnn or RNN(3, 4, 3, seed=1)
    options = {"epochs": 2, "batch_size": 2, "dropout": 0.2, "progress": False} | options
    return fastrec.fit(rnn, X, X, seed=seed, **options), rnn


def text_model(seed: Any, **options: Any) -> tuple[CharModel, fastrec.TextHistory]:
    model = CharModel(4, seed=seed)
    options = {"epochs": 0.5, "batch_size": 2, "steps": 10, "dropout": 0.1, "progress": False} | options
    return model, model.fit(TEXT, **options)


def test_read_seed() -> None:
    generator, again = np.random.default_rng(3), np.random.default_rng(3)
    assert read_seed(generator) == int(again.integers(0, MAX_SEED, dtype=np.uint64, endpoint=True))
    assert {read_seed(None, most=1) for _ in range(99)} == {read_seed(generator, most=1) for _ in range(99)}
    for bad in (-1, 2**64, 1.5, True, "1", [1]):
        with pytest.raises(ValueError, match=r"^my_seed is "):
            read_seed(bad, "my_seed")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: RNN(3, 4, seed=seed),
        lambda seed: RNN(3, 4, models=3, seed=seed),
        lambda seed: EncoderDecoder(3, 3, 4, seed=seed),
        lambda seed: EncoderDecoder(3, 3, 4, sources="contexts", seed=seed),
        lambda seed: text_model(seed)[0].rnn,
    ],
)
def test_networks_say_their_seed(make: Any, tmp_path: Path) -> None:
    one, other = make(None), make(None)
    assert one.seed != other.seed and not same(one, other)
    assert same(one, make(one.seed))
    generator = np.random.default_rng(5)
    drawn = make(generator)
    assert drawn.seed == make(np.random.default_rng(5)).seed
    assert make(generator).seed != drawn.seed
    one.save(tmp_path / "a.npz")
    assert type(one).load(tmp_path / "a.npz").seed == one.seed == pickle.loads(pickle.dumps(one)).seed


def test_k_networks() -> None:
    seeds = (7, 3, 2**64 - 1)
    several = RNN(2, 3, models=3, seed=seeds)
    assert several.seed == seeds and several.copy().seed == seeds
    assert same(several.copy(model=2), RNN(2, 3, seed=2**64 - 1)) and several.copy(model=2).seed == 2**64 - 1
    assert RNN(2, 3, models=3, seed=5).copy(model=2).seed == 7
    assert RNN(2, 3, models=3, seed=2**64 - 3).seed == 2**64 - 3
    for seed in (2**64 - 2, 2**64 - 1):
        with pytest.raises(ValueError, match=f"seed is {seed}; it must be an integer from 0 to {2**64 - 3}"):
            RNN(2, 3, models=3, seed=seed)


def test_files_say_the_seed(tmp_path: Path) -> None:
    RNN(2, 3, models=2, seed=[4, 9]).save(tmp_path / "a.npz")
    assert RNN.load(tmp_path / "a.npz").seed == (4, 9)
    model, _ = text_model(11)
    model.save(tmp_path / "b.npz")
    assert CharModel.load(tmp_path / "b.npz").seed == RNN.load(tmp_path / "b.npz").seed == 11


def test_fit_says_its_seed() -> None:
    history, rnn = trained(None)
    again, other = trained(history.seed), trained(None)
    assert same(rnn, again[1]) and not same(rnn, other[1]) and other[0].seed != history.seed
    assert trained(np.random.default_rng(5))[0].seed == read_seed(np.random.default_rng(5))
    seen = []
    trained(4, callback=lambda epoch, curves: seen.append(curves.seed))
    assert seen == [4, 4]
    model, curves = text_model(12)
    assert curves.seed == model.seed == 12
    pairs = EncoderDecoder(3, 3, 4, seed=1).fit(X, X, epochs=1, seed=6, progress=False)
    assert pairs.seed == 6


def test_a_resumed_fit_takes_the_seed_of_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    first, _ = trained(None, epochs=1, checkpoint=path)
    whole, rnn = trained(None, checkpoint=path)
    assert whole.seed == first.seed and same(rnn, trained(first.seed)[1])
    with pytest.raises(ValueError, match=f"seed is {first.seed} there"):
        trained(1, checkpoint=path)


def test_a_resumed_text_model_takes_the_seed_of_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"

    def stop(model: CharModel, curves: fastrec.TextHistory) -> None:
        seeds.append(model.seed)
        raise KeyboardInterrupt

    seeds: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        text_model(None, epochs=2, checkpoint=path, callback=stop)
    resumed, _ = text_model(None, epochs=2, checkpoint=path)
    assert resumed.seed == seeds[0]
    assert same(resumed.rnn, text_model(seeds[0], epochs=2)[0].rnn)
    with pytest.raises(ValueError, match="seed is "):
        text_model(seeds[0] ^ 1, epochs=2, checkpoint=path)


def test_draws_are_fresh() -> None:
    rnn = RNN(9, 4, 9, seed=1)
    model, _ = text_model(1)
    pairs = EncoderDecoder(3, 5, 4, seed=1)
    calls: list[Any] = [
        lambda seed: rnn.generate([[0]], 40, seed=seed)[0].tolist(),
        lambda seed: model.sample(length=60, seed=seed),
        lambda seed: "".join(model.stream(length=60, seed=seed)),
        lambda seed: pairs.generate([[0, 1]] * 60, 9, temperature=1.0, seed=seed)[0].tolist(),
        lambda seed: rnn.loss_and_gradients(X, X, dropout=0.5, dropout_seed=seed)[1]["W_out"].tolist(),
    ]
    for call in calls:
        assert call(None) != call(None)
        generator = np.random.default_rng(8)
        assert call(generator) == call(read_seed(np.random.default_rng(8))) != call(generator)


def test_experiments_keep_theirs() -> None:
    assert np.array_equal(fastrec.addition_task(4, 9)[0], fastrec.addition_task(4, 9, seed=0)[0])
    assert not np.array_equal(*(fastrec.addition_task(4, 9, seed=None)[0] for _ in range(2)))
