"""Losses as modules, which keep the options of their functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from graphc.errors import GraphError
from graphc.graph.node import Node
from graphc.nn import ctc, loss, regression, similarity
from graphc.nn.module import Module


class _Criterion(Module):
    """A loss: its options go to `__init__`, its operands to the call."""

    function: ClassVar[Callable[..., Node]]

    def __init__(self, *unnamed: Any, **options: Any) -> None:
        known = inspect.signature(type(self).function).parameters.values()
        names = [one.name for one in known if one.default is not inspect.Parameter.empty]
        if unnamed:
            raise GraphError(
                f"{type(self).__name__}: expected options by name, as in {type(self).__name__}({names[0]}=...), "
                f"got {unnamed[0]!r}; predictions and targets are given to the call"
            )
        if unknown := sorted(options.keys() - set(names)):
            raise GraphError(f"{type(self).__name__}: expected options {', '.join(names)}; got {', '.join(unknown)}")
        for name, value in options.items():
            setattr(self, name, value)
        self.options = tuple(options)

    def forward(self, *operands: Any) -> Node:
        return type(self).function(*operands, **{name: getattr(self, name) for name in self.options})

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.options)


class CrossEntropyLoss(_Criterion):
    """`cross_entropy` with fixed options."""

    function = staticmethod(loss.cross_entropy)


class NLLLoss(_Criterion):
    """`nll_loss` with fixed options."""

    function = staticmethod(loss.nll_loss)


class BCELoss(_Criterion):
    """`binary_cross_entropy` with fixed options."""

    function = staticmethod(loss.binary_cross_entropy)


class BCEWithLogitsLoss(_Criterion):
    """`binary_cross_entropy_with_logits` with fixed options."""

    function = staticmethod(loss.binary_cross_entropy_with_logits)


class KLDivLoss(_Criterion):
    """`kl_div` with fixed options."""

    function = staticmethod(loss.kl_div)


class CTCLoss(_Criterion):
    """`ctc_loss` with fixed options."""

    function = staticmethod(ctc.ctc_loss)


class HingeLoss(_Criterion):
    """`hinge_loss` with fixed options."""

    function = staticmethod(loss.hinge_loss)


class MSELoss(_Criterion):
    """`mse_loss` with fixed options."""

    function = staticmethod(regression.mse_loss)


class L1Loss(_Criterion):
    """`l1_loss` with fixed options."""

    function = staticmethod(regression.l1_loss)


class SmoothL1Loss(_Criterion):
    """`smooth_l1_loss` with fixed options."""

    function = staticmethod(regression.smooth_l1_loss)


class HuberLoss(_Criterion):
    """`huber_loss` with fixed options."""

    function = staticmethod(regression.huber_loss)


class GaussianNLLLoss(_Criterion):
    """`gaussian_nll_loss` with fixed options."""

    function = staticmethod(regression.gaussian_nll_loss)


class QuantileLoss(_Criterion):
    """`quantile_loss` with fixed options."""

    function = staticmethod(regression.quantile_loss)


class HingeEmbeddingLoss(_Criterion):
    """`hinge_embedding_loss` with fixed options."""

    function = staticmethod(similarity.hinge_embedding_loss)


class CosineEmbeddingLoss(_Criterion):
    """`cosine_embedding_loss` with fixed options."""

    function = staticmethod(similarity.cosine_embedding_loss)


class TripletMarginLoss(_Criterion):
    """`triplet_margin_loss` with fixed options."""

    function = staticmethod(similarity.triplet_margin_loss)
