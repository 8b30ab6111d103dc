"""Tensors as the library takes them: arrays over their own memory, in one precision, on the host."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Number: TypeAlias = float | Tensor
"""One number, or a tensor of them that may collect a gradient."""

_DOUBLE, _SINGLE = torch.float64, torch.float32


def lend(tensor: Tensor | None) -> npt.NDArray[Any] | None:
    """An array over a host tensor's memory: nothing is copied."""
    if tensor is None:
        return None
    return tensor.detach().numpy() if tensor.requires_grad else tensor.numpy()


def lend_mask(tensor: Tensor | None, name: str) -> npt.NDArray[Any] | None:
    """As `lend`, for booleans, as the extension takes them."""
    if tensor is None:
        return None
    if tensor.dtype is not torch.bool:
        raise TypeError(f"{name} has dtype {tensor.dtype}; expected torch.bool")
    return tensor.view(torch.uint8).numpy()


def number_or_array(tensor: Tensor | None, number: float | None) -> Any:
    """What is one for the batch, or one for each, as the extension takes it."""
    if tensor is None:
        return number
    return tensor.item() if tensor.ndim == 0 else lend(tensor)


def loss_tensor(results: tuple[Any, ...]) -> Tensor:
    """The loss, with which a head's results begin, in the type of its losses, which come next."""
    loss = results[0]
    return torch.from_numpy(loss if type(loss) is np.ndarray else np.array(loss, results[1].dtype))


def tensor_or_none(value: Number | None) -> Tensor | None:
    """The value if it is a tensor."""
    return value if isinstance(value, Tensor) else None


def require_tensor(value: object, name: str) -> Tensor:
    """The value, which has to be a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is a {type(value).__name__}; expected a tensor")
    return value


def refuse_gradient(value: Tensor | None, name: str) -> None:
    """Raises if a gradient is expected that the library does not have."""
    if value is not None and value.requires_grad and torch.is_grad_enabled():
        raise ValueError(f"{name} requires a gradient, and the loss has none by it: detach it")


def common_dtype(tensors: Sequence[Tensor | None]) -> torch.dtype:
    """The precision of a call: that of its log-probabilities; float32 for those of 16 bits."""
    dtype = _SINGLE
    for tensor in tensors:
        if tensor is None:
            continue
        if not tensor.dtype.is_floating_point:
            raise TypeError(f"expected log-probabilities as floating-point numbers, not as {tensor.dtype}")
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def is_plain(tensors: Sequence[Tensor | None]) -> bool:
    """Whether tensors can be lent as they are: on the host, of one type that the library computes with."""
    dtype = None
    for tensor in tensors:
        if tensor is None:
            continue
        if dtype is None:
            dtype = tensor.dtype
            if dtype is not _SINGLE and dtype is not _DOUBLE:
                return False
        if tensor.dtype is not dtype or not tensor.is_cpu:
            return False
    return True


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """The one place where data goes from a device to another."""
    return tensor.to(device)


def to_host(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Tensors of any devices and types on the host, in one transfer from each device; differentiable.

    They travel as double, which holds float32 and counts of tokens exactly, or as float32 from devices that
    have no double.
    """
    on_host = list(tensors)
    devices = {tensor.device for tensor in tensors if tensor is not None and tensor.device.type != "cpu"}
    for device in devices:
        places = [i for i, tensor in enumerate(tensors) if tensor is not None and tensor.device == device]
        flat = [tensor for tensor in tensors if tensor is not None and tensor.device == device]
        dtype = _SINGLE if device.type == "mps" else _DOUBLE
        sent = move(torch.cat([tensor.reshape(-1).to(dtype) for tensor in flat]), torch.device("cpu"))
        arrived = torch.split(sent, [tensor.numel() for tensor in flat])
        for place, original, values in zip(places, flat, arrived, strict=True):
            kept = dtype if original.dtype.is_floating_point else original.dtype
            on_host[place] = values.reshape(original.shape).to(kept)
    return on_host


def to_device(tensors: Sequence[Tensor], like: Tensor) -> list[Tensor]:
    """Results on the device of an input, in one transfer, in its type if that is no half; differentiable."""
    dtype = _SINGLE if like.dtype in (torch.float16, torch.bfloat16) else like.dtype
    sent = move(torch.cat([tensor.reshape(-1).to(dtype) for tensor in tensors]), like.device)
    arrived = torch.split(sent, [tensor.numel() for tensor in tensors])
    return [values.reshape(tensor.shape) for tensor, values in zip(tensors, arrived, strict=True)]


def through_host(
    head: Callable[[list[Tensor | None]], Sequence[Tensor]], tensors: Sequence[Tensor | None]
) -> Sequence[Tensor]:
    """Calls a head whose tensors may be of any device and floating-point type; the first one says of which.

    The head gets them on the host, those with fractions in one type. Its results come back to that device.
    """
    first = tensors[0]
    assert first is not None
    host = to_host(tensors)
    fractions = [t for t in host if t is not None and t.dtype.is_floating_point]
    dtype = common_dtype(fractions)
    results = head([t.to(dtype) if t is not None and t.dtype.is_floating_point else t for t in host])
    return results if first.is_cpu else to_device(results, first)
