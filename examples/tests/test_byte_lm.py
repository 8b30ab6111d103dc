import numpy as np
import pytest

from byte_lm import Adam, ByteLM
from features import END, NOTHING, of_response

PROMPT, RESPONSE = b"Say it again: banana, banana.", b"banana, banana, banana!"


def nudged(model, name, direction, amount):
    twin = model.copy()
    twin.parameters[name] += amount * direction
    return twin


@pytest.fixture
def model():
    """In double precision, with no parameter at 0, where a wrong gradient could hide."""
    rng = np.random.default_rng(0)
    model = ByteLM(rng, np.float64)
    for value in model.parameters.values():
        value += 0.1 * rng.standard_normal(value.shape)
    return model


@pytest.mark.parametrize("name", ByteLM(np.random.default_rng(0)).parameters)
def test_backward_is_the_derivative(model, name):
    rng = np.random.default_rng(1)
    features = of_response(PROMPT, RESPONSE)
    logits, backward = model(features)
    grad_logits = rng.standard_normal(logits.shape)  # of the loss (grad_logits * logits).sum()
    gradients = backward(grad_logits)
    direction = rng.standard_normal(model.parameters[name].shape)
    step = 1e-5
    ahead, behind = (
        (grad_logits * nudged(model, name, direction, amount)(features)[0]).sum() for amount in (step, -step)
    )
    assert (gradients[name] * direction).sum() == pytest.approx((ahead - behind) / (2 * step), rel=1e-7)


def test_controls_add_up_where_they_raise_the_same_token(model):
    features = of_response(PROMPT, RESPONSE)
    copy, repeat = features.targets[:, 1], features.targets[:, 2]
    same = np.flatnonzero((copy == repeat) & (copy != NOTHING))
    assert len(same)
    before, _ = model(features)
    model.parameters["control_bias"] += [0, 1, 10]
    after, _ = model(features)
    np.testing.assert_allclose((after - before)[same, copy[same]], 11)
    neither = features.present[:, 1:].sum(1) == 0
    np.testing.assert_array_equal(after[neither], before[neither])


def test_only_the_stop_control_raises_the_end(model):
    features = of_response(PROMPT, RESPONSE)
    before, _ = model(features)
    model.parameters["control_bias"] += [1, 0, 0]
    after, _ = model(features)
    np.testing.assert_allclose((after - before)[:, END], 1)
    np.testing.assert_array_equal(after[:, :END], before[:, :END])


def test_adam_starts_with_a_small_step_down_each_slope_and_leaves_what_has_rate_0(model):
    rates = dict.fromkeys(model.parameters, 0.0) | {"bias": 0.2}
    optimizer = Adam(model, rates, total_steps=100)
    before = model.copy().parameters
    gradients = {name: np.full(value.shape, 1e-3) for name, value in before.items()}
    gradients["bias"] = np.random.default_rng(2).choice([-1.0, 1.0], len(before["bias"]))
    downhill = -np.sign(gradients["bias"])
    optimizer.step(gradients)
    np.testing.assert_allclose(model.parameters["bias"] - before["bias"], 0.2 / 20 * downhill, rtol=1e-4)
    np.testing.assert_array_equal(model.parameters["output"], before["output"])
