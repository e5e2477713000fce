"""A loss as a function of one vector: what SciPy's optimisers, and others of their kind, want."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from graphc.compiler import compile
from graphc.derivatives import grad, substitute
from graphc.dtypes import float64
from graphc.errors import CallError, GraphError
from graphc.graph import walk
from graphc.graph.node import Input, Node, Parameter, builder, input
from graphc.graph.types import TensorType
from graphc.ops.joining import concat
from graphc.ops.movement import reshape
from graphc.ops.operands import cast


class FlatFunction:
    """Call it with a float64 vector of all parameters: it returns the loss as a float, and its gradient as such a vector.

    `parameters` are those of the vector, in its order. The parameters' own values change by `assign` alone.
    """

    def __init__(
        self, loss: Node, parameters: tuple[Parameter, ...], feeds: Mapping[Node, Any], *, training: bool
    ) -> None:
        self.parameters = parameters
        sizes = [math.prod(parameter.value.shape) for parameter in parameters]
        self._ends = np.cumsum([0, *sizes]).tolist()
        self._feeds = dict(feeds)
        inputs = [node for node in walk.topological([loss]) if isinstance(node, Input)]
        for node in feeds:
            if node not in set(inputs):
                raise GraphError(f"flat_function: the loss does not depend on {node.describe()}")
        name = next(n for n in ("flat", "flat_", "_flat_") if all(node.name != n for node in inputs))
        self._flat = input(name, (self.size,), float64)
        gradient = concat([cast(reshape(one, -1), float64) for one in grad(loss, parameters)])
        pieces: dict[Node, Node] = {p: cast(reshape(self._flat[a:b], p.shape), p.dtype) for p, a, b in self._places()}
        outputs = substitute([loss, gradient], pieces)
        self._executable = compile([self._flat, *inputs], outputs, training=training)

    @property
    def size(self) -> int:
        """The length of the vector."""
        return self._ends[-1]

    @property
    def initial(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The parameters as they are now, as a new vector."""
        return np.concatenate([np.asarray(p.value, np.float64).ravel() for p in self.parameters])

    def __call__(
        self, flat: Any, feeds: Mapping[Node, Any] | None = None
    ) -> tuple[float, np.ndarray[Any, np.dtype[np.float64]]]:
        """Return the loss and its gradient at this vector; `feeds` adds to the arrays given at the start."""
        arrays = {**self._feeds, **(feeds or {}), self._flat: self._checked(flat)}
        value, gradient = self._executable(arrays)
        return float(value), gradient

    def assign(self, flat: Any) -> None:
        """Write the vector into the parameters."""
        vector = self._checked(flat)
        for parameter, start, end in self._places():
            parameter.set(vector[start:end].reshape(parameter.value.shape))

    def _places(self) -> list[tuple[Parameter, int, int]]:
        return list(zip(self.parameters, self._ends, self._ends[1:], strict=False))

    def _checked(self, flat: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        vector = np.asarray(flat, np.float64)
        if vector.shape != (self.size,):
            raise CallError(f"flat_function: expected a vector of {self.size} numbers, got shape {vector.shape}")
        return vector


@builder("flat_function")
def flat_function(
    loss: Node,
    parameters: Iterable[Parameter] | None = None,
    feeds: Mapping[Node, Any] | None = None,
    *,
    training: bool = False,
) -> FlatFunction:
    """Return a scalar loss as a function of one vector, for `scipy.optimize.minimize(f, f.initial, jac=True)`.

    parameters: those to vary; all trainable ones that the loss depends on, unless given. feeds: arrays for inputs; what is
    missing here is given at each call, `f(vector, {input: array})`. training: what `graphc.training()` stands for.
    Raises GraphError where there is nothing to vary, or the loss is no scalar or does not depend on a parameter.
    """
    if parameters is None:
        chosen = [node for node in walk.topological([loss]) if isinstance(node, Parameter) and node.trainable]
    else:
        chosen = list(dict.fromkeys(parameters))
    for parameter in chosen:
        if not isinstance(parameter, Parameter):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise GraphError(f"flat_function: expected parameters, got {parameter!r}")
    if not chosen:
        raise GraphError(f"flat_function: the loss depends on no parameter\n  {loss.describe()}")
    if loss.type != TensorType((), loss.dtype):
        raise GraphError(f"flat_function: expected a scalar loss, got {loss.describe()}")
    return FlatFunction(loss, tuple(chosen), feeds or {}, training=training)
