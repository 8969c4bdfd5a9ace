"""Optimisers: the rules, clipping, k networks, states, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from fastrec import SGD, Adam, AdamW, MomentumSchedule, RMSprop

pytestmark = pytest.mark.each_value  # on each backend kernels have tests of their own

SHAPES = {"W": (3, 4), "b": (5,)}
RULES: list[Callable[..., SGD | Adam]] = [
    lambda **more: SGD(0.1, **more),
    lambda **more: SGD(0.1, momentum=0.9, **more),
    lambda **more: SGD(0.1, momentum=0.9, nesterov=True, **more),
    lambda **more: Adam(0.1, **more),
    lambda **more: Adam(0.1, betas=(0.5, 0.8), epsilon=1e-3, weight_decay=0.2, **more),
    lambda **more: AdamW(0.1, **more),
    lambda **more: SGD(0.1, 0.9, weight_decay=0.2, clip_value=0.3, **more),
    lambda **more: RMSprop(0.1, **more),
    lambda **more: RMSprop(0.1, 0.8, 1e-3, momentum=0.9, weight_decay=0.2, **more),
]


def arrays(seed: int, *lead: int, dtype: type = np.float64) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {key: rng.standard_normal(lead + shape).astype(dtype) for key, shape in SHAPES.items()}


def copied(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: value.copy() for key, value in values.items()}


def equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def after(
    optimizer: SGD | Adam, steps: int, backend: str, *lead: int, begin: int = 0
) -> dict[str, np.ndarray]:
    """Parameters after some steps along gradients that differ from step to step."""
    p = arrays(99, *lead)
    for step in range(begin, begin + steps):
        optimizer.step(p, arrays(step, *lead), *lead, backend=backend)
    return p


def test_sgd_is_its_formula(backend: str) -> None:
    for nesterov in (False, True):
        optimizer, p, expected = SGD(0.1, 0.9, nesterov), arrays(99), arrays(99)
        v = dict.fromkeys(p, 0.0)
        for step in range(3):
            g = arrays(step)
            norm = optimizer.step(p, g, backend=backend)
            assert isinstance(norm, float)
            assert norm == pytest.approx(np.sqrt(sum((a**2).sum() for a in g.values())), rel=1e-12)
            for key in p:
                v[key] = 0.9 * v[key] + g[key]
                expected[key] -= 0.1 * (g[key] + 0.9 * v[key] if nesterov else v[key])
        for key in p:
            np.testing.assert_allclose(p[key], expected[key], rtol=1e-12)


def test_momentum_that_changes(backend: str) -> None:
    """As if the momentum were another one before each step."""
    schedule, p, q = MomentumSchedule(0.8, every=2), arrays(9), arrays(9)
    one, other = SGD(0.1, 0.5), SGD(0.1, schedule)
    for step, momentum in enumerate((0.5, 0.5, 0.75, 0.75, 0.8)):
        assert schedule(step) == momentum
        one.momentum = momentum
        for optimizer, parameters in ((one, p), (other, q)):
            optimizer.step(parameters, arrays(step), backend=backend)
    assert equal(p, q) and equal(one.state_dict(), other.state_dict())
    assert repr(SGD(0.1, schedule)).endswith("momentum=MomentumSchedule(most=0.8, every=2), nesterov=False)")
    assert f"momentum={__name__}.sinking," in repr(SGD(0.1, sinking))
    assert MomentumSchedule(0.999)(49_999) == 1 - 1 / 400


def sinking(update: int) -> float:
    return 0.9 - update


def test_a_momentum_that_is_none_changes_nothing(backend: str) -> None:
    optimizer, p = SGD(0.1, sinking), arrays(9)
    optimizer.step(p, arrays(0), backend=backend)
    before, state = copied(p), optimizer.state_dict()
    with pytest.raises(
        ValueError, match=r"^momentum\(1\) is -0.09.*; it must be a number at least 0 and below 1"
    ):
        optimizer.step(p, arrays(1), backend=backend)
    assert equal(p, before) and equal(state, optimizer.state_dict())


def test_adam_is_its_formula(backend: str) -> None:
    optimizer, p, expected = Adam(0.1, (0.5, 0.8), 1e-3, 0.2), arrays(99), arrays(99)
    m, v = dict.fromkeys(p, 0.0), dict.fromkeys(p, 0.0)
    for step in (1, 2, 3):
        g = arrays(step)
        optimizer.step(p, g, backend=backend)
        for key in p:
            m[key] = 0.5 * m[key] + 0.5 * g[key]
            v[key] = 0.8 * v[key] + 0.2 * g[key] ** 2
            expected[key] *= 1 - 0.1 * 0.2
            root = np.sqrt(v[key] / (1 - 0.8**step)) + 1e-3
            expected[key] -= 0.1 * m[key] / (1 - 0.5**step) / root
    for key in p:
        np.testing.assert_allclose(p[key], expected[key], rtol=1e-12)


@pytest.mark.parametrize("rule", range(len(RULES)))
def test_rules_are_those_of_torch(backend: str, rule: int) -> None:
    torch = pytest.importorskip("torch")
    make = [
        lambda p: torch.optim.SGD(p, 0.1),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
        lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0),
        lambda p: torch.optim.AdamW(p, 0.1, (0.5, 0.8), 1e-3, weight_decay=0.2),
        lambda p: torch.optim.AdamW(p, 0.1),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.2),
        lambda p: torch.optim.RMSprop(p, 0.1),
        lambda p: torch.optim.RMSprop(p, 0.1, 0.8, 1e-3, weight_decay=0.2, momentum=0.9),
    ]
    theirs = [torch.tensor(value, requires_grad=True) for value in arrays(99).values()]
    optimizer = make[rule](theirs)
    for step in range(4):
        for tensor, gradient in zip(theirs, arrays(step).values(), strict=True):
            tensor.grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_norm_(theirs, 2.0)
        if (limit := RULES[rule]().clip_value) is not None:
            torch.nn.utils.clip_grad_value_(theirs, limit)
        optimizer.step()
    ours = after(RULES[rule](clip=2.0), 4, backend)
    for tensor, value in zip(theirs, ours.values(), strict=True):
        np.testing.assert_allclose(value, tensor.detach().numpy(), rtol=1e-5)  # torch adds 1e-6 to the norm


@pytest.mark.parametrize("rule", range(len(RULES)))
def test_models_are_networks_of_their_own(backend: str, rule: int) -> None:
    clip = 4.0  # between the norms of the two networks
    p, g = arrays(99, 2), arrays(0, 2)
    g["W"][1] *= 3
    rates = np.array([0.1, 0.3])
    optimizer = RULES[rule](clip=clip)
    optimizer.learning_rate = rates
    alone = [{key: value[j].copy() for key, value in p.items()} for j in range(2)]
    norms = [optimizer.step(p, g, 2, backend) for _ in range(3)]
    assert norms[0].shape == (2,) and norms[0].dtype == np.float64 and norms[0][0] < clip < norms[0][1]
    for j in range(2):
        single = RULES[rule](clip=clip)
        single.learning_rate = rates[j]
        for norm in norms:
            own = single.step(alone[j], {key: value[j] for key, value in g.items()}, backend=backend)
            assert own == pytest.approx(norm[j], rel=1e-12)
        for key in p:
            np.testing.assert_allclose(p[key][j], alone[j][key], rtol=1e-12)


def test_values_are_clipped_after_the_norm(backend: str) -> None:
    p, g = arrays(99), arrays(0)
    before = copied(p)
    norm = SGD(1.0, clip=1.0, clip_value=0.2).step(p, g, backend=backend)
    assert norm > 1
    for key in p:
        np.testing.assert_allclose(before[key] - p[key], np.clip(g[key] / norm, -0.2, 0.2), rtol=1e-9)
    p = copied(before)
    Adam(0.1, clip_value=1e-3, weight_decay=0.5).step(p, g, backend=backend)
    q = copied(before)
    Adam(0.1, weight_decay=0.5).step(
        q, {key: np.clip(value, -1e-3, 1e-3) for key, value in g.items()}, backend=backend
    )
    assert equal(p, q)


@pytest.mark.parametrize("rule", [SGD, RMSprop, AdamW])
def test_weight_decay_of_what_is_named(backend: str, rule: type) -> None:
    everything, some, nothing = (
        after(rule(0.1, weight_decay=decay), 2, backend) for decay in (0.2, {"W": 0.2}, 0)
    )
    assert np.array_equal(some["W"], everything["W"]) and np.array_equal(some["b"], nothing["b"])
    assert (some["W"] != nothing["W"]).all() and (everything["b"] != nothing["b"]).all()
    with pytest.raises(ValueError, match="weight_decay names V; the parameters are W, b"):
        after(rule(0.1, weight_decay={"V": 0.2}), 1, backend)


def test_clipping_scales_to_the_norm(backend: str) -> None:
    p, g = arrays(99), arrays(0)
    before = copied(p)
    norm = SGD(1.0, clip=0.5).step(p, g, backend=backend)
    moved = np.sqrt(sum(((before[key] - p[key]) ** 2).sum() for key in p))
    assert norm > 0.5 and moved == pytest.approx(0.5, rel=1e-12)
    p = copied(before)
    SGD(1.0, clip=2 * norm).step(p, g, backend=backend)
    for key in p:
        np.testing.assert_array_equal(p[key], before[key] - g[key])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_are_changed_in_place_and_gradients_are_not(backend: str, dtype: type) -> None:
    p, g = arrays(99, dtype=dtype), arrays(0, dtype=dtype)
    g["W"] = np.asfortranarray(g["W"])
    for value in g.values():
        value.flags.writeable = False
    same, expected = dict(p), {key: p[key] - dtype(0.1) * g[key] for key in p}
    SGD(0.1).step(p, g | {"x": np.full(3, np.nan), "state": np.zeros(1)}, backend=backend)
    for key in p:
        assert p[key] is same[key] and p[key].dtype == dtype
        np.testing.assert_allclose(p[key], expected[key], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_gradients_that_are_not_finite_change_nothing(backend: str, bad: float) -> None:
    optimizer, p, g = Adam(), arrays(99), arrays(0)
    optimizer.step(p, g, backend=backend)
    before, state = copied(p), optimizer.state_dict()
    g["b"][3] = bad
    with (
        np.errstate(over="ignore"),
        pytest.raises(FloatingPointError, match='of "b" is not finite at step 2'),
    ):
        optimizer.step(p, g, backend=backend)
    assert equal(p, before) and equal(optimizer.state_dict(), state)
    p, g = arrays(99, 3), arrays(0, 3)
    g["W"][2, 0, 1] = bad
    with (
        np.errstate(over="ignore"),
        pytest.raises(FloatingPointError, match='"W" of network 2 is not finite'),
    ):
        SGD(0.1).step(p, g, 3, backend)
    assert equal(p, arrays(99, 3))


@pytest.mark.parametrize("rule", range(len(RULES)))
def test_state_goes_on(backend: str, rule: int) -> None:
    whole = after(RULES[rule](), 5, backend)
    first = RULES[rule]()
    p = after(first, 2, backend)
    state = first.state_dict()
    for value in state.values():
        value.flags.writeable = False
    second = RULES[rule]()
    second.load_state_dict(state)
    for step in (2, 3, 4):
        second.step(p, arrays(step), backend=backend)
    assert equal(p, whole)
    assert state["step"] == 2 and second.state_dict()["step"] == 5  # it took a copy


def test_state_dict() -> None:
    optimizer = Adam(0.25)
    assert equal(optimizer.state_dict(), {"step": np.array(0), "learning_rate": np.array(0.25)})
    optimizer.step(arrays(99), arrays(0), backend="reference")
    state = optimizer.state_dict()
    assert list(state) == ["step", "learning_rate", "mean.W", "mean.b", "square.W", "square.b"]
    optimizer.step(arrays(99), arrays(1), backend="reference")
    np.testing.assert_allclose(state["mean.W"], 0.1 * arrays(0)["W"])  # a copy
    fresh = Adam()
    fresh.load_state_dict(Adam(0.25).state_dict())
    assert fresh.learning_rate == 0.25
    for odd in (SGD(1.0), optimizer):
        wrong = odd.state_dict()
        wrong.pop("step") if odd is optimizer else wrong.update({"velocity.W": np.ones(2)})
        with pytest.raises(ValueError, match="state is not that of Adam"):
            fresh.load_state_dict(wrong)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("step", -1, "step is -1; it must be an integer from 0"),
        ("step", 1.5, "step is 1.5"),
        ("step", [1, 2], "step is [1, 2]"),
        ("learning_rate", -1.0, "learning_rate is array(-1.)"),
    ],
)
def test_states_that_cannot_be_change_nothing(name: str, value: object, message: str) -> None:
    optimizer = Adam()
    optimizer.step(arrays(99), arrays(0), backend="reference")
    before, state = optimizer.state_dict(), Adam(0.5).state_dict()
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer.load_state_dict(state | {name: np.array(value)})
    assert equal(optimizer.state_dict(), before)


def test_states_of_another_memory_order(backend: str) -> None:
    first = SGD(0.1, 0.9)
    p = after(first, 2, backend)
    second = SGD(0.1, 0.9)
    second.load_state_dict({key: np.array(value, order="F") for key, value in first.state_dict().items()})
    for step in (2, 3):
        second.step(p, arrays(step), backend=backend)
    assert equal(p, after(SGD(0.1, 0.9), 4, backend))


def test_learning_rate_is_a_copy() -> None:
    optimizer = SGD([0.1, 0.2])
    with pytest.raises(ValueError, match="learning_rate is"):
        optimizer.learning_rate *= -1
    assert optimizer.learning_rate.tolist() == [0.1, 0.2]


def test_steps_that_fail_do_not_bind() -> None:
    optimizer, bad = Adam(), {"W": np.full((2, 2), np.nan)}
    with pytest.raises(ValueError, match="is missing"):
        optimizer.step(arrays(99), {}, backend="reference")
    with pytest.raises(FloatingPointError):
        optimizer.step({"W": np.ones((2, 2))}, bad, backend="reference")
    assert list(optimizer.state_dict()) == ["step", "learning_rate"]
    optimizer.step({"b": np.ones(2)}, {"b": np.ones(2)}, backend="reference")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0), "learning_rate is 0; it must be a positive number, or k of them"),
        (lambda: SGD(np.nan), "learning_rate is nan"),
        (lambda: SGD([0.1, -1]), "learning_rate is [0.1, -1]"),
        (lambda: SGD(np.ones((2, 2))), "learning_rate is"),
        (lambda: SGD([]), "learning_rate is []"),
        (lambda: SGD([[1, 2], [3]]), "learning_rate is not an array"),
        (lambda: SGD("fast"), "learning_rate is 'fast'"),
        (lambda: SGD(True), "learning_rate is True"),
        (lambda: SGD(0.1, momentum=1), "momentum is 1; it must be a number at least 0 and below 1"),
        (lambda: SGD(0.1, 0.9, nesterov="no"), "nesterov is 'no'; it must be True or False"),
        (lambda: SGD(0.1, lambda update: 1.0), "momentum(0) is 1.0; it must be a number at least 0 and"),
        (lambda: SGD(0.1, "fast"), "momentum is 'fast'; it must be a number"),
        (lambda: MomentumSchedule(1), "most is 1; it must be a number at least 0 and below 1"),
        (lambda: MomentumSchedule(every=0), "every is 0; it must be an integer from 1"),
        (lambda: SGD(0.1, nesterov=True), "nesterov is True and momentum 0"),
        (lambda: SGD(0.1, clip=0), "clip is 0; it must be a number above 0"),
        (lambda: Adam(betas=(0.9, 1.0)), "betas[1] is 1.0"),
        (lambda: Adam(betas=(0.9,)), "betas is (0.9,); give two numbers"),
        (lambda: Adam(betas=0.9), "betas is 0.9; give two numbers"),
        (lambda: Adam(epsilon=0), "epsilon is 0"),
        (lambda: Adam(weight_decay=-1), "weight_decay is -1; it must be a number at least 0"),
        (lambda: Adam(clip="1"), "clip is '1'"),
        (lambda: AdamW(clip_value=0), "clip_value is 0; it must be a number above 0"),
        (lambda: SGD(0.1, weight_decay={"W": -1}), 'weight_decay["W"] is -1; it must be a number at least 0'),
        (lambda: RMSprop(alpha=1), "alpha is 1; it must be a number at least 0 and below 1"),
    ],
)
def test_arguments(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    ("rate", "change", "models", "message"),
    [
        (0.1, {"W": None}, None, 'gradients["W"] is missing; it must be (3, 4), float64'),
        (0.1, {"W": np.ones((4, 3))}, None, 'gradients["W"] is (4, 3), float64; it must be (3, 4), float64'),
        (0.1, {"b": np.ones(5, np.float32)}, None, 'gradients["b"] is (5,), float32'),
        (0.1, {}, 2, 'parameters["W"] is (3, 4); it must be led by k = 2'),
        (
            [0.1, 0.2],
            {},
            None,
            "learning_rate has 2 values, one each for as many networks, but models is None",
        ),
        ([0.1, 0.2], {}, 3, "learning_rate has 2 values"),
    ],
)
def test_arrays_that_do_not_fit(rate: object, change: dict, models: int | None, message: str) -> None:
    p, g = arrays(99), {key: value for key, value in (arrays(0) | change).items() if value is not None}
    with pytest.raises(ValueError, match=re.escape(message)):
        SGD(rate).step(p, g, models, "reference")
    assert equal(p, arrays(99))


def test_parameters_that_do_not_fit() -> None:
    for value in (np.ones((3, 4), int), np.asfortranarray(np.ones((3, 4))), np.ones((3, 8))[:, ::2]):
        with pytest.raises(ValueError, match=r'parameters\["W"\] has dtype .* C-contiguous and writable'):
            SGD(0.1).step({"W": value}, {"W": value}, backend="reference")
    optimizer = SGD(0.1)
    optimizer.step(arrays(99), arrays(0), backend="reference")
    other = {"W": np.ones((3, 4)), "b": np.ones(6)}
    with pytest.raises(ValueError, match=r'parameters\["b"\] is not as in earlier steps; use a new SGD'):
        optimizer.step(other, other, backend="reference")


def test_repr() -> None:
    assert repr(SGD(0.1, 0.9)) == "SGD(learning_rate=0.1, clip=None, momentum=0.9, nesterov=False)"
    assert repr(RMSprop(clip_value=1, weight_decay={"W": 0.1})) == (
        "RMSprop(learning_rate=0.01, clip=None, clip_value=1.0, alpha=0.99, epsilon=1e-08, "
        "weight_decay={'W': 0.1}, momentum=0.0)"
    )
    assert repr(Adam([0.1, 0.2], clip=1)) == (
        "Adam(learning_rate=[0.1, 0.2], clip=1.0, betas=(0.9, 0.999), epsilon=1e-08, weight_decay=0.0)"
    )
