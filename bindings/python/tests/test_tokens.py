"""wpo_weights and humanline_clamp by their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import swiftdpo


def tokens(seed):
    return np.random.default_rng(seed).uniform(-8, 0, (5, 9)) * (
        np.arange(9) < np.array([[9], [4], [1], [0], [7]])
    )


COUNTS = np.array([9, 4, 1, 0, 7])


def test_wpo_weights():
    logps, squares = tokens(1), tokens(2)
    expected = np.exp((logps - squares).sum(axis=1) / np.maximum(COUNTS, 1))
    np.testing.assert_allclose(swiftdpo.wpo_weights(logps, COUNTS, squares), expected, rtol=1e-14)
    np.testing.assert_allclose(
        swiftdpo.wpo_weights(logps, COUNTS), np.exp(logps.sum(axis=1) / np.maximum(COUNTS, 1))
    )
    assert swiftdpo.wpo_weights(logps, COUNTS, squares).max() > 1  # as published: not clamped


def test_wpo_weights_from_logits():
    """The collision term by its definition, from a policy's logits."""
    logits = np.random.default_rng(3).normal(size=(2, 4, 6)).astype(np.float32)
    labels = np.array([[1, 2, -100, 5], [0, -100, -100, 3]])
    p = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(axis=-1, keepdims=True)
    squares = np.where(labels >= 0, np.log((p**2).sum(axis=-1)), 0.0)
    logps = np.where(
        labels >= 0, np.log(np.take_along_axis(p, np.maximum(labels, 0)[..., None], -1)[..., 0]), 0.0
    )
    counts = (labels >= 0).sum(axis=1)
    expected = np.exp((logps - squares).sum(axis=1) / counts)
    np.testing.assert_allclose(swiftdpo.wpo_weights(logps, counts, squares), expected, rtol=1e-12)


def test_humanline_clamp():
    policy, reference = tokens(4), tokens(5)
    out = swiftdpo.humanline_clamp(policy, reference, -1.5, 2.0)
    ratios = policy - reference
    np.testing.assert_allclose(out.log_ratios, np.clip(ratios, -1.5, 2.0).sum(axis=1), rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(out.passes, (ratios >= -1.5) & (ratios <= 2.0))


def test_bad_input():
    logps = tokens(1)
    for call, message in [
        (lambda: swiftdpo.wpo_weights(logps[0], [9]), "2"),
        (lambda: swiftdpo.wpo_weights(logps, COUNTS[:4]), "num_tokens has shape"),
        (lambda: swiftdpo.wpo_weights(logps, -COUNTS), r"num_tokens\[0\]"),
        (lambda: swiftdpo.wpo_weights(logps * np.nan, COUNTS), r"token_logps\[0, 0\]"),
        (lambda: swiftdpo.humanline_clamp(logps, logps, 0.5, 1.0), "low"),
        (lambda: swiftdpo.humanline_clamp(logps, logps, -1.0, np.inf), "high"),
        (lambda: swiftdpo.humanline_clamp(logps, logps[:2], -1.0, 1.0), "ref_token_logps has shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
