"""swiftdpo.jax: the bits of the NumPy calls, the gradients of plain formulas, and JAX's transformations."""

from __future__ import annotations

from typing import get_args

import jax
import jax.numpy as jnp
import jax_oracles
import numpy as np
import pytest
import swiftdpo
import swiftdpo.jax as sj
from swiftdpo.dpo import LossType
from swiftdpo.jax import _calls

B, K = 6, 5
ALL = get_args(LossType)


@pytest.fixture(params=["ffi", "callback"])
def implementation(request, monkeypatch):
    """Both ways to the library; tests that don't ask take the first."""
    if request.param == "callback":
        jax.clear_caches()
        monkeypatch.setattr(_calls, "_implementation", request.param)
    yield request.param
    if request.param == "callback":
        jax.clear_caches()


both = pytest.mark.usefixtures("implementation")


def test_xla_takes_the_handlers():
    assert sj.implementation() == "ffi"


def test_an_xla_that_refuses_them_is_named_and_called_back(monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("API version 0.1")

    monkeypatch.setattr(jax.ffi, "register_ffi_target", refuse)
    with pytest.warns(UserWarning, match="takes no handlers from swiftdpo.*API version 0.1"):
        assert _calls._register() == "callback"
    monkeypatch.setenv("SWIFTDPO_JAX", "callback")
    assert _calls._register() == "callback"


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(request.param)


def pairs(dtype, seed=0):
    """Four arrays of log-probabilities, and the other arrays that some losses look at."""
    rng = np.random.default_rng(seed)
    logps = [(-rng.uniform(1, 40, B)).astype(dtype) for _ in range(4)]
    others = {
        "chosen_lengths": rng.integers(3, 9, B).astype(np.int32),
        "rejected_lengths": rng.integers(3, 9, B).astype(np.int32),
        "ties": np.arange(B) % 3 == 1,
        "reward_gaps": rng.normal(size=B).astype(dtype),
        "sft_logps": (-rng.uniform(1, 40, B)).astype(dtype),
        "sft_lengths": rng.integers(3, 9, B).astype(np.int32),
    }
    return logps, others


def options_of(name):
    options = {"loss_type": name, "label_smoothing": 0.1 if name not in ("rao_kupper", "davidson") else 0.0}
    if name == "alphapo":
        options["alphapo_alpha"] = 1.0
    return options


def reference_free(name, logps):
    """ORPO's and AlphaPO's scores are of probabilities, so their log-ratios are log-probabilities."""
    if name in ("odds_ratio", "alphapo"):
        return [*logps[:2], None, None]
    return logps


def same(array, expected):
    """To the bit, the sign of zero included."""
    expected = np.asarray(expected, np.asarray(array).dtype)
    return np.asarray(array).tobytes() == expected.tobytes()


def differentiated(name, logps, others, dtype):
    """The loss as a function of everything that it can be differentiated by."""
    rng = np.random.default_rng(7)
    given = reference_free(name, logps)
    at = {
        "policy_chosen": given[0],
        "policy_rejected": given[1],
        "beta": rng.uniform(0.05, 0.5, B).astype(dtype),
        "margin": rng.normal(size=B).astype(dtype),
        "sft_logps": others["sft_logps"],
    }
    if given[2] is not None:
        at |= {"ref_chosen": given[2], "ref_rejected": given[3]}
    rest = {key: array for key, array in others.items() if key != "sft_logps"}

    def ours(x):
        return sj.dpo_loss(
            x["policy_chosen"],
            x["policy_rejected"],
            x.get("ref_chosen"),
            x.get("ref_rejected"),
            x["beta"],
            margin=x["margin"],
            sft_logps=x["sft_logps"],
            **rest,
            **options_of(name),
        ).loss

    return at, ours, rest


def assert_the_bits_of_the_numpy_call(name, value, gradient, at, rest):
    expected = swiftdpo.dpo_loss(
        at["policy_chosen"],
        at["policy_rejected"],
        at.get("ref_chosen"),
        at.get("ref_rejected"),
        at["beta"],
        margin=at["margin"],
        sft_logps=at["sft_logps"],
        **rest,
        **options_of(name),
        more=True,
    )
    assert value.dtype == at["policy_chosen"].dtype and same(value, expected.loss)
    assert same(gradient["policy_chosen"], expected.grad_policy_chosen_logps)
    assert same(gradient["policy_rejected"], expected.grad_policy_rejected_logps)
    assert same(gradient["beta"], expected.grad_beta)
    assert same(gradient["margin"], expected.grad_margin)
    assert same(gradient["sft_logps"], expected.grad_sft_logps)
    if "ref_chosen" in at:
        assert same(gradient["ref_chosen"], expected.grad_ref_chosen_logps)
        assert same(gradient["ref_rejected"], expected.grad_ref_rejected_logps)


@pytest.mark.parametrize("name", ALL)
def test_pairs_in_single_precision(name):
    logps, others = pairs(np.float32)
    at, ours, rest = differentiated(name, logps, others, np.float32)
    assert_the_bits_of_the_numpy_call(name, *jax.value_and_grad(ours)(at), at, rest)


@pytest.mark.parametrize("name", ALL)
def test_pairs_in_double_precision_have_the_gradients_of_plain_formulas(name):
    with jax.enable_x64(True):
        logps, others = pairs(np.float64)
        at, ours, rest = differentiated(name, logps, others, np.float64)
        zeros = {"ref_chosen": np.zeros(B), "ref_rejected": np.zeros(B)}

        def plain(x):
            x = zeros | x
            numbers = (x["policy_chosen"], x["policy_rejected"], x["ref_chosen"], x["ref_rejected"])
            smoothing = options_of(name)["label_smoothing"]
            others = rest | {"sft_logps": x["sft_logps"]}
            return jax_oracles.dpo(name, *numbers, x["beta"], x["margin"], smoothing, others)

        value, gradient = jax.jit(jax.value_and_grad(ours))(at)
        assert_the_bits_of_the_numpy_call(name, value, gradient, at, rest)
        expected, by_autodiff = jax.value_and_grad(plain)(at)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        for key in at:
            np.testing.assert_allclose(gradient[key], by_autodiff[key], rtol=1e-10, atol=1e-15, err_msg=key)


@both
def test_a_mixture_with_an_f_divergence(dtype):
    logps, _ = pairs(dtype)
    options = {
        "loss_type": ["sigmoid", "hinge"],
        "loss_weights": [1.0, 0.25],
        "f_divergence_type": "alpha_divergence",
        "f_alpha_divergence_coef": 0.7,
        "reduction": "sum",
    }
    out = sj.dpo_loss(*logps, 0.3, **options)
    expected = swiftdpo.dpo_loss(*logps, 0.3, **options)
    assert same(out.loss, expected.loss)
    assert same(out.chosen_rewards, expected.chosen_rewards)
    assert same(out.rejected_rewards, expected.rejected_rewards)


@both
def test_each_pair_has_its_cotangent(dtype):
    logps, _ = pairs(dtype)
    cotangents = np.linspace(-1, 2, B).astype(dtype)
    losses, pull = jax.vjp(lambda *x: sj.dpo_loss(*x, reduction="none").loss, *logps)
    expected = swiftdpo.dpo_loss(*logps, reduction="none")
    assert same(losses, expected.losses)
    assert same(pull(cotangents)[0], cotangents * expected.grad_policy_chosen_logps)


def test_losses_that_couple_pairs_have_no_gradient_of_each():
    logps, _ = pairs(np.float32)
    unreduced = {"loss_type": "aot_unpaired", "reduction": "none"}
    assert sj.dpo_loss(*logps, **unreduced).loss.shape == (B,)
    with pytest.raises(ValueError, match="couples rows"):
        jax.grad(lambda x: sj.dpo_loss(x, *logps[1:], **unreduced).loss.sum())(logps[0])


@both
def test_vmap_over_batches_and_over_pairs(dtype):
    logps, _ = pairs(dtype)
    batches = [np.stack([x, x + 1, 2 * x]) for x in logps]

    def gradient(*x):
        return jax.grad(lambda *y: sj.dpo_loss(*y).loss, argnums=(0, 3))(*x)

    together = jax.jit(jax.vmap(gradient))(*batches)
    one_by_one = [gradient(*(x[i] for x in batches)) for i in range(3)]
    for ours, expected in zip(together, zip(*one_by_one, strict=True), strict=True):
        assert same(ours, np.stack(expected))
    shared = jax.vmap(lambda x: sj.dpo_loss(x, *logps[1:]).loss)(batches[0])
    assert same(shared, [swiftdpo.dpo_loss(x, *logps[1:]).loss for x in batches[0]])
    assert same(jax.vmap(lambda *x: sj.dpo_loss(*x).loss)(*logps), swiftdpo.dpo_loss(*logps).losses)


@both
def test_inside_scan_and_checkpoint():
    """A training loop that is one program: the loss falls at every step."""
    logps, _ = pairs(np.float32)

    def loss(policy):
        return sj.dpo_loss(*policy, *logps[2:]).loss

    def step(policy, _):
        value, gradient = jax.value_and_grad(jax.checkpoint(loss))(policy)
        return jax.tree.map(lambda x, g: x - 10 * g, policy, gradient), value

    _, values = jax.jit(lambda policy: jax.lax.scan(step, policy, length=8))(tuple(logps[:2]))
    assert np.all(np.diff(values) < 0)


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("cpo_loss", {"cpo_alpha": 0.5, "loss_type": "hinge"}),
        ("simpo_loss", {"gamma": 0.3, "sft_weight": 0.1}),
        ("alphapo_loss", {"alpha": 0.5}),
        ("orpo_loss", {"beta": 0.2}),
        ("slic_loss", {"margin": 0.5, "sft_weight": 0.1}),
        ("tpo_loss", {"loss_type": "tpo-l"}),
    ],
)
def test_losses_without_a_reference(name, arguments, dtype):
    (chosen, rejected, gold, _), others = pairs(dtype)
    arguments = arguments | {"chosen_lengths": others["chosen_lengths"]}
    if name != "slic_loss":
        arguments["rejected_lengths"] = others["rejected_lengths"]
    if name == "tpo_loss":
        arguments |= {"gold_logps": gold, "gold_lengths": others["sft_lengths"]}
    value, gradient = jax.value_and_grad(lambda x: getattr(sj, name)(x, rejected, **arguments).loss)(chosen)
    expected = getattr(swiftdpo, name)(chosen, rejected, **arguments)
    assert same(value, expected.loss) and same(gradient, expected.grad_policy_chosen_logps)


def rankings(dtype):
    rng = np.random.default_rng(3)
    logps, ref = ((-rng.uniform(1, 40, (B, K))).astype(dtype) for _ in range(2))
    order = np.argsort(rng.normal(size=(B, K)), axis=1).astype(np.int32)
    return logps, ref, order


@both
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rankings": rankings(np.float32)[2]},
        {"ranks": np.array([[1, 2, 2, 4, 0]] * B, np.int32)},
        {"ranks": np.array([[1, 1, 2, 3, 3]] * B, np.int32), "ties": "efron"},
        {"rankings": rankings(np.float32)[2], "top": 2, "first_choice": "worst", "reduction": "sum"},
        {"rankings": np.array([[2, 0, -1, -1, -1]] * B, np.int32), "unlisted": "absent", "reduction": "none"},
    ],
    ids=lambda options: "-".join(options) or "best first",
)
def test_rankings_have_the_bits_of_the_numpy_call(options, dtype):
    logps, ref, _ = rankings(dtype)
    out, pull = jax.vjp(lambda x, y: sj.plackett_luce_loss(x, y, 0.2, **options), logps, ref)
    expected = swiftdpo.plackett_luce_loss(logps, ref, 0.2, **options)
    assert same(out.loss, expected.loss) and same(out.rewards, expected.rewards)
    by_policy, by_ref = pull(sj.PlackettLuceLoss(jnp.ones_like(out.loss), jnp.ones_like(out.rewards)))
    assert same(by_policy, expected.grad_policy_logps)
    assert same(by_ref, -expected.grad_policy_logps)


@both
def test_davidson_ties_and_places(dtype):
    logps, ref, _ = rankings(dtype)
    ties = {
        "ranks": np.array([[1, 1, 2, 3, 3]] * B, np.int32),
        "ties": "davidson",
        "tie_strengths": np.array([0.5], dtype),
    }
    assert same(
        sj.plackett_luce_loss(logps, ref, **ties).loss, swiftdpo.plackett_luce_loss(logps, ref, **ties).loss
    )
    places = {"position_weights": np.linspace(1, 0, K).astype(dtype), "weights": np.arange(B).astype(dtype)}
    assert same(
        sj.plackett_luce_loss(logps, ref, **places).loss,
        swiftdpo.plackett_luce_loss(logps, ref, **places).loss,
    )


@both
def test_ragged_rankings(dtype):
    logps = (-np.random.default_rng(5).uniform(1, 40, 9)).astype(dtype)
    offsets, cotangents = np.array([0, 2, 6, 9], np.int32), np.array([1, -2, 3], dtype)
    losses, pull = jax.vjp(lambda x: sj.plackett_luce_loss(x, offsets=offsets, reduction="none").loss, logps)
    expected = swiftdpo.plackett_luce_loss(logps, offsets=offsets, reduction="none")
    assert same(losses, expected.losses)
    assert same(pull(cotangents)[0], np.repeat(cotangents, np.diff(offsets)) * expected.grad_policy_logps)


def test_gradients_by_rankings_are_those_of_a_plain_formula():
    with jax.enable_x64(True):
        logps, ref, order = rankings(np.float64)
        ours = jax.jit(jax.grad(lambda x, y: sj.plackett_luce_loss(x, y, 0.2, order).loss, argnums=(0, 1)))
        plain = jax.grad(lambda x, y: jax_oracles.plackett_luce(0.2 * (x - y), order).mean(), argnums=(0, 1))
        for gradient, expected in zip(ours(logps, ref), plain(logps, ref), strict=True):
            np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)
        single = jax.vmap(lambda x, order: sj.plackett_luce_loss(x, rankings=order).loss)(logps, order)
        assert same(single, swiftdpo.plackett_luce_loss(logps, rankings=order).losses)


@both
@pytest.mark.parametrize("name", ["kto", "apo_zero_unpaired", "bco"])
def test_single_responses(name, dtype):
    (policy, ref, *_), _ = pairs(dtype)
    desirable = np.arange(B) % 2 == 0
    options = {"desirable_weight": 1.3, "weights": np.linspace(0, 1, B).astype(dtype)}

    def ours(policy, ref, beta):
        if name == "bco":
            return sj.bco_loss(policy, ref, desirable, beta, delta=0.1, **options).loss
        return sj.kto_loss(policy, ref, desirable, beta, kl=0.1, loss_type=name, **options).loss

    beta = np.full(B, 0.2, dtype)
    value, gradients = jax.value_and_grad(ours, argnums=(0, 1, 2))(policy, ref, beta)
    if name == "bco":
        expected = swiftdpo.bco_loss(policy, ref, desirable, beta, delta=0.1, **options)
    else:
        expected = swiftdpo.kto_loss(policy, ref, desirable, beta, kl=0.1, loss_type=name, **options)
    assert same(value, expected.loss)
    assert same(gradients[0], expected.grad_policy_logps)
    assert same(gradients[1], -expected.grad_policy_logps)
    assert same(gradients[2], expected.grad_beta)


def test_a_baseline_that_is_traced():
    with jax.enable_x64(True):
        (policy, ref, *_), _ = pairs(np.float64)
        desirable = np.arange(B) % 2 == 0

        def ours(policy):
            kl = jnp.maximum(0, (policy - ref).mean())
            return sj.kto_loss(policy, ref, desirable, kl=kl).loss

        def plain(policy):
            kl = jax.lax.stop_gradient(jnp.maximum(0, (policy - ref).mean()))
            return jax_oracles.kto(policy, ref, desirable, 0.1, kl)

        np.testing.assert_allclose(jax.jit(jax.grad(ours))(policy), jax.grad(plain)(policy), rtol=1e-12)
        bco = jax.grad(lambda x: sj.bco_loss(x, ref, desirable, delta=jnp.float64(0.3)).loss)(policy)
        expected = jax.grad(lambda x: jax_oracles.bco(x, ref, desirable, 0.1, 0.3))(policy)
        np.testing.assert_allclose(bco, expected, rtol=1e-12)


def logits_batch(dtype, seed=0):
    rng = np.random.default_rng(seed)
    logits = jnp.asarray(rng.normal(0, 4, (3, 7, 33)), dtype)
    labels = rng.integers(0, 33, (3, 7)).astype(np.int32)
    labels[0, :3] = labels[2] = -100
    return logits, labels


@both
@pytest.mark.parametrize("element", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shift": False, "average": True, "temperature": 0.7, "softcap": 20.0},
        {"mask": np.arange(21).reshape(3, 7) % 4 > 0, "token_weights": np.linspace(0, 2, 21).reshape(3, 7)},
        {"ld_lengths": np.array([2, 3, 0], np.int32), "ld_alpha": 0.3},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_logps_have_the_bits_of_the_numpy_call(element, options):
    with jax.enable_x64(element == "float64"):
        logits, labels = logits_batch(element)
        options = {
            key: value.astype(np.float32) if key == "token_weights" else value
            for key, value in options.items()
        }
        out, pull = jax.vjp(lambda x: sj.sequence_logps(x, labels, **options).logps, logits)
        cotangents = np.array([1.5, -0.25, 3.0], out.dtype)
        expected = swiftdpo.sequence_logps(np.asarray(logits), labels, **options)
        backward = swiftdpo.sequence_logps_backward(np.asarray(logits), labels, cotangents, expected)
        assert same(out, expected.logps)
        assert same(pull(cotangents)[0], backward)
        results = sj.sequence_logps(logits, labels, **options)
        assert same(results.num_tokens, expected.num_tokens)
        assert same(results.token_logps, expected.token_logps)


@both
def test_packed_logps(dtype):
    logits, labels = logits_batch(dtype)
    logits, labels, offsets = logits.reshape(-1, 33), labels.ravel(), np.array([0, 5, 5, 21])
    out, pull = jax.vjp(lambda x: sj.sequence_logps(x, labels, offsets=offsets).logps, logits)
    expected = swiftdpo.sequence_logps(np.asarray(logits), labels, offsets=offsets)
    assert same(out, expected.logps)
    cotangents = np.ones(3, out.dtype)
    backward = swiftdpo.sequence_logps_backward(np.asarray(logits), labels, cotangents, expected)
    assert same(pull(cotangents)[0], backward)


@both
def test_gradients_by_logits_are_those_of_a_plain_formula():
    """Through a whole step: logits, log-probabilities of pairs, loss; two such steps side by side."""
    with jax.enable_x64(True):
        first, labels = logits_batch(np.float64)
        logits = jnp.stack([first, first[::-1] / 2])
        ref = np.array([-50.0, -60.0, -1.0])

        def step(logps_of):
            def loss(logits):
                logps = logps_of(logits, labels)
                return sj.dpo_loss(logps, logps[::-1], ref, ref[::-1]).loss

            return jax.jit(jax.vmap(jax.grad(loss)))(logits)

        ours = step(lambda logits, labels: sj.sequence_logps(logits, labels).logps)
        np.testing.assert_allclose(ours, step(jax_oracles.sequence_logps), rtol=1e-10, atol=1e-16)


@both
def test_what_is_not_finite_goes_through_unless_it_is_an_error():
    logps, _ = pairs(np.float32)
    logps[1][2] = np.nan
    losses = sj.dpo_loss(*logps, reduction="none").loss
    assert np.isnan(losses).tolist() == [False, False, True, False, False, False]
    with pytest.raises(Exception, match=r"policy_rejected_logps\[2\]: .*NaN"):
        jax.block_until_ready(sj.dpo_loss(*logps, nonfinite="error").loss)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"beta": -1.0}, ValueError, "beta"),
        ({"loss_type": "dpo"}, ValueError, "loss_type is 'dpo'"),
        ({"label_smoothing": 0.5}, ValueError, "label_smoothing"),
        ({"reduction": "total"}, ValueError, "reduction"),
        ({"loss_type": "rao_kupper", "tie_strength": 0.5}, ValueError, "tie_strength"),
        ({"beta": np.ones(3, np.float32)}, ValueError, "beta has shape"),
        ({"weights": np.ones(B, np.float16)}, TypeError, "weights has dtype float16"),
        ({"chosen_lengths": np.ones(B, np.float32)}, TypeError, "chosen_lengths has dtype float32"),
        ({"ties": np.ones(B, np.int32)}, TypeError, "ties has dtype int32; expected bool"),
    ],
)
def test_bad_arguments_are_refused_while_tracing(arguments, error, message):
    logps, _ = pairs(np.float32)
    with pytest.raises(error, match=message):
        jax.eval_shape(lambda *x: sj.dpo_loss(*x, **arguments), *logps)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: sj.dpo_loss(np.zeros((2, 2), np.float32), *[np.zeros(2, np.float32)] * 3),
            "has 2 dimensions",
        ),
        (lambda: sj.dpo_loss(*[np.zeros(2, np.float32)] * 3, None), "go together"),
        (lambda: sj.plackett_luce_loss(np.zeros((2, 3), np.float32), top=-1), "top"),
        (lambda: sj.plackett_luce_loss(np.zeros(3, np.float32), offsets=np.zeros(0, np.int32)), "offsets"),
        (lambda: sj.kto_loss(*[np.zeros(2, np.float32)] * 2, np.ones(2, bool), loss_type="bco"), "loss_type"),
        (lambda: sj.sequence_logps(np.zeros((2, 3), np.float32), np.zeros(2, np.int32)), "has 2 dimensions"),
        (
            lambda: sj.sequence_logps(np.zeros((1, 2, 3), np.float32), np.zeros((1, 3), np.int32)),
            "labels has shape",
        ),
        (
            lambda: sj.sequence_logps(
                np.zeros((1, 2, 3), np.float32), np.zeros((1, 2), np.int32), temperature=-1
            ),
            "temperature",
        ),
    ],
)
def test_bad_shapes_and_choices_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_derivatives_that_there_are_not_are_refused():
    logps, _ = pairs(np.float32)

    def loss(x):
        return sj.dpo_loss(x, *logps[1:]).loss

    with pytest.raises(Exception, match="differentiate"):
        jax.grad(lambda x: jax.grad(loss)(x).sum())(logps[0])
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(loss, (logps[0],), (logps[0],))
    with pytest.raises(ValueError, match="weights is differentiated"):
        jax.grad(lambda w: sj.dpo_loss(*logps, weights=w).loss)(logps[0] * 0)


@both
def test_labels_outside_the_vocabulary_are_an_error_and_no_crash():
    logits, labels = logits_batch(np.float32)
    labels[1, 4] = 33
    with pytest.raises(Exception, match=r"labels.*\[(11|1, 4)\]"):
        jax.block_until_ready(sj.sequence_logps(logits, labels).logps)


def test_cpus_call_the_library_and_other_devices_the_host():
    logps, _ = pairs(np.float32)
    program = str(jax.make_jaxpr(lambda *x: sj.dpo_loss(*x).loss)(*logps))
    assert "branches_platforms=(('cpu',), None)" in program
    first, second = program.index("ffi_call["), program.index("pure_callback[")
    assert first < second


def test_the_gradient_takes_the_memory_of_the_logits():
    logits, labels = logits_batch(np.float32)
    gradient = jax.jit(jax.grad(lambda x: sj.sequence_logps(x, labels).logps.sum()), donate_argnums=0)
    where = logits.unsafe_buffer_pointer()
    assert gradient(logits).unsafe_buffer_pointer() == where


@pytest.mark.parametrize(
    "inputs, outputs, arrays, attributes, message",
    [
        ("policy_chosen_logps", "losses", [4], {}, "a required pointer is NULL"),
        ("policy_rejected_logps", "losses", [4], {}, "a required input is missing"),
        (
            "policy_chosen_logps,policy_rejected_logps",
            "losses",
            [4, 3],
            {},
            "policy_rejected_logps has the wrong",
        ),
        ("policy_chosen_logps,policy_rejected_logps", "losses", [3, 3], {}, "losses has the wrong"),
        ("policy_chosen_logps,nonsense", "losses", [4, 4], {}, "not what their names say"),
        ("policy_chosen_logps", "losses", [4, 4], {}, "not what their names say"),
        (
            "policy_chosen_logps,policy_rejected_logps",
            "losses",
            [4, 4],
            {"beta": np.float32(1)},
            "wrong type",
        ),
        ("policy_chosen_logps,policy_rejected_logps", "losses", [4, 4], {"gamma": np.float64(1)}, "unknown"),
        (
            "policy_chosen_logps,policy_rejected_logps",
            "losses",
            [4, 4],
            {"loss_types": np.array([0, 1], np.int32), "loss_weights": np.array([1.0])},
            "differ in length",
        ),
    ],
)
def test_a_handler_trusts_no_frame(inputs, outputs, arrays, attributes, message):
    result = jax.ShapeDtypeStruct((4,), jnp.float32)
    call = jax.ffi.ffi_call("swiftdpo_dpo_loss", result)
    arguments = [np.zeros(size, np.float32) for size in arrays]
    with pytest.raises(Exception, match=message):
        jax.block_until_ready(call(*arguments, inputs=inputs, outputs=outputs, **attributes))
