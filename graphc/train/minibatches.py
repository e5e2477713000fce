"""A compiled step that gathers its own minibatch, so that a whole epoch runs natively.

For inputs x and y the same graph is compiled with `take(all of x, index)` in the place of x, and likewise for y.
`index` is the one stacked input: an epoch is the step repeated over the rows of a permutation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from graphc import compiler, dims
from graphc.compiler import Executable
from graphc.derivatives import substitute
from graphc.dims import Dim
from graphc.errors import CallError, GraphError, MissingInputError
from graphc.graph.node import Input, Node, input
from graphc.ops.indexing import take
from graphc.records import replace
from graphc.runtime.arguments import Array, InputSpec, convert
from graphc.runtime.program import Part, Program

Progress = Callable[[int], None]


class Minibatches:
    """The scalar outputs of `step` over minibatches; with `training`, its updates too."""

    def __init__(self, step: Executable, training: bool) -> None:
        measures = scalars(step.outputs)
        self.names = tuple(measures)
        self._dtypes = [node.dtype for node in measures.values()]
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
            flush_denormals=step.flush_denormals,
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

    def epochs(self, arrays: Sequence[Any], size: int, drop_last: bool, rows: int = 1) -> Epochs:
        """Return passes over these arrays' samples in batches of this size; `rows` is how many orders are held at a time."""
        samples = next(len(array) for array, node in zip(arrays, self._inputs, strict=True) if node.shape)
        orders = np.zeros((rows, samples), np.int64)
        count, rest = divmod(samples, size)
        cuts = [(0, count, size)] if count else []
        if rest and not (count and drop_last):
            cuts.append((samples - rest, 1, rest))
        parts: list[Part] = []
        measures: list[tuple[int, Sequence[Array]]] = []
        for start, count, batch in cuts:
            found = [np.empty((rows, count), dtype.numpy) for dtype in self._dtypes]
            order = orders[:, start : start + count * batch]
            stacked = [order[0].reshape(count, batch)] * len(self._stacked)
            part = self._executable.part(count, [*arrays, *stacked], self._stacked, [one[0] for one in found])
            parts.append(replace(part, laps=[*[None] * len(arrays), *[order] * len(stacked), *found]))
            measures.append((batch, found))
        return Epochs(self.names, Program(parts), orders, measures)


class Epochs:
    """Passes over all samples, natively one after the other; row n of `orders` is the order of one of them."""

    def __init__(
        self, names: Sequence[str], program: Program, orders: Array, measures: Sequence[tuple[int, Sequence[Array]]]
    ) -> None:
        self.orders = orders
        self._names, self._program, self._measures = names, program, measures

    def run(self, first: int, count: int, progress: Progress) -> Iterator[dict[str, float]]:
        """Make passes in the orders of rows `first` to `first + count`, yielding the mean of every measure over each.

        `progress` is called every now and then with the steps made since. What is complete when an exception comes is
        yielded before it is raised.
        """
        program = self._program
        program.restart(first, count)
        each, given, failure = program.count // count, 0, None
        while program.done < program.count and failure is None:
            before = program.done
            try:
                program.resume()
            except BaseException as error:
                failure = error
            progress(program.done - before)
            complete = program.done // each
            yield from self._means(slice(first + given, first + complete))
            given = complete
        if failure is not None:
            raise failure

    def _means(self, rows: slice) -> list[dict[str, float]]:
        """Return the means over passes already made, weighted by the sizes of the batches."""
        totals = np.zeros((len(self._names), rows.stop - rows.start))
        for size, found in self._measures:
            # Copied as float64 first, so that a row's sum does not depend on how many there are.
            totals += [size * one[rows].astype(np.float64).sum(axis=1) for one in found]
        samples = sum(size * found[0].shape[1] for size, found in self._measures)
        return [dict(zip(self._names, means, strict=True)) for means in (totals.T / samples).tolist()]


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
