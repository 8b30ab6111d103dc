"""What is said of single rows of logits: by-products, caps and temperatures, infinities, NaN, flags."""

import math

import numpy as np
import pytest
import swiftdpo
import torch
import torch_oracles
from calls import results_equal
from logits_oracle import TYPES, bits, empty_like, exact_rows, numbers, rounded
from swiftdpo import RowFlag

NAN, INF = math.nan, math.inf
CAPS = [None, 30.0]


def rows_of(logits, dtype, labels=None):
    """Rows, each of which scores its own label, as one sequence."""
    given, exact = rounded(np.asarray(logits)[None], dtype)
    labels = np.zeros((1, exact.shape[1]), np.int64) if labels is None else np.asarray(labels)[None]
    return given, exact, labels


# By-products


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7}, {"softcap": 5.0, "temperature": 2.0}])
@pytest.mark.parametrize("dtype", TYPES)
def test_by_products(dtype, options):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1, (40, 1000)) * np.geomspace(0.01, 30, 40)[:, None]
    logits[3] = 0.25  # uniform
    logits[4, 7] = 200  # certain
    logits[5, ::2] = -INF
    given, exact, labels = rows_of(logits, dtype, rng.integers(0, 500, 40) * 2 + 1)
    labels[0, ::3] = exact[0, ::3].argmax(1)
    rows = exact_rows(exact, labels, shift=False, **options)
    out = swiftdpo.sequence_logps(given, labels, shift=False, by_products=True, **options)
    tolerance = 1e-13 if dtype == "float64" else 2e-6
    np.testing.assert_allclose(out.entropies[0], rows.entropies, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(out.log_sum_squares[0], rows.log_sum_squares, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(out.mean_logits[0], rows.mean_logits, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(out.top_1[0], rows.top_1)
    assert (out.entropies >= 0).all() and (out.log_sum_squares <= 0).all()
    assert out.entropies[0, 3] == pytest.approx(math.log(1000), abs=1e-6)
    assert out.mean_logits[0, 5] == -INF


@pytest.mark.parametrize("dtype", TYPES)
def test_by_products_leave_the_other_results_as_they_are(dtype):
    given, _, labels = rows_of(np.random.default_rng(1).normal(0, 5, (30, 333)), dtype)
    without = swiftdpo.sequence_logps(given, labels)
    with_them = swiftdpo.sequence_logps(given, labels, by_products=True)
    for field in ("logps", "token_logps", "log_normalizers"):
        np.testing.assert_array_equal(getattr(with_them, field), getattr(without, field))
    assert without[5:9] == (None,) * 4


def test_several_largest_logits_all_agree():
    out = swiftdpo.sequence_logps(
        np.zeros((1, 3, 5)), [[4, 0, 2]], shift=False, by_products=True, mask=np.array([[True, True, False]])
    )
    assert out.top_1.tolist() == [[True, True, False]]


# Caps and temperatures


@pytest.mark.parametrize("temperature", [1.0, 0.5, 1.7])
@pytest.mark.parametrize("softcap", [None, 2.0, 50.0])
@pytest.mark.parametrize("dtype", TYPES)
def test_autograd(dtype, softcap, temperature):
    rng = np.random.default_rng(2)
    given, exact = rounded(rng.normal(0, 4, (3, 5, 200)), dtype)
    labels = rng.integers(0, 200, (3, 5))
    labels[1, 2:] = -100
    weights, grad_logps = rng.normal(0, 1, (3, 5)), np.array([1.0, -0.5, 3.0])

    leaf = torch_oracles.tensor(exact)
    logits = (softcap * torch.tanh(leaf / softcap) if softcap else leaf) / temperature
    log_p = logits[:, :-1].log_softmax(2)
    picked = log_p.gather(2, torch.as_tensor(labels)[:, 1:, None].clamp(min=0))[:, :, 0]
    counts = torch.as_tensor(labels[:, 1:] != -100)
    logps = torch.where(counts, picked * torch.as_tensor(weights)[:, 1:], 0).sum(1)
    logps.backward(torch.tensor(grad_logps))

    out = swiftdpo.sequence_logps(
        given, labels, softcap=softcap, temperature=temperature, token_weights=weights
    )
    np.testing.assert_allclose(out.logps, logps.detach(), rtol=0, atol=1e-12 if dtype == "float64" else 1e-5)
    gradient = numbers(
        swiftdpo.sequence_logps_backward(given, labels, grad_logps, out, out=empty_like(given))
    )
    relative = {"float64": 1e-12, "float32": 1e-5, "float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype]
    np.testing.assert_allclose(gradient, leaf.grad, rtol=relative, atol=1e-7 if dtype != "float64" else 1e-14)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_temperature_is_a_factor_of_the_logits(dtype):
    """Powers of two scale logits exactly."""
    given, exact, labels = rows_of(np.random.default_rng(3).normal(0, 3, (20, 100)), dtype)
    halved, _ = rounded(exact / 2, dtype)
    cool = swiftdpo.sequence_logps(halved, labels, by_products=True)
    out = swiftdpo.sequence_logps(given, labels, temperature=2.0, by_products=True)
    for field in ("logps", "token_logps", "entropies", "mean_logits", "log_sum_squares", "log_normalizers"):
        np.testing.assert_allclose(getattr(out, field), getattr(cool, field), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("temperature", [1e-6, 1e6, 1e-30, 1e30, 1e60, 1e300])
@pytest.mark.parametrize("dtype", TYPES)
def test_extreme_temperatures(dtype, temperature):
    given, exact, labels = rows_of(np.random.default_rng(4).normal(0, 3, (8, 50)), dtype, range(8))
    rows = exact_rows(exact, labels, shift=False, temperature=temperature)
    out = swiftdpo.sequence_logps(given, labels, shift=False, temperature=temperature)
    np.testing.assert_allclose(out.token_logps[0], rows.token_logps, rtol=1e-6, atol=1e-6)
    gradient = swiftdpo.sequence_logps_backward(given, labels, [1.0], out, out=empty_like(given))
    assert np.isfinite(numbers(gradient)).all() or dtype == "float16"


@pytest.mark.parametrize("temperature", [1e-300, 1e-60, 1e-30, 1.0, 1e30, 1e60, 1e300])
@pytest.mark.parametrize("dtype", TYPES)
def test_masked_entries_at_extreme_temperatures(dtype, temperature):
    logits = np.zeros((3, 50))
    logits[:, 7:] = -INF
    given, _, labels = rows_of(logits, dtype)
    out = swiftdpo.sequence_logps(given, labels, shift=False, temperature=temperature, by_products=True)
    np.testing.assert_allclose(out.token_logps, -math.log(7), rtol=1e-7)
    np.testing.assert_allclose(out.entropies, math.log(7), rtol=1e-7)
    gradient = swiftdpo.sequence_logps_backward(given, labels, [0.0], out, out=empty_like(given))
    assert (numbers(gradient) == 0).all()


def test_no_cap_is_0_or_none():
    given, _, labels = rows_of(np.random.default_rng(5).normal(0, 3, (5, 50)), "float32")
    expected = swiftdpo.sequence_logps(given, labels, softcap=None)
    assert results_equal(swiftdpo.sequence_logps(given, labels, softcap=0.0), expected)


# Infinities, NaN, flags


@pytest.mark.parametrize("softcap", CAPS)
@pytest.mark.parametrize("dtype", TYPES)
def test_masked_entries(dtype, softcap):
    """Whatever the cap, -inf has probability 0: rows are those without the entry."""
    rng = np.random.default_rng(6)
    logits = rng.normal(0, 5, (10, 70))
    masked = logits.copy()
    masked[:, ::3] = -INF
    kept = np.arange(70) % 3 != 0
    given, _, labels = rows_of(masked, dtype, [1] * 10)
    short, exact, short_labels = rows_of(np.ascontiguousarray(logits[:, kept]), dtype)
    rows = exact_rows(exact, short_labels, shift=False, softcap=softcap)
    out = swiftdpo.sequence_logps(given, labels, shift=False, softcap=softcap)
    np.testing.assert_allclose(out.token_logps[0], rows.token_logps, rtol=1e-14, atol=1e-6)
    gradient = numbers(swiftdpo.sequence_logps_backward(given, labels, [2.0], out, out=empty_like(given)))
    expected = swiftdpo.sequence_logps_backward(
        short, short_labels, [2.0], shift=False, softcap=softcap, out=empty_like(short)
    )
    assert not gradient[0][:, ~kept].any()
    np.testing.assert_allclose(gradient[0][:, kept], numbers(expected)[0], rtol=0.01, atol=1e-6)


@pytest.mark.parametrize("softcap", CAPS)
@pytest.mark.parametrize("dtype", TYPES)
def test_an_impossible_label(dtype, softcap):
    logits = np.zeros((3, 40))
    logits[1, 5] = -INF
    given, _, labels = rows_of(logits, dtype, [5, 5, 5])
    out = swiftdpo.sequence_logps(given, labels, shift=False, softcap=softcap)
    assert out.row_flags.tolist() == [[RowFlag.SOUND, RowFlag.IMPOSSIBLE, RowFlag.SOUND]]
    assert out.token_logps[0, 1] == out.logps[0] == -INF
    assert np.isfinite(out.token_logps[0, [0, 2]]).all() and np.isfinite(out.log_normalizers).all()
    gradient = numbers(swiftdpo.sequence_logps_backward(given, labels, [2.0], out, out=empty_like(given)))
    # The gradient by the capped logit is 2, and the cap is flat at infinity.
    assert gradient[0, 1, 5] == (2 if softcap is None else 0)
    np.testing.assert_allclose(np.delete(gradient[0, 1], 5), -2 / 39, rtol=0.01)


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("softcap", CAPS)
@pytest.mark.parametrize("dtype", TYPES)
def test_the_first_bad_logit_is_named(dtype, softcap, value):
    for column in (0, 3, 15, 16, 39, 199):
        logits = np.zeros((6, 200))
        logits[4, column] = logits[4, 199] = logits[5, 0] = value
        logits[0] = NAN  # a row whose label does not count
        given, _, labels = rows_of(logits, dtype, [-100, 1, 2, 3, 3, 4])
        message = rf"^logits\[0, 4, {column}\]: values must be finite"
        for call, more in ((swiftdpo.sequence_logps, ()), (swiftdpo.vocab_shard, (0,))):
            with pytest.raises(ValueError, match=message):
                call(given, labels, *more, shift=False, softcap=softcap)
        before = bits(given)
        with pytest.raises(ValueError, match=message):
            swiftdpo.sequence_logps_backward(given, labels, [1.0], shift=False, softcap=softcap, out=given)
        assert bits(given) == before


@pytest.mark.parametrize("softcap", CAPS)
@pytest.mark.parametrize("dtype", TYPES)
def test_a_row_of_nothing_but_masked_entries_is_named(dtype, softcap):
    logits = np.zeros((3, 50))
    logits[1] = -INF
    given, _, labels = rows_of(logits, dtype)
    with pytest.raises(ValueError, match=r"^logits\[0, 1, 0\]: values must be finite"):
        swiftdpo.sequence_logps(given, labels, shift=False, softcap=softcap)


@pytest.mark.parametrize("bad", [NAN, INF, "masked"])
@pytest.mark.parametrize("softcap", CAPS)
@pytest.mark.parametrize("dtype", TYPES)
def test_bad_rows_may_propagate(dtype, softcap, bad):
    logits = np.random.default_rng(7).normal(size=(4, 50))
    logits[2, 30 if bad != "masked" else slice(None)] = -INF if bad == "masked" else bad
    given, _, labels = rows_of(logits, dtype)
    options = {"shift": False, "softcap": softcap, "nonfinite": "propagate", "by_products": True}
    out = swiftdpo.sequence_logps(given, labels, **options)
    assert out.row_flags.tolist() == [[0, 0, RowFlag.NONFINITE, 0]]
    assert not np.isfinite(out.token_logps[0, 2]) and not np.isfinite(out.logps[0])
    sound = [0, 1, 3]
    good = swiftdpo.sequence_logps(given[:, sound], labels[:, sound], **options)
    for field in ("token_logps", "log_normalizers", "entropies", "log_sum_squares", "mean_logits", "top_1"):
        assert results_equal(getattr(out, field)[:, sound], getattr(good, field)), field
    gradient = numbers(swiftdpo.sequence_logps_backward(given, labels, [1.0], out, out=empty_like(given)))
    assert np.isfinite(gradient[:, sound]).all()
