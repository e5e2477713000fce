"""Recurrent layers: cells run along time, stacked, in one or both directions.

Shape: (time, batch, input_size) to (time, batch, directions * hidden_size), and the last states.
Gradient: the chain rule's, through time; of `scan`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from graphc.dims import Dim
from graphc.errors import DTypeError, GraphError, ShapeError
from graphc.graph.node import Node
from graphc.graph.types import shape_text
from graphc.nn.arguments import choice, differ, last_axes, number, whole
from graphc.nn.cells import (
    ACTIVATIONS,
    Step,
    Weights,
    draw_weights,
    gru_step,
    initial_states,
    lstm_step,
    rnn_step,
    weights_of,
)
from graphc.nn.linear import linear
from graphc.nn.module import Module
from graphc.nn.stochastic import dropout
from graphc.ops.comparison import where
from graphc.ops.custom_vjp import watch_gradient
from graphc.ops.iteration import scan
from graphc.ops.joining import concat, stack
from graphc.ops.movement import swapaxes
from graphc.ops.operands import as_node, expand, floating
from graphc.ops.positions import arange


class _Recurrent(Module):
    """What the layers share: weights for every layer and direction, and the walk along time."""

    gates: ClassVar[int] = 1
    carried: ClassVar[int] = 1
    step: Step

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        dtype: object,
        proj_size: int = 0,
    ) -> None:
        kind = type(self).__name__
        self.input_size = whole(input_size, f"{kind}'s input_size")
        self.hidden_size = whole(hidden_size, f"{kind}'s hidden_size", 1)
        self.num_layers = whole(num_layers, f"{kind}'s num_layers", 1)
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout = number(dropout, f"{kind}'s dropout", 0.0, 1.0)
        self.proj_size = whole(proj_size, f"{kind}'s proj_size")
        if self.proj_size >= self.hidden_size:
            raise GraphError(f"{kind}: expected a proj_size below hidden_size, got {proj_size} and {hidden_size}")
        width = (self.proj_size or self.hidden_size) * (2 if bidirectional else 1)
        for layer in range(self.num_layers):
            inputs = width if layer else self.input_size
            for suffix in self._suffixes(layer):
                draw_weights(self, suffix, inputs, self.hidden_size, self.gates, bias, dtype, self.proj_size)

    def forward(
        self,
        input: Any,
        hx: Any = None,
        lengths: Any = None,
        *,
        truncate: int | None = None,
        checkpoint: int | str | None = "auto",
        watch: Any = None,
    ) -> tuple[Node, Any]:
        kind, x = type(self).__name__, floating(input)
        if x.ndim not in (2, 3):
            form = "(batch, time, features)" if self.batch_first else "(time, batch, features)"
            raise ShapeError(f"{kind}: expected an input {form}, or (time, features), got {x.describe()}")
        last_axes(x, (self.input_size,), kind)
        swapped = self.batch_first and x.ndim == 3
        x = swapaxes(x, 0, 1) if swapped else x
        kept = None if lengths is None else _kept(lengths, x, kind)
        count = self.num_layers * (2 if self.bidirectional else 1)
        widths = [self.proj_size or self.hidden_size, self.hidden_size][: self.carried]
        given = initial_states(hx, [(count, *x.shape[1:-1], width) for width in widths], x, kind)
        probes = None if watch is None else _probes(watch, (count, x.shape[0]), x, kind)
        finals: list[tuple[Node, ...]] = []
        for layer in range(self.num_layers):
            if layer:
                x = dropout(x, self.dropout)
            sides: list[Node] = []
            for suffix in self._suffixes(layer):
                start = tuple(state[len(finals)] for state in given)
                options = {"reverse": suffix.endswith("reverse"), "truncate": truncate, "checkpoint": checkpoint}
                probe = None if probes is None else probes[len(finals)]
                final, outputs = self._walk(x, start, weights_of(self, suffix), (kept, probe), options)
                finals.append(final)
                sides.append(outputs)
            x = sides[0] if len(sides) == 1 else concat(sides, axis=-1)
        ends = tuple(stack(several) for several in zip(*finals, strict=True))
        return swapaxes(x, 0, 1) if swapped else x, ends if self.carried > 1 else ends[0]

    def _walk(
        self,
        x: Node,
        start: tuple[Node, ...],
        weights: Weights,
        along: tuple[Node | None, Node | None],
        options: dict[str, Any],
    ) -> tuple[tuple[Node, ...], Node]:
        """Return the last states of one layer in one direction, and its outputs at all times.

        `along`: for each time, which sequences it belongs to, and the probe of the state's gradient.
        """

        def step(states: tuple[Node, ...], xs: tuple[Node, Node | None, Node | None]) -> tuple[tuple[Node, ...], Node]:
            entering, kept, probe = xs
            # What does not recur, hoisting takes out of the loop: one product for all times, or for those of a piece.
            new = self.step(linear(entering, weights.input, weights.input_bias), states, weights)
            if probe is not None:
                new = (watch_gradient(new[0], probe), *new[1:])
            if kept is None:
                return new, new[0]
            inside = [expand(kept[..., None], state.shape) for state in states]
            # Behind the end of a sequence its states wait, or have not begun where time runs backwards.
            held = tuple(where(*each) for each in zip(inside, new, states, strict=True))
            return held, where(inside[0], new[0], 0.0)

        return scan(step, start, (x, *along), **options)

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"] if self.bidirectional else [f"_l{layer}"]

    def extra_repr(self) -> str:
        shown = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        defaults["proj_size"] = 0
        shown += [f"{k}={getattr(self, k)}" for k, default in defaults.items() if getattr(self, k) != default]
        return ", ".join(shown)


def _probes(watch: Any, shape: tuple[Dim, ...], x: Node, kind: str) -> Node:
    """Return what `watch` gives, one number for each layer and direction and time."""
    probes = as_node(watch, x.dtype)
    if probes.dtype is not x.dtype or probes.ndim != 2 or any(map(differ, probes.shape, shape)):
        raise ShapeError(f"{kind}: expected probes {x.dtype}{shape_text(shape)} to watch by, got {probes.describe()}")
    return probes


def _kept(lengths: Any, x: Node, kind: str) -> Node:
    """Return which times belong to each sequence, (time, batch)."""
    counts = as_node(lengths)
    if counts.dtype.kind not in "iu":
        raise DTypeError(f"{kind}: expected integer lengths, got {counts.describe()}")
    if x.ndim != 3 or counts.ndim != 1:
        raise ShapeError(f"{kind}: expected lengths (batch,) of an input with a batch, got {counts.describe()}")
    return arange(x.shape[0], dtype=counts.dtype)[:, None] < expand(counts, x.shape[1:2])


class RNN(_Recurrent):
    """A plain recurrent network: h' = tanh(W_ih x + b_ih + W_hh h + b_hh) at each time, or relu of it.

    Called with input: (time, batch, input_size), or (batch, time, input_size) if `batch_first`, or (time, input_size);
    hx: the first states (layers * directions, batch, hidden_size), zeros if not given; lengths: (batch,), integers, for
    sequences that end earlier: outputs behind the end are zero, and the last state is that at the end; truncate and
    checkpoint: see `graphc.scan`; watch: zeros (layers * directions, time), by which the gradient is the norm of that by
    each h (see `graphc.watch_gradient`).
    Returns the outputs of the last layer (time, batch, directions * hidden_size), in the input's order of axes, and the last
    state of every layer and direction (layers * directions, batch, hidden_size).
    dropout: of the outputs of every layer but the last. Weights have PyTorch's names and are those of `RNNCell`.

    Formula: h[t] = tanh(W_ih x[t] + b_ih + W_hh h[t - 1] + b_hh), each layer on the outputs of the one below.
    Source: `torch.nn.RNN`; Elman, Finding Structure in Time, 1990.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: object = None,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)
        self.nonlinearity = choice(nonlinearity, "RNN's nonlinearity", *ACTIVATIONS)
        self.step = partial(rnn_step, ACTIVATIONS[nonlinearity])


class LSTM(_Recurrent):
    """A long short-term memory; see `LSTMCell` for its formulas and weights, and `RNN` for what it is called with.

    hx, and the last states returned: (h, c), each (layers * directions, batch, hidden_size). proj_size: where it is not 0,
    h is projected to this size by weight_hr (Sak et al., Long Short-Term Memory Based Recurrent Neural Network
    Architectures, 2014).

    Formula: h[t], c[t] = LSTMCell(x[t], (h[t - 1], c[t - 1])), each layer on the outputs of the one below.
    Source: `torch.nn.LSTM`; Hochreiter and Schmidhuber, Long Short-Term Memory, 1997.
    """

    gates = 4
    carried = 2
    step = staticmethod(lstm_step)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: object = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, proj_size
        )


class GRU(_Recurrent):
    """Gated recurrent units; see `GRUCell` for their formulas and weights, and `RNN` for what it is called with.

    Formula: h[t] = GRUCell(x[t], h[t - 1]), each layer on the outputs of the one below.
    Source: `torch.nn.GRU`; Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014.
    """

    gates = 3
    step = staticmethod(gru_step)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: object = None,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype)
