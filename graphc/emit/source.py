"""Kernels as source text in the SIMD dialect: `def kernel(args, thread, threads)`, readable, and valid unjitted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from graphc import dims
from graphc.dims import Dim
from graphc.emit.block import Block, symbol_name
from graphc.emit.maps import write_map, write_rows, write_segments
from graphc.emit.sharing import Sharing
from graphc.emit.tile import write_tile
from graphc.emit.whole import write_call, write_scatter
from graphc.emit.writer import Writer
from graphc.loops.canonical import canonical
from graphc.loops.expr import Load, Reduce, index_dims, walk
from graphc.loops.kernels import (
    LENGTH,
    Beside,
    Call,
    Kernel,
    Map,
    Rows,
    Scatter,
    Segments,
    Tile,
    expressions,
)


@dataclass
class Source:
    """A kernel's text, and its argument words after the status: numbers of buffers, and dims in their printed form."""

    text: str
    name: str
    words: list[int | str]


@dataclass
class Arguments:
    """The buffers that a kernel's text names, in order of first use."""

    names: dict[int, str] = field(default_factory=dict[int, str])

    def __call__(self, buffer: int) -> str:
        """Return the name of a buffer's address."""
        return self.names.setdefault(buffer, f"p{len(self.names)}")


class Emitter:
    """Writes the kernels of a plan as source; equal loops over other buffers are written once.

    `describe` as for `emit`.
    """

    def __init__(self, kernels: Iterable[Kernel], describe: Callable[[int], str]) -> None:
        self._describe = describe
        self._forms = [canonical(kernel) for kernel in kernels]
        self._sharing = Sharing(dict.fromkeys(form for form, _ in self._forms))
        self._divided: dict[Kernel, list[Kernel]] = {}
        self._written: dict[Kernel, Source] = {}

    def __call__(self, number: int, comments: Sequence[str]) -> list[Source]:
        """Return the source of a kernel by its number: of several that run one after the other where others have parts of it."""
        form, buffers = self._forms[number]
        own = buffers.__getitem__ if buffers is not None else int
        if form not in self._divided:
            self._divided[form] = self._sharing.divided(form)
        return [self._source(one, own, comments) for one in self._divided[form]]

    def _source(self, kernel: Kernel, outside: Callable[[int], int], comments: Sequence[str]) -> Source:
        form, buffers = canonical(kernel)

        def own(number: int) -> int:
            return outside(number if buffers is None else buffers[number])

        if form not in self._written:
            self._written[form] = emit(form, lambda n: self._describe(own(n)), comments)
        found = self._written[form]
        return Source(found.text, found.name, [own(w) if isinstance(w, int) else w for w in found.words])


def emit(kernel: Kernel, describe: Callable[[int], str], comments: Sequence[str]) -> Source:
    """Return a kernel's source.

    `describe` gives the comment beside an argument, `comments` the user's lines; neither is part of the kernel's name,
    which is made from what it computes, so equal kernels compile once.
    """
    arguments = Arguments()
    body = Block(None, frozenset(), 1)
    count = 0
    for part in kernel.parts if isinstance(kernel, Beside) else (kernel,):
        is_single = isinstance(kernel, Beside) and part in kernel.single
        # What is written before the loops of one part is not there for the next one, which may have other lanes.
        block = Block(None, frozenset(), 2 if is_single else 1)
        writer = Writer(_lanes(part), arguments, count=count, alone=is_single)
        _write(part, writer, block)
        body.close(block, "if thread == threads - 1:" if is_single else None)
        count = writer.count
    if not body.lines:
        body.add("return")  # an array without elements
    words: list[int | str] = [*(buffer for buffer in arguments.names if buffer >= 0), *sorted(_symbols(kernel))]
    table: list[int | str] = []
    for part in kernel.parts if isinstance(kernel, Beside) else (kernel,):
        if isinstance(part, Segments):
            table.append(str(len(part.lengths)))
            for arrays, length in zip(part.arrays, part.lengths, strict=True):
                table += [str(length), *arrays]
    head = [
        f"    {arguments.names[w] if isinstance(w, int) else symbol_name(w)} = word(args, {k})"
        for k, w in enumerate(words, 1)
    ]
    if table:
        body.lines.insert(0, f"    table = args + {8 * (1 + len(words))}")
    digest = hashlib.sha256("\n".join([*head, *body.lines]).encode()).hexdigest()[:16]
    name = f"kernel_{digest}"
    noted = [f"{line}  # {describe(w)}" if isinstance(w, int) else line for line, w in zip(head, words, strict=True)]
    lines = [f"def {name}(args, thread, threads):", *(f"    # {c}" for c in comments), *noted, *body.lines]
    printed = [w if isinstance(w, int) else str(dims.symbol(w)) for w in words]
    return Source("\n".join(lines) + "\n", name, printed + table)


def _write(kernel: Kernel, writer: Writer, block: Block) -> None:
    match kernel:
        case Map():
            write_map(kernel, writer, block)
        case Rows():
            write_rows(kernel.maps, writer, block)
        case Tile():
            write_tile(kernel, writer, block)
        case Scatter():
            write_scatter(kernel, writer, block)
        case Segments():
            write_segments(kernel, writer, block)
        case Call():
            write_call(kernel, writer, block)
        case Beside():
            raise AssertionError("a part of several that has parts")


def _lanes(kernel: Kernel) -> int:
    """Eight lanes where all data, or what a tile sums, are eight bytes wide, else sixteen: one AVX-512 register, or several.

    Sixteen, too, for totals along the lanes: what else a kernel makes must not change the order of a sum.
    """
    match kernel:
        case Beside():
            raise AssertionError("each part has lanes of its own")
        case Segments():
            return _lanes(kernel.map)
        case Tile():
            return kernel.lanes
        case Map() | Rows():
            found = [e for e in walk(*expressions(kernel)) if isinstance(e, Load | Reduce)]
            sizes = {e.dtype.itemsize for e in found} | {s.value.dtype.itemsize for s in kernel.stores}
            is_ordered = any(isinstance(e, Reduce) and e.along and e.rounds for e in found)
            return 8 if sizes and min(sizes) == 8 and not is_ordered else 16
        case Scatter():
            return 8 if kernel.dtype.itemsize == 8 else 16
        case Call():
            return 16


def _symbols(kernel: Kernel) -> set[str]:
    if isinstance(kernel, Segments):
        return _symbols(kernel.map) - {LENGTH}
    if isinstance(kernel, Beside):
        return set[str]().union(*map(_symbols, kernel.parts))
    found: list[Dim] = []
    match kernel:
        case Map():
            found += _extents(kernel)
        case Rows():
            found += [extent for stage in kernel.maps for extent in _extents(stage)]
        case Tile():
            found += [a.extent for a in (*kernel.outer, kernel.row, kernel.lane, *kernel.reduced)]
            found += [dim for pair in kernel.inside for dim in pair]
        case Scatter():
            found += [kernel.count, kernel.size, kernel.width]
        case Call():
            found += [d for _, _, shape in kernel.arrays for d in shape]
    if isinstance(kernel, Map | Rows | Tile):
        found += [s.offset for s in kernel.stores]
        for inner in walk(*expressions(kernel)):
            found += index_dims(inner)
            found += [a.extent for a in inner.axes] if isinstance(inner, Reduce) else []
    return {name for d in found for name in dims.symbols(d)}


def _extents(kernel: Map) -> list[Dim]:
    axes = [*kernel.rows, *([kernel.lane] if kernel.lane else []), *(kernel.ordered[1:2] if kernel.ordered else ())]
    return [a.extent for a in axes]
