"""A compiled step that gathers its own minibatch, so that a whole epoch runs natively.

For inputs x and y the same graph is compiled with `take(all of x, index)` in the place of x, and likewise for y.
`index` is the one stacked input: an epoch is the step repeated over the rows of a permutation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from graphc import compiler, dims
from graphc.compiler import Executable
from graphc.derivatives import substitute
from graphc.dims import Dim
from graphc.errors import CallError, GraphError, MissingInputError
from graphc.graph.node import Input, Node, input
from graphc.ops.indexing import take
from graphc.runtime.arguments import InputSpec, convert

Progress = Callable[[int], None]


class Minibatches:
    """The scalar outputs of `step` over minibatches; with `training`, its updates too."""

    def __init__(self, step: Executable, training: bool) -> None:
        measures = scalars(step.outputs)
        self.names = tuple(measures)
        self._inputs = cast(tuple[Input, ...], step.inputs)
        used = {name for node in step.inputs for dim in node.shape for name in dims.symbols(dim)}
        samples = next(name for name in ("samples", "samples_", "_samples_") if name not in used)
        names = {node.name for node in self._inputs}
        stem = next(name for name in ("indexes", "indexes_", "_indexes_") if not any(n.startswith(name) for n in names))
        indexes: dict[Dim, Input] = {}
        self._sources: list[Input] = []
        new: dict[Node, Node] = {}
        for node in self._inputs:
            if not node.shape:
                self._sources.append(node)
                continue
            size = node.shape[0]
            index = indexes.setdefault(size, input(f"{stem}{len(indexes) or ''}", (size,), "int64"))
            source = input(node.name, (samples, *node.shape[1:]), node.dtype)
            self._sources.append(source)
            new[node] = take(source, index, axis=0)
        self._fixed = next((size for size in indexes if isinstance(size, int)), None)
        updates = step.updates if training else {}
        values = list(measures.values()), list(updates.values())
        outputs, rights = substitute(values, new)
        self._executable = compiler.compile(
            [*self._sources, *indexes.values()],
            list(outputs),
            dict(zip(updates, rights, strict=True)),
            training=training and step.training,
            threads=step.threads,
        )
        self._stacked = range(len(self._sources), len(self._sources) + len(indexes))

    def arrays(self, data: Mapping[Node, Any], what: str) -> tuple[list[Any], int]:
        """Return the arrays of `data` in the order of the inputs, and how many samples they hold."""
        if not isinstance(data, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            example = ", ".join(f"{node.name}: array" for node in self._inputs)
            raise CallError(f"{what}: expected a dict {{{example}}}, got a {type(data).__name__}")
        by_name = {node.name: node for node in self._inputs}
        given: dict[int, Any] = {}
        for key, value in data.items():
            node: Any = by_name.get(key) if isinstance(key, str) else key
            if not any(node is one for one in self._inputs):
                raise MissingInputError(f"{what}: {key!r} is not an input of the step; expected {', '.join(by_name)}")
            given[id(node)] = value
        if missing := [node.name for node in self._inputs if id(node) not in given]:
            raise MissingInputError(f"{what}: missing {', '.join(missing)}")
        arrays: list[Any] = []
        length, first = -1, ""
        for node, source in zip(self._inputs, self._sources, strict=True):
            # Converted once, not once an epoch.
            array = convert(given[id(node)], InputSpec(node.name, node.dtype, source.shape))
            if node is not source:
                if not array.ndim:
                    raise CallError(f"{what}: {node.name} needs an axis of samples, got a scalar")
                if length >= 0 and len(array) != length:
                    raise CallError(f"{what}: {first} has {length} samples, but {node.name} has {len(array)}")
                length, first = len(array), node.name
            arrays.append(array)
        if length <= 0:
            raise CallError(f"{what}: there are no samples")
        return arrays, length

    def check_batch_size(self, batch_size: int, samples: int, drop_last: bool) -> None:
        """Raise CallError if the step was compiled for another fixed batch size."""
        if self._fixed is not None and (batch_size != self._fixed or (samples % batch_size and not drop_last)):
            raise CallError(
                f"the step is compiled for batches of {self._fixed}; pass batch_size={self._fixed} and drop_last=True, "
                'or give its inputs a symbolic first dimension such as "batch"'
            )

    def epoch(self, arrays: Sequence[Any], size: int, drop_last: bool) -> Epoch:
        """Return a pass over these arrays' samples in batches of this size."""
        samples = next(len(array) for array, node in zip(arrays, self._inputs, strict=True) if node.shape)
        return Epoch(self.names, self._executable, arrays, self._stacked, (samples, size, drop_last))


class Epoch:
    """A pass over all samples, which runs in any order, any number of times.

    Its programs, one of the whole batches and one of the rest, are made once and restarted: they read the order from `order`.
    """

    def __init__(
        self,
        names: Sequence[str],
        executable: Executable,
        arrays: Sequence[Any],
        stacked: Sequence[int],
        cut: tuple[int, int, bool],
    ) -> None:
        samples, size, drop_last = cut
        self.order = np.arange(samples)
        self._names = names
        whole = samples // size * size
        parts = [self.order[:whole].reshape(-1, size)] if whole else []
        if whole < samples and not (drop_last and whole):
            parts.append(self.order[whole:].reshape(1, -1))
        self._programs = [
            (part.shape[1], executable.repeat(len(part), [*arrays, *[part] * len(stacked)], stacked)) for part in parts
        ]
        self._count = sum(part.size for part in parts)

    def run(self, progress: Progress) -> dict[str, float]:
        """Run in the order that stands in `order`; return the mean of each measure, weighted by the sizes of the batches."""
        totals = [0.0] * len(self._names)
        for size, program in self._programs:
            program.restart()
            while program.done < program.count:
                before = program.done
                try:
                    program.resume()
                finally:
                    progress(program.done - before)
            # Not np.sum, which takes five times as long to get there.
            sums = [float(np.add.reduce(result, axis=None, dtype=np.float64)) for result in program.results]
            totals = [total + size * one for total, one in zip(totals, sums, strict=True)]
        return {name: total / self._count for name, total in zip(self._names, totals, strict=True)}


def scalars(outputs: Any) -> dict[str, Node]:
    """Return the scalar outputs by name; a lone one, or the first of a tuple or list, is called "loss"."""
    if isinstance(outputs, Node):
        named: dict[str, Node] = {"loss": outputs}
    elif isinstance(outputs, Mapping):
        named = {str(key): node for key, node in outputs.items() if isinstance(node, Node)}  # pyright: ignore
    elif isinstance(outputs, tuple | list):
        named = {f"output_{n}" if n else "loss": node for n, node in enumerate(outputs) if isinstance(node, Node)}  # pyright: ignore
    else:
        named = {}
    found = {name: node for name, node in named.items() if not node.shape}
    if not found:
        raise GraphError('fit needs a scalar output to report: compile with outputs={"loss": loss}')
    return found
