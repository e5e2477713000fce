"""Attention with several heads, and its projections."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.dims import Dim
from graphc.errors import DTypeError, ShapeError
from graphc.graph.node import Node, Parameter, parameter
from graphc.graph.types import shape_text
from graphc.nn import init
from graphc.nn.arguments import differ, last_axes, number, whole
from graphc.nn.attention import attention_weights, scaled_dot_product_attention
from graphc.nn.linear import Linear, linear
from graphc.nn.module import Module
from graphc.ops.comparison import where
from graphc.ops.joining import split
from graphc.ops.movement import reshape, swapaxes
from graphc.ops.operands import as_node, as_optional_dtype, cast, floating
from graphc.ops.reduction import mean


class MultiheadAttention(Module):
    """Attention in `num_heads` parts of the features, each with projections of its own; PyTorch's nn.MultiheadAttention.

    Called with query: (targets, batch, embed_dim), key: (sources, batch, kdim), value: (sources, batch, vdim), or all with
    the batch first if `batch_first`, or without a batch. Returns the result in query's form, and the weights: (batch,
    targets, sources), averaged over heads (average_attn_weights=False: (batch, heads, targets, sources)), before
    dropout; None for need_weights=False. Weights that nothing reads are not computed.
    key_padding_mask: (batch, sources), attn_mask: (targets, sources) or (batch * heads, targets, sources); booleans
    whose True leaves a source out, or floats that are added to the scores. is_causal: target i takes sources 0 to i only.
    dropout: of the weights, while training.
    in_proj_weight: (3 * embed_dim, embed_dim), of query, key and value, as Glorot's; with kdim or vdim there are
    q_proj_weight, k_proj_weight and v_proj_weight instead. in_proj_bias: (3 * embed_dim,), zeros.

    Shape: (targets, batch, embed_dim), (sources, batch, kdim), (sources, batch, vdim) to (targets, batch, embed_dim),
    and weights.
    Formula: out_proj(concat(scaled_dot_product_attention(q[h], k[h], v[h]) for each head h)), of the projections q, k,
    v.
    Gradient: the chain rule's, through the formula.
    Source: `torch.nn.MultiheadAttention`; Vaswani et al., Attention Is All You Need, 2017.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: object = None,
    ) -> None:
        self.embed_dim = whole(embed_dim, "MultiheadAttention's embed_dim", 1)
        self.num_heads = whole(num_heads, "MultiheadAttention's num_heads", 1)
        if self.embed_dim % self.num_heads:
            raise ShapeError(
                f"MultiheadAttention: expected an embed_dim that num_heads divides, got {embed_dim} and {num_heads}"
            )
        self.dropout = number(dropout, "MultiheadAttention's dropout", 0.0, 1.0)
        self.batch_first = batch_first
        self.kdim = self.embed_dim if kdim is None else whole(kdim, "MultiheadAttention's kdim")
        self.vdim = self.embed_dim if vdim is None else whole(vdim, "MultiheadAttention's vdim")
        sizes = {"q_proj_weight": self.embed_dim, "k_proj_weight": self.kdim, "v_proj_weight": self.vdim}
        self.is_joint = set(sizes.values()) == {self.embed_dim}
        if self.is_joint:
            start = init.glorot_uniform((3 * self.embed_dim, self.embed_dim), dtype=dtype)
            self.in_proj_weight = parameter(start, "in_proj_weight")
        else:
            for name, size in sizes.items():
                setattr(self, name, parameter(init.glorot_uniform((self.embed_dim, size), dtype=dtype), name))
        self.in_proj_bias: Parameter | None = None
        if bias:
            zeros = np.zeros(3 * self.embed_dim, as_optional_dtype(dtype).numpy)
            self.in_proj_bias = parameter(zeros, "in_proj_bias")
        self.out_proj = Linear(self.embed_dim, self.embed_dim, bias, dtype)
        if self.out_proj.bias is not None:
            self.out_proj.bias.set(np.zeros(self.embed_dim))

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        training: bool | Node | None = None,
    ) -> tuple[Node, Node | None]:
        nodes = [floating(one) for one in (query, key, value)]
        if nodes[0].ndim not in (2, 3) or any(node.ndim != nodes[0].ndim for node in nodes):
            raise ShapeError(
                "MultiheadAttention: expected query, key and value all of 3 dimensions, or of 2 without a batch, got "
                f"{', '.join(str(node.type) for node in nodes)}"
            )
        for node, size, what in zip(
            nodes, (self.embed_dim, self.kdim, self.vdim), ("query", "key", "value"), strict=True
        ):
            last_axes(node, (size,), f"MultiheadAttention's {what}")
        batch_last = nodes[0].ndim == 3 and not self.batch_first
        heads = [self._split(swapaxes(node, 0, 1) if batch_last else node) for node in self._projected(nodes)]
        mask = self._mask(attn_mask, key_padding_mask, heads[0], heads[1])
        merged = scaled_dot_product_attention(
            *heads, attn_mask=mask, dropout_p=self.dropout, is_causal=is_causal, training=training
        )
        merged = swapaxes(merged, -3, -2)
        result = self.out_proj(reshape(merged, (*merged.shape[:-2], self.embed_dim)))
        weights: Node | None = None
        if need_weights:
            weights = attention_weights(heads[0], heads[1], mask, is_causal)
            weights = mean(weights, -3) if average_attn_weights else weights
        return swapaxes(result, 0, 1) if batch_last else result, weights

    def _projected(self, nodes: list[Node]) -> list[Node]:
        """Return queries, keys and values after their projections."""
        own = vars(self)
        if self.is_joint and all(node is nodes[0] for node in nodes):
            return list(split(linear(nodes[0], own["in_proj_weight"], self.in_proj_bias), 3, axis=-1))
        weights = (
            split(own["in_proj_weight"], 3)
            if self.is_joint
            else [own[f"{letter}_proj_weight"] for letter in ("q", "k", "v")]
        )
        biases = [None] * 3 if self.in_proj_bias is None else split(self.in_proj_bias, 3)
        return [linear(*each) for each in zip(nodes, weights, biases, strict=True)]

    def _split(self, x: Node) -> Node:
        """Return (..., length, features) as (..., heads, length, features of a head)."""
        shape = (*x.shape[:-1], self.num_heads, self.embed_dim // self.num_heads)
        return swapaxes(reshape(x, shape), -3, -2)

    def _mask(self, attn_mask: Any, key_padding_mask: Any, q: Node, k: Node) -> Node | None:
        """Return both masks as one that says what takes part, or what is added to the scores."""
        found: list[Node] = []
        lead: tuple[Dim, ...] = q.shape[:-3]
        if attn_mask is not None:
            mask, wanted = as_node(attn_mask), (q.shape[-2], k.shape[-2])
            full = (*lead, self.num_heads, *wanted)
            shapes = (wanted, ((lead[0] * self.num_heads) if lead else self.num_heads, *wanted))
            if not any(mask.ndim == len(one) and not any(map(differ, mask.shape, one)) for one in shapes):
                raise ShapeError(
                    f"MultiheadAttention: expected an attn_mask {shape_text(shapes[0])} or {shape_text(shapes[1])}, "
                    f"got {mask.describe()}"
                )
            found.append(reshape(mask, full) if mask.ndim == 3 else mask)
        if key_padding_mask is not None:
            mask, wanted = as_node(key_padding_mask), (*lead, k.shape[-2])
            if mask.ndim != len(wanted) or any(map(differ, mask.shape, wanted)):
                raise ShapeError(
                    f"MultiheadAttention: expected a key_padding_mask {shape_text(wanted)}, got {mask.describe()}"
                )
            found.append(mask[..., None, None, :])
        for mask in found:
            if mask.dtype.kind not in "fb":
                raise DTypeError(f"MultiheadAttention: expected masks of booleans or floats, got {mask.describe()}")
        if not any(mask.dtype.is_float for mask in found):
            return ~(found[0] if len(found) == 1 else found[0] | found[1]) if found else None
        added = [cast(one, q.dtype) if one.dtype.is_float else where(one, -np.inf, 0.0) for one in found]
        return added[0] if len(added) == 1 else added[0] + added[1]

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}, dropout={self.dropout}, batch_first={self.batch_first}"
