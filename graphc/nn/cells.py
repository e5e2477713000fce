"""Recurrent cells: one step in time. Gates stand side by side in the weights, in PyTorch's order.

Shape: `(..., input_size), (..., hidden_size) -> (..., hidden_size)`.
Gradient: the chain rule's, through the formula.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple

from graphc.dims import Dim
from graphc.errors import GraphError, ShapeError
from graphc.graph.node import Node, Parameter, parameter
from graphc.graph.types import shape_text
from graphc.nn.arguments import choice, differ, last_axes, whole
from graphc.nn.linear import linear
from graphc.nn.module import Module
from graphc.ops.activation import relu, sigmoid
from graphc.ops.creation import zeros
from graphc.ops.joining import split
from graphc.ops.operands import floating
from graphc.ops.random import draw_uniform
from graphc.ops.trigonometric import tanh

ACTIVATIONS = {"tanh": tanh, "relu": relu}


class Weights(NamedTuple):
    """The parameters of one cell; the biases and the projection may be None."""

    input: Parameter
    hidden: Parameter
    input_bias: Parameter | None
    hidden_bias: Parameter | None
    projection: Parameter | None


Step = Callable[[Node, tuple[Node, ...], Weights], tuple[Node, ...]]


def rnn_step(activation: Callable[[Any], Node], projected: Node, states: tuple[Node, ...], w: Weights) -> tuple[Node]:
    """Return h' = activation(projected + h @ hidden.T + hidden_bias); projected is x @ input.T + input_bias, here and below."""
    (h,) = states
    return (activation(projected + linear(h, w.hidden, w.hidden_bias)),)


def lstm_step(projected: Node, states: tuple[Node, ...], w: Weights) -> tuple[Node, Node]:
    """Return (h', c') of the gates i, f, g, o: c' = f * c + i * g and h' = o * tanh(c'), projected if there is a projection."""
    h, c = states
    i, f, g, o = split(projected + linear(h, w.hidden, w.hidden_bias), 4, axis=-1)
    cell = sigmoid(f) * c + sigmoid(i) * tanh(g)
    hidden = sigmoid(o) * tanh(cell)
    return hidden if w.projection is None else linear(hidden, w.projection), cell


def gru_step(projected: Node, states: tuple[Node, ...], w: Weights) -> tuple[Node]:
    """Return h' = (1 - z) * n + z * h of the gates r, z, n; r weighs what n takes from h, after its bias."""
    (h,) = states
    (r, z, n), (r_h, z_h, n_h) = split(projected, 3, axis=-1), split(linear(h, w.hidden, w.hidden_bias), 3, axis=-1)
    update = sigmoid(z + z_h)
    new = tanh(n + sigmoid(r + r_h) * n_h)
    return ((1.0 - update) * new + update * h,)


def draw_weights(
    module: Module, suffix: str, inputs: int, hidden: int, gates: int, bias: bool, dtype: object, projection: int = 0
) -> None:
    """Assign the parameters of a cell to a module, uniform within 1 / sqrt(hidden), under PyTorch's names with a suffix."""
    shapes: dict[str, tuple[int, ...]] = {
        "weight_ih": (gates * hidden, inputs),
        "weight_hh": (gates * hidden, projection or hidden),
    }
    if bias:
        shapes |= {"bias_ih": (gates * hidden,), "bias_hh": (gates * hidden,)}
    if projection:
        shapes["weight_hr"] = (projection, hidden)
    bound = hidden**-0.5
    for name, shape in shapes.items():
        setattr(module, name + suffix, parameter(draw_uniform(shape, -bound, bound, dtype), name + suffix))


def weights_of(module: Module, suffix: str) -> Weights:
    """Return the parameters that `draw_weights` assigned, or what was assigned in their place since."""
    # Optional ones by vars: reading what a module lacks raises.
    optional = (vars(module).get(name + suffix) for name in ("bias_ih", "bias_hh", "weight_hr"))
    return Weights(vars(module)[f"weight_ih{suffix}"], vars(module)[f"weight_hh{suffix}"], *optional)


def initial_states(hx: Any, shapes: list[tuple[Dim, ...]], like: Node, what: str) -> tuple[Node, ...]:
    """Return the given states, or zeros; raise unless there is one of each shape."""
    if hx is None:
        return tuple(zeros(shape, like.dtype) for shape in shapes)
    several: Any = hx if isinstance(hx, tuple | list) else (hx,)  # pyright: ignore[reportUnknownVariableType]
    if len(several) != len(shapes):
        names = "(h, c)" if len(shapes) == 2 else "one array h"
        raise GraphError(f"{what}: expected {names} as initial state, got {len(several)} of them")
    states = tuple(floating(one) for one in several)
    for state, shape in zip(states, shapes, strict=True):
        if state.ndim != len(shape) or any(map(differ, state.shape, shape)):
            raise ShapeError(f"{what}: expected an initial state of shape {shape_text(shape)}, got {state.describe()}")
    return states


class _Cell(Module):
    """What the cells share: weights of so many gates, and zeros as the first state."""

    gates: ClassVar[int] = 1
    carried: ClassVar[int] = 1
    step: Step

    def __init__(self, input_size: int, hidden_size: int, bias: bool, dtype: object) -> None:
        kind = type(self).__name__
        self.input_size = whole(input_size, f"{kind}'s input_size")
        self.hidden_size = whole(hidden_size, f"{kind}'s hidden_size", 1)
        self.bias = bias
        draw_weights(self, "", self.input_size, self.hidden_size, self.gates, bias, dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        kind, x, weights = type(self).__name__, floating(input), weights_of(self, "")
        last_axes(x, (self.input_size,), kind)
        shapes = [(*x.shape[:-1], self.hidden_size)] * self.carried
        new = self.step(linear(x, weights.input, weights.input_bias), initial_states(hx, shapes, x, kind), weights)
        return new if self.carried > 1 else new[0]

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, bias={self.bias}"


class RNNCell(_Cell):
    """One step of a plain recurrent network: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu of it.

    input: (..., input_size); hx: (..., hidden_size), zeros if not given; returns h'. weight_ih: (hidden_size,
    input_size), weight_hh: (hidden_size, hidden_size), bias_ih, bias_hh: (hidden_size,). All start uniform within
    1 / sqrt(hidden_size), as in PyTorch. nonlinearity: "tanh" or "relu".

    Formula: tanh(weight_ih @ x + bias_ih + weight_hh @ h + bias_hh).
    Source: `torch.nn.RNNCell`; Elman, Finding Structure in Time, 1990.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", dtype: object = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        self.nonlinearity = choice(nonlinearity, "RNNCell's nonlinearity", *ACTIVATIONS)
        self.step = partial(rnn_step, ACTIVATIONS[nonlinearity])


class LSTMCell(_Cell):
    """One step of a long short-term memory.

    input: (..., input_size); hx: (h, c), each (..., hidden_size), zeros if not given; returns (h', c') with
    c' = sigmoid(f) * c + sigmoid(i) * tanh(g) and h' = sigmoid(o) * tanh(c'). The gates i, f, g, o stand one after
    another in weight_ih: (4 * hidden_size, input_size), weight_hh: (4 * hidden_size, hidden_size), bias_ih, bias_hh:
    (4 * hidden_size,), which start uniform within 1 / sqrt(hidden_size), as in PyTorch.

    Shape: (..., input_size), and h and c of (..., hidden_size), to new h and c.
    Formula: c' = sigmoid(f) * c + sigmoid(i) * tanh(g), h' = sigmoid(o) * tanh(c'); i, f, g, o = weight_ih @ x +
    bias_ih + weight_hh @ h + bias_hh.
    Source: `torch.nn.LSTMCell`; Hochreiter and Schmidhuber, Long Short-Term Memory, 1997; Gers, Schmidhuber and
    Cummins, Learning to Forget, 2000.
    """

    gates = 4
    carried = 2
    step = staticmethod(lstm_step)

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: object = None) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)


class GRUCell(_Cell):
    """One step of a gated recurrent unit.

    input: (..., input_size); hx: (..., hidden_size), zeros if not given; returns h' = (1 - z) * n + z * h with
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn)). The gates r, z (sigmoids) and n stand one after another in weight_ih:
    (3 * hidden_size, input_size), weight_hh: (3 * hidden_size, hidden_size), bias_ih, bias_hh: (3 * hidden_size,),
    which start uniform within 1 / sqrt(hidden_size), as in PyTorch.

    Formula: h' = (1 - z) * n + z * h, n = tanh(W_in x + b_in + r * (W_hn h + b_hn)), r and z = sigmoid(W_i x + b_i +
    W_h h + b_h).
    Source: `torch.nn.GRUCell`; Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014.
    """

    gates = 3
    step = staticmethod(gru_step)

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, dtype: object = None) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
