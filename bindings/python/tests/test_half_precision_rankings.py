"""Scores of half precision: read exactly, with the results of the same numbers in float32."""

import ml_dtypes
import numpy as np
import pytest
import swiftdpo
import torch

RANKS = np.array([[1, 1, 2, 0, 3, 4, -1]] * 5)


def some_halves(dtype):
    rng = np.random.default_rng(0)
    return rng.normal(-40, 8, (2, 5, 7)).astype(dtype), rng.uniform(0.1, 2, 5).astype(dtype)


def same(out, expected):
    for actual, value in zip(out, expected, strict=True):
        np.testing.assert_array_equal(actual, value)
        assert value is None or np.isscalar(value) or actual.dtype == value.dtype


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("options", [dict(), dict(ranks=RANKS, ties="efron"), dict(top=2)])
def test_arrays(dtype, options):
    (policy, ref), betas = some_halves(dtype)
    single = [values.astype(np.float32) for values in (policy, ref, betas)]
    same(
        swiftdpo.plackett_luce_loss(policy, ref, betas, **options),
        swiftdpo.plackett_luce_loss(*single, **options),
    )
    # Every second column: no array of its own.
    same(
        swiftdpo.plackett_luce_loss(policy[:, ::2], ref[:, ::2], 0.5),
        swiftdpo.plackett_luce_loss(single[0][:, ::2], single[1][:, ::2], 0.5),
    )
    product = swiftdpo.plackett_luce_hessian_product(ref, policy, beta=1.0)
    np.testing.assert_array_equal(
        product, swiftdpo.plackett_luce_hessian_product(single[1], single[0], beta=1.0)
    )
    targets = np.full((5, 7), 0.125, dtype)
    targets[:, 0] = 0.25
    same(
        swiftdpo.listwise_loss(policy, ref, targets),
        swiftdpo.listwise_loss(single[0], single[1], targets.astype(np.float32)),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tensors(dtype):
    policy = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    same(swiftdpo.plackett_luce_loss(policy), swiftdpo.plackett_luce_loss(policy.float()))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_one_dtype_in_a_call(dtype):
    """Messages name the type that was given; the first argument that is wrong is the one that is named."""
    half = np.zeros((2, 3), dtype)
    with pytest.raises(TypeError, match=f"^ref_logps is float64 but policy_logps is {half.dtype}: "):
        swiftdpo.plackett_luce_loss(half, np.zeros((2, 3)), beta="much")
    with pytest.raises(TypeError, match=f"^weights is {half.dtype} but policy_logps is float64: "):
        swiftdpo.plackett_luce_loss(np.zeros((2, 3)), weights=np.ones(2, dtype))
    with pytest.raises(TypeError, match=r"^policy_logps has dtype int64; expected float32, .* or bfloat16$"):
        swiftdpo.plackett_luce_loss(np.zeros((2, 3), np.int64), half, beta="much")
