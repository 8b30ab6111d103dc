"""The losses as modules: options when they are made, tensors when they are called."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..unpaired import BCODelta, KTOBaseline
from .dpo import PairLoss, dpo_loss
from .listwise import ListLoss, listwise_loss
from .logps import SequenceLogps, sequence_logps
from .rankings import PlackettLuceLoss, plackett_luce_loss
from .reference_free import alphapo_loss, cpo_loss, orpo_loss, simpo_loss, slic_loss, tpo_loss
from .token_dpo import tdpo_loss
from .unpaired import UnpairedLoss, bco_loss, kto_loss


class _Loss(nn.Module):
    """A function of this package with some of its keyword arguments.

    Those that are tensors become buffers, or stay parameters if that is what they are: a `beta` that is
    learned.
    """

    function: Callable[..., Any]

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._numbers: dict[str, Any] = {}
        self._tensors: list[str] = []
        for name, value in options.items():
            if not isinstance(value, Tensor):
                self._numbers[name] = value
                continue
            self._tensors.append(name)
            if isinstance(value, nn.Parameter):
                self.register_parameter(name, value)
            else:
                self.register_buffer(name, value)

    def options(self) -> dict[str, Any]:
        """The keyword arguments, by name."""
        return self._numbers | {name: getattr(self, name) for name in self._tensors}

    def extra_repr(self) -> str:
        """The options that are no tensors, for `print`."""
        return ", ".join(f"{name}={value!r}" for name, value in self._numbers.items())

    def forward(self, *tensors: Tensor | None, **more: Any) -> Any:
        """The function's result: its tensors by position, further options by name."""
        return type(self).function(*tensors, **self.options(), **more)


class DPOLoss(_Loss):
    """`dpo_loss` as a module.

    >>> import torch, swiftdpo.torch as sdt
    >>> loss = sdt.DPOLoss(beta=0.5, loss_type="ipo")
    >>> print(loss)
    DPOLoss(beta=0.5, loss_type='ipo')
    >>> logps = torch.tensor([-10.0, -12.0])
    >>> loss(logps, logps, logps, logps).loss
    tensor(1.)
    """

    function = staticmethod(dpo_loss)
    __call__: Callable[..., PairLoss]


class CPOLoss(_Loss):
    """`cpo_loss` as a module."""

    function = staticmethod(cpo_loss)
    __call__: Callable[..., PairLoss]


class SimPOLoss(_Loss):
    """`simpo_loss` as a module."""

    function = staticmethod(simpo_loss)
    __call__: Callable[..., PairLoss]


class AlphaPOLoss(_Loss):
    """`alphapo_loss` as a module."""

    function = staticmethod(alphapo_loss)
    __call__: Callable[..., PairLoss]


class ORPOLoss(_Loss):
    """`orpo_loss` as a module."""

    function = staticmethod(orpo_loss)
    __call__: Callable[..., PairLoss]


class SLiCLoss(_Loss):
    """`slic_loss` as a module."""

    function = staticmethod(slic_loss)
    __call__: Callable[..., PairLoss]


class TPOLoss(_Loss):
    """`tpo_loss` as a module."""

    function = staticmethod(tpo_loss)
    __call__: Callable[..., PairLoss]


class TDPOLoss(_Loss):
    """`tdpo_loss` as a module."""

    function = staticmethod(tdpo_loss)
    __call__: Callable[..., PairLoss]


class ListwiseLoss(_Loss):
    """`listwise_loss` as a module."""

    function = staticmethod(listwise_loss)
    __call__: Callable[..., ListLoss]


class RankingLoss(_Loss):
    """`plackett_luce_loss` as a module."""

    function = staticmethod(plackett_luce_loss)
    __call__: Callable[..., PlackettLuceLoss]


class SequenceLogProbs(_Loss):
    """`sequence_logps` as a module."""

    function = staticmethod(sequence_logps)
    __call__: Callable[..., SequenceLogps]


class KTOLoss(_Loss):
    """`kto_loss` as a module, whose estimate of KL(pi || ref) is that of the batch.

    Call it with the log-probabilities of mismatched pairs of prompt and response as `policy_kl_logps` and
    `ref_kl_logps`; without them the estimate is 0, or what is given as `kl`.
    """

    function = staticmethod(kto_loss)
    __call__: Callable[..., UnpairedLoss]

    def forward(
        self,
        *tensors: Tensor | None,
        policy_kl_logps: Tensor | None = None,
        ref_kl_logps: Tensor | None = None,
        **more: Any,
    ) -> UnpairedLoss:
        """As `kto_loss`."""
        if policy_kl_logps is not None:
            on_host = [
                None if x is None else x.detach().double().cpu().numpy()
                for x in (policy_kl_logps, ref_kl_logps)
            ]
            more["kl"] = KTOBaseline().add(on_host[0], on_host[1])  # type: ignore[arg-type]
        return super().forward(*tensors, **more)  # type: ignore[no-any-return]


class BCOLoss(_Loss):
    """`bco_loss` as a module that keeps delta, the running mean of rewards, in its state.

    In training mode each call first adds its batch, as the paper has it; in evaluation delta stays. It is
    made of two buffers, a count and a sum, that are saved with a model, and that processes may add up.
    """

    function = staticmethod(bco_loss)
    __call__: Callable[..., UnpairedLoss]
    num_samples: Tensor
    reward_sum: Tensor

    def __init__(self, beta: float = 0.1, **options: Any) -> None:
        super().__init__(beta=beta, **options)
        self.register_buffer("num_samples", torch.zeros((), dtype=torch.int64))
        self.register_buffer("reward_sum", torch.zeros((), dtype=torch.float64))

    @property
    def delta(self) -> BCODelta:
        """The state as numbers."""
        return BCODelta(int(self.num_samples), float(self.reward_sum))

    def forward(  # type: ignore[override]
        self, policy_logps: Tensor, ref_logps: Tensor | None, desirable: Tensor, **more: Any
    ) -> UnpairedLoss:
        """As `bco_loss`."""
        if self.training:
            on_host = [
                None if x is None else x.detach().double().cpu().numpy() for x in (policy_logps, ref_logps)
            ]
            batch = BCODelta().add(on_host[0], on_host[1], self._numbers["beta"])  # type: ignore[arg-type]
            self.num_samples += batch.num_samples
            self.reward_sum += batch.sum
        return bco_loss(policy_logps, ref_logps, desirable, delta=self.delta, **self.options(), **more)


__all__ = [
    "AlphaPOLoss",
    "BCOLoss",
    "CPOLoss",
    "DPOLoss",
    "KTOLoss",
    "ORPOLoss",
    "RankingLoss",
    "SLiCLoss",
    "SequenceLogProbs",
    "SimPOLoss",
    "TPOLoss",
]
