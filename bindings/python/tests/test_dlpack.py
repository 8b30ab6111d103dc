"""Tensors through DLPack: read and written where they lie, or refused by name."""

import sys
import weakref

import numpy as np
import pytest
import swiftdpo
import torch
from calls import arguments, call, results_equal
from dlpack_capsules import BFLOAT, CPU, CUDA, CUDA_HOST, READ_ONLY, Exporter


def logps():
    return arguments("dpo_loss")["policy_chosen_logps"]


def loss_of(exporter):
    return call("dpo_loss", policy_chosen_logps=exporter)


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("device", [CPU, CUDA_HOST])
def test_old_and_new_exports_from_memory_that_the_cpu_reads(versioned, device):
    exporter = Exporter(logps(), versioned=versioned, device=device)
    assert results_equal(loss_of(exporter), call("dpo_loss"))
    assert exporter.exports == 1


def test_compact_tensors_may_have_no_strides():
    assert results_equal(loss_of(Exporter(logps(), strides=None)), call("dpo_loss"))


def test_the_byte_offset_counts():
    padded = np.concatenate([[np.nan, np.nan], logps()])
    exporter = Exporter(padded, shape=logps().shape, byte_offset=16)
    assert results_equal(loss_of(exporter), call("dpo_loss"))


def test_an_empty_tensor_may_have_no_data():
    empty = Exporter(np.empty(0), data=None)
    assert swiftdpo.dpo_loss(empty, empty, empty, empty).loss == 0.0


def test_minor_versions_to_come_are_read():
    assert results_equal(loss_of(Exporter(logps(), version=(1, 99))), call("dpo_loss"))


@pytest.mark.parametrize(
    ("exporter", "error", "message"),
    [
        (Exporter(logps(), device=CUDA), TypeError, "on a device .*not in CPU memory"),
        (Exporter(logps(), version=(2, 0)), ValueError, r"DLPack 2\.0"),
        (Exporter(logps(), name=b"used_dltensor_versioned"), ValueError, "PyCapsule"),
        (Exporter(logps(), code=BFLOAT, bits=16), TypeError, "bfloat16"),
        (Exporter(logps(), bits=128), TypeError, "128 bits"),
        (Exporter(logps(), data=None), ValueError, "no data"),
        (Exporter(logps(), lanes=4), TypeError, "4 lanes"),
        (Exporter(logps(), ndim=-1), ValueError, "-1 dimensions"),
        (Exporter(logps(), ndim=9), ValueError, "9 dimensions"),
        (Exporter(logps(), shape=[-3]), ValueError, "negative"),
        (Exporter(logps(), ndim=3, shape=[2**40, 2**40, 4], strides=None), ValueError, "big|allowed"),
        (torch.zeros(3, requires_grad=True), ValueError, "detach"),
        (torch.zeros(3, dtype=torch.bfloat16), TypeError, "bfloat16"),
        (torch.zeros(3, dtype=torch.complex64), TypeError, "element type"),
        (torch.zeros(3, dtype=torch.int64), TypeError, "int64; expected float32 or float64"),
        (torch.zeros(3).to_sparse(), ValueError, "layout"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(exporter, error, message):
    with pytest.raises(error, match=f"^policy_chosen_logps.*{message}"):
        loss_of(exporter)


@pytest.mark.parametrize("device", [None, 1, ("cpu", 0), (2**70, 0)])
def test_nonsense_for_a_device_is_refused(device):
    exporter = Exporter(logps())
    exporter.__class__ = type("Liar", (Exporter,), {"__dlpack_device__": lambda self: device})
    with pytest.raises((TypeError, ValueError), match=r"^policy_chosen_logps: ") as refusal:
        loss_of(exporter)
    assert refusal.value.__cause__ is not None


def test_the_gradient_is_written_into_a_tensor():
    given = arguments("sequence_logps_backward")
    logits = torch.from_numpy(given["logits"].copy())
    assert call("sequence_logps_backward", logits=logits, out=logits) is logits
    assert results_equal(logits.numpy(), call("sequence_logps_backward"))


@pytest.mark.parametrize("fields", [{"flags": READ_ONLY}, {"versioned": False}])
def test_tensors_that_may_not_be_written_are_refused(fields):
    """An export older than DLPack 1.0 cannot say that it is read-only."""
    out = Exporter(np.zeros_like(arguments("sequence_logps")["logits"]), **fields)
    with pytest.raises(ValueError, match=r"^out is read-only"):
        call("sequence_logps_backward", out=out)
    assert not out.values.any()


@pytest.mark.parametrize("succeeds", [True, False])
def test_nothing_of_a_tensor_is_kept(succeeds):
    values = logps() if succeeds else np.full(3, np.nan)
    exporter = type("Tensor", (), {})
    exporter.__dlpack__ = lambda self, **options: self.values.__dlpack__(**options)
    exporter.__dlpack_device__ = lambda self: self.values.__dlpack_device__()
    tensor = exporter()
    tensor.values = values
    before = sys.getrefcount(values)
    if succeeds:
        loss_of(tensor)
    else:
        with pytest.raises(ValueError, match="policy_chosen_logps"):
            loss_of(tensor)
    assert sys.getrefcount(values) == before
    gone = weakref.ref(tensor)
    del tensor
    assert gone() is None
