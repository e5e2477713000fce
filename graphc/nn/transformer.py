"""Transformer layers.

Shape: `(..., d_model) -> (..., d_model)`.
Gradient: the chain rule's, through the formula.
Source: `torch.nn.{name}`; Vaswani et al., Attention Is All You Need, 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.graph.node import Node
from graphc.nn.activation import gelu, silu
from graphc.nn.arguments import choice, whole
from graphc.nn.linear import Linear
from graphc.nn.module import Module
from graphc.nn.multihead import MultiheadAttention
from graphc.nn.normalization import LayerNorm
from graphc.nn.stochastic import Dropout
from graphc.ops.activation import relu
from graphc.ops.operands import floating

ACTIVATIONS = {"relu": relu, "gelu": gelu}


class _Layer(Module):
    """What both layers share: attention to itself, a network of two layers for each position, and how both are added."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        dropout: float,
        activation: str | Callable[[Node], Node],
        layer_norm_eps: float,
        batch_first: bool,
        norm_first: bool,
        bias: bool,
        dtype: object,
        attends_to_memory: bool,
    ) -> None:
        kind = type(self).__name__
        if not callable(activation):
            choice(activation, f"{kind}'s activation", *ACTIVATIONS)
        self.activation = activation if callable(activation) else ACTIVATIONS[activation]
        self.norm_first = norm_first

        def attention() -> MultiheadAttention:
            return MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype)

        # In PyTorch's order, for which optimizers and state dicts list parameters.
        self.self_attn = attention()
        if attends_to_memory:
            self.multihead_attn = attention()
        hidden = whole(dim_feedforward, f"{kind}'s dim_feedforward")
        self.linear1 = Linear(d_model, hidden, bias, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(hidden, d_model, bias, dtype)
        parts = 3 if attends_to_memory else 2
        for part in range(1, parts + 1):
            setattr(self, f"norm{part}", LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
        for part in range(1, parts + 1):
            setattr(self, f"dropout{part}", Dropout(dropout))

    def _add(self, x: Node, part: int, inner: Callable[[Node], Node]) -> Node:
        """Return x plus what a part of the layer makes of it, normalised before or after."""
        norm, drop = vars(self)[f"norm{part}"], vars(self)[f"dropout{part}"]
        return x + drop(inner(norm(x))) if self.norm_first else norm(x + drop(inner(x)))

    def _feed(self, x: Node) -> Node:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Attention of a sequence to itself, and a network of two layers for each position, each added to what came in.

    Called with src: (time, batch, d_model), or (batch, time, d_model) if `batch_first`, or (time, d_model); src_mask,
    src_key_padding_mask, is_causal: see `MultiheadAttention`. With is_causal=True it is the block of a GPT.
    dim_feedforward: the width of that network; activation: "relu", "gelu" or a function; dropout: of attention's weights,
    inside the network and of both results. norm_first: normalise what goes in rather than the sum, as GPT-2 does.

    Formula: a = norm1(x + self_attn(x)), norm2(a + linear2(activation(linear1(a)))); with norm_first a = x +
    self_attn(norm1(x)), and so on.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Node], Node] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: object = None,
    ) -> None:
        options = (dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, dtype)
        super().__init__(d_model, nhead, *options, attends_to_memory=False)

    def forward(
        self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False
    ) -> Node:
        def attend(x: Node) -> Node:
            masks = {"attn_mask": src_mask, "key_padding_mask": src_key_padding_mask, "is_causal": is_causal}
            return self.self_attn(x, x, x, need_weights=False, **masks)[0]

        return self._add(self._add(floating(src), 1, attend), 2, self._feed)


class TransformerDecoderLayer(_Layer):
    """Attention of a sequence to itself, then to a memory (an encoder's result), then a network for each position.

    Called with tgt and memory: (time, batch, d_model), and masks of each; see `TransformerEncoderLayer`.

    Formula: a = norm1(x + self_attn(x)), b = norm2(a + multihead_attn(a, memory)), norm3(b +
    linear2(activation(linear1(b)))).
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Node], Node] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: object = None,
    ) -> None:
        options = (dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, dtype)
        super().__init__(d_model, nhead, *options, attends_to_memory=True)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Node:
        source = floating(memory)

        def attend(x: Node) -> Node:
            masks = {"attn_mask": tgt_mask, "key_padding_mask": tgt_key_padding_mask, "is_causal": tgt_is_causal}
            return self.self_attn(x, x, x, need_weights=False, **masks)[0]

        def look(x: Node) -> Node:
            masks = {"attn_mask": memory_mask, "key_padding_mask": memory_key_padding_mask}
            return self.multihead_attn(x, source, source, need_weights=False, is_causal=memory_is_causal, **masks)[0]

        x = self._add(self._add(floating(tgt), 1, attend), 2, look)
        return self._add(x, 3, self._feed)


class SwiGLU(Module):
    """down_proj(silu(gate_proj(x)) * up_proj(x)): the network for each position of Llama and others.

    in_features to hidden_features and back, or to out_features.

    Shape: `(..., in_features) -> (..., out_features)`.
    Formula: down_proj(silu(gate_proj(x)) * up_proj(x)).
    Source: Shazeer, GLU Variants Improve Transformer, 2020.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int | None = None,
        bias: bool = False,
        dtype: object = None,
    ) -> None:
        self.gate_proj = Linear(in_features, hidden_features, bias, dtype)
        self.up_proj = Linear(in_features, hidden_features, bias, dtype)
        self.down_proj = Linear(hidden_features, in_features if out_features is None else out_features, bias, dtype)

    def forward(self, x: Any) -> Node:
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))
