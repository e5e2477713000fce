"""Scalar expressions as lines of kernel source.

Lines go into blocks, one for each loop. An expression is written once, in the outermost block that binds all axes it uses,
so what does not vary in a loop stands before it. In a block with a vector axis, what depends on that axis is a vector of
`lanes` elements; everything else is a scalar, and is spread where a vector needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from graphc import dims
from graphc.dims import Atom, Axis, Dim, DimExpr, FloorDiv, Maximum, Minimum, Remainder, Symbol
from graphc.dtypes import int64
from graphc.emit.block import Block, apply, factor, literal, symbol_name
from graphc.emit.reductions import write_reduction
from graphc.loops.expr import Apply, Check, Const, Expr, Index, Load, Loaded, Reduce
from graphc.loops.kernels import ACCUMULATOR, OWNED, Store


@dataclass
class Writer:
    """Writes one kernel, or one part of it, which with `alone` a single thread makes.

    `name_of` names the kernel's arrays. A tile's accumulators differ along the axes `accumulated`.
    """

    lanes: int
    name_of: Callable[[int], str]
    accumulated: frozenset[Axis] = frozenset()
    count: int = 0
    alone: bool = False
    along: dict[Expr, frozenset[Axis]] = field(default_factory=dict[Expr, frozenset[Axis]])

    def fresh(self, stem: str) -> str:
        """Return a name not used before."""
        self.count += 1
        return f"{stem}{self.count}"

    # -- values

    def value(self, expr: Expr, block: Block) -> str:
        """Return the name of the expression's value, writing its lines first; a vector if it varies along the vector axis."""
        home = self._home(expr, block)
        if expr not in home.names:
            if isinstance(expr, Const):
                return self._scalar_constant(expr)
            if isinstance(expr, Reduce):
                home.names[expr] = write_reduction(expr, self, home)
            else:
                text = self._text(expr, home)
                home.names[expr] = name = self.fresh("v")
                home.add(f"{name} = {text}")
        return home.names[expr]

    def vector(self, expr: Expr, block: Block) -> str:
        """Return the value as a vector."""
        if isinstance(expr, Const):
            return f"{expr.dtype.short}x{self.lanes}({literal(expr.value)})"
        name = self.value(expr, block)
        return name if self.varies(expr, block) else self._spread(expr, name, block)

    def varies(self, expr: Expr, block: Block) -> bool:
        """Whether the expression differs between the lanes of the block's vector axis."""
        return block.vector is not None and block.vector in self.free(expr)

    def free(self, expr: Expr) -> frozenset[Axis]:
        """Return the axes along which the expression's value differs."""
        if not self.accumulated:
            return expr.free
        if expr not in self.along:
            reads = isinstance(expr, Load) and expr.source == ACCUMULATOR
            reads |= any(self.accumulated <= self.free(operand) for operand in expr.operands)
            self.along[expr] = expr.free | self.accumulated if reads else expr.free
        return self.along[expr]

    def _spread(self, expr: Expr, name: str, block: Block) -> str:
        home, spread = self._home(expr, block), ("spread", expr)
        if spread not in home.names:
            home.names[spread] = new = self.fresh("s")
            home.add(f"{new} = {expr.dtype.short}x{self.lanes}({name})")
        return home.names[spread]

    def _home(self, expr: Expr, block: Block) -> Block:
        if isinstance(expr, Load) and expr.source == ACCUMULATOR:
            while expr not in block.names and block.parent is not None:
                block = block.parent
            return block
        needs = self.free(expr)
        while block.parent is not None and needs <= block.parent.bound:
            block = block.parent
        return block

    def _text(self, expr: Expr, block: Block) -> str:
        varying = self.varies(expr, block)
        match expr:
            case Index(_, dim):
                return self._vector_dim(dim, block) if varying else self.dim(dim, block)
            case Load():
                return self._vector_load(expr, block) if varying else self._scalar_load(expr, block)
            case Apply(_, "lt", (Index(_, left), Index(_, right))) if varying and self._runs_out(right - left, block):
                left_over = self.dim(right - left, block)
                return f"tail_bx{self.lanes}(max(min({left_over}, {self.lanes}), 0))"
            case Apply(dtype, function, args):
                names = [self.vector(a, block) if varying else self.value(a, block) for a in args]
                if function == "philox":
                    names[-1] = self.vector(args[-1], block) if varying else names[-1]
                if function.startswith("scalar_") and varying and block.mask:
                    names.append(block.mask)  # a loop of the user's may not end on what fills the other lanes
                text = apply(function, names, dtype)
                # Numba widens small integers in scalar arithmetic, as Python does; kernels wrap like NumPy.
                narrow = dtype.short in ("i32", "u32", "u8") and function in ("add", "subtract", "multiply", "negative")
                return f"{dtype.short}({text})" if narrow and not varying else text
            case Check(_, value, size, site, wraps, guard):
                parts = [self.vector(value, block) if varying else self.value(value, block)]
                parts += [self.dim(size, block), "args", site]
                mask = self._mask(guard, block) if varying else None
                if not varying and guard is not None:
                    mask = self.value(guard, block)
                function = "check_index" if wraps else "check_position"
                return f"{function}({', '.join(parts + ([mask] if mask else []))})"
            case _:
                raise AssertionError(f"not a value: {expr}")

    def _runs_out(self, room: Dim, block: Block) -> bool:
        """Whether what is left of a range is one less with each lane, so that the first lanes are within and no others."""
        assert block.vector is not None
        slope, rest = dims.linear(room, block.vector)
        return slope == -1 and not self._dim_varies(rest, block)

    def _scalar_constant(self, expr: Const) -> str:
        if expr.dtype is int64:
            return f"i64({expr.value})"
        return f"{expr.dtype.short}({literal(expr.value)})"

    # -- memory

    def address(self, source: int, offset: Dim, itemsize: int, block: Block) -> str:
        """Return the address of an element."""
        text = self.dim(offset, block)
        scaled = text if itemsize == 1 else f"{itemsize} * {text}" if text.isidentifier() else f"{itemsize} * ({text})"
        return f"{self.name_of(source)} + {scaled}"

    def distance(self, dim: Dim, itemsize: int, block: Block) -> str:
        """Return the name of a distance in bytes that is the same throughout the kernel, writing it at the top."""
        while block.parent is not None:
            block = block.parent
        key = ("distance", dim)
        if key not in block.names:
            block.names[key] = name = self.fresh("stride")
            block.add(f"{name} = {itemsize} * {factor(self.dim(dim, block))}")
        return block.names[key]

    def store(self, store: Store, value: str, block: Block) -> None:
        """Write a store, under the block's mask."""
        size, mask = store.value.dtype.itemsize, f", {block.mask}" if block.mask else ""
        if block.vector is None or self._is_contiguous(store.offset, block):
            block.add(f"store({value}, {self.address(store.buffer, store.offset, size, block)}{mask})")
        else:
            block.add(f"scatter({value}, {', '.join(self._apart(store.buffer, store.offset, size, block))}{mask})")

    def _scalar_load(self, expr: Load, block: Block) -> str:
        kind = expr.dtype.short
        address = self.address(expr.source, expr.index[0], expr.dtype.itemsize, block)
        if expr.guard is None:
            return f"load_{kind}({address})"
        guard = self.value(expr.guard, block)
        # Where the guard is false the element may lie outside the array: read the argument row instead, and drop it.
        return f"select({guard}, load_{kind}(select({guard}, {address}, args)), {kind}(0))"

    def _vector_load(self, expr: Load, block: Block) -> str:
        kind = f"{expr.dtype.short}x{self.lanes}"
        mask = self._mask(expr.guard, block)
        (offset,) = expr.index
        if self._is_contiguous(offset, block):
            parts = [self.address(expr.source, offset, expr.dtype.itemsize, block)]
            call = f"load_{kind}"
        else:
            parts = self._apart(expr.source, offset, expr.dtype.itemsize, block)
            call = f"gather_{kind}"
        return f"{call}({', '.join(parts + ([mask] if mask else []))})"

    def _is_contiguous(self, offset: Dim, block: Block) -> bool:
        assert block.vector is not None
        slope, rest = dims.linear(offset, block.vector)
        return slope == 1 and not self._dim_varies(rest, block)

    def _apart(self, source: int, offset: Dim, itemsize: int, block: Block) -> list[str]:
        """Return where lanes lie apart: an address that they share, and the bytes from there to each."""
        still, moving = self._parted(offset, block)
        lanes = self._vector_dim(moving, block)
        key = ("bytes", moving, itemsize)
        if key not in block.names:
            block.names[key] = name = self.fresh("n")
            block.add(f"{name} = {lanes} * i64x{self.lanes}({itemsize})")
        shared = self.name_of(source) if still == 0 else self.address(source, still, itemsize, block)
        return [shared, block.names[key]]

    def _parted(self, dim: Dim, block: Block) -> tuple[Dim, Dim]:
        """Return the terms of an index expression that are the same for all lanes, and the others."""
        still: Dim = 0
        for monomial, count in dim.terms if isinstance(dim, DimExpr) else ():
            factors = [DimExpr.of(atom) for atom, power in monomial for _ in range(power)]
            if not any(self._dim_varies(one, block) for one in factors):
                still = still + count * dims.product(factors)
        return still, dim - still

    def _mask(self, guard: Expr | None, block: Block) -> str | None:
        if guard is None:
            return block.mask
        name = self.vector(guard, block)
        return name if block.mask is None else f"{name} & {block.mask}"

    # -- index expressions

    def dim(self, dim: Dim, block: Block) -> str:
        """Return a scalar index expression."""
        return dims.render(dim, lambda atom: self._atom(atom, block))

    def _atom(self, atom: Atom, block: Block) -> str:
        match atom:
            case Axis():
                return block.axis(atom)
            case Symbol(name):
                return symbol_name(name)
            case Loaded(expr):
                return self.value(expr, block)
            case _:
                raise AssertionError(f"not a name: {atom}")

    def _dim_varies(self, dim: Dim, block: Block) -> bool:
        return any(
            atom == block.vector or (isinstance(atom, Loaded) and self.varies(atom.expr, block))
            for atom in dims.atoms(dim)
        )

    def _vector_dim(self, dim: Dim, block: Block) -> str:
        """Return an index expression for all lanes at once, as int64 vectors."""
        spread = f"i64x{self.lanes}"
        if not self._dim_varies(dim, block):
            return f"{spread}({self.dim(dim, block)})"
        assert not isinstance(dim, int)
        terms: list[str] = []
        still: Dim = 0
        for monomial, count in dim.terms:
            factors: list[str] = []
            scale: Dim = count
            for atom, power in monomial:
                lone = DimExpr.of(atom)
                for _ in range(power):
                    if self._dim_varies(lone, block):
                        factors.append(self._vector_atom(atom, block))
                    else:
                        scale = scale * lone
            if not factors:
                still = still + scale
                continue
            if scale != 1:
                factors.append(f"{spread}({self.dim(scale, block)})")
            terms.append(" * ".join(factors))
        if still != 0:
            terms.append(f"{spread}({self.dim(still, block)})")
        key = ("lanes of", dim)
        if key not in block.names:
            block.names[key] = name = self.fresh("n")
            block.add(f"{name} = {' + '.join(terms)}")
        return block.names[key]

    def _vector_atom(self, atom: Atom, block: Block) -> str:
        match atom:
            case Axis():
                key = ("iota", atom)
                if key not in block.names:
                    block.names[key] = name = self.fresh("n")
                    block.add(f"{name} = iota_i64x{self.lanes}({block.axis(atom)})")
                return block.names[key]
            case Loaded(expr):
                return self.value(expr, block)
            case FloorDiv() | Remainder() | Minimum() | Maximum():
                function = {FloorDiv: "floordiv", Remainder: "remainder", Minimum: "minimum", Maximum: "maximum"}
                left, right = (self._vector_dim(part, block) for part in (atom.left, atom.right))
                return f"{function[type(atom)]}({left}, {right})"
            case _:
                raise AssertionError(f"not an index: {atom}")

    # -- loops

    def split(self, total: str, block: Block) -> tuple[str, str]:
        """Write this thread's share of `total` pieces; return the names of its bounds."""
        start, stop = self.fresh("start"), self.fresh("stop")
        block.add(f"{start} = " + ("0" if self.alone else f"share({total}, thread, threads)"))
        block.add(f"{stop} = " + (total if self.alone else f"share({total}, thread + 1, threads)"))
        return start, stop

    def own(self, owner: Axis, block: Block) -> tuple[str, str]:
        """Write which positions of an owner axis are this thread's; return the names of their bounds.

        They are the same in all kernels of a loop, so they depend on the extent alone.
        """
        extent, count = self.dim(owner.extent, block), self.fresh("owned")
        block.add(f"{count} = ({extent} + {OWNED - 1}) // {OWNED}")
        start, stop = self.split(count, block)
        block.add(f"{start} = {start} * {OWNED}")
        block.add(f"{stop} = min({stop} * {OWNED}, {extent})")
        return start, stop

    def vector_loop(
        self,
        block: Block,
        axis: Axis,
        body: Callable[[Block], None],
        span: tuple[str, str] | None = None,
        *,
        is_whole: bool = True,
        is_once: bool = False,
    ) -> None:
        """Write a loop over the axis, `lanes` positions at a time, with a masked last round where they do not come out even.

        span: the bounds, if not all of the axis; `is_whole` says that they lie between whole vectors or at the axis's end.
        With `is_once` every round is masked then, and the body written once: for long ones, to which masks add little.
        """
        lanes, extent = self.lanes, axis.extent
        if span is None and isinstance(extent, int):
            whole, rest = extent - extent % lanes, extent % lanes
            if whole == lanes:
                self._round(block, axis, body, f"{axis.name} = 0", depth=0)
            elif whole:
                self._round(block, axis, body, f"for {axis.name} in range(0, {whole}, {lanes}):")
            if rest:
                self._round(block, axis, body, f"{axis.name} = {whole}", str(rest), depth=0)
            return
        start, stop = span or ("0", self.dim(extent, block))
        if is_whole and isinstance(extent, int) and extent % lanes == 0:
            self._round(block, axis, body, f"for {axis.name} in range({start}, {stop}, {lanes}):")
            return
        if is_once:
            rest = f"min({stop} - {axis.name}, {lanes})"
            self._round(block, axis, body, f"for {axis.name} in range({start}, {stop}, {lanes}):", rest)
            return
        whole = self.fresh("whole")
        length = stop if start == "0" else f"{stop} - {start}"
        block.add(f"{whole} = {stop} - {factor(length)} % {lanes}")
        self._round(block, axis, body, f"for {axis.name} in range({start}, {whole}, {lanes}):")
        self._round(block, axis, body, f"if {whole} < {stop}:", f"{stop} - {whole}", start=whole)

    def _round(
        self,
        block: Block,
        axis: Axis,
        body: Callable[[Block], None],
        head: str,
        rest: str | None = None,
        depth: int = 1,
        start: str | None = None,
    ) -> None:
        """Write the body once, under `head`; with `rest`, for that many lanes only."""
        mask = None if rest is None else self.fresh("mask")
        inner = block.inner(axis, depth=depth, vector=axis, mask=mask)
        if start is not None:
            inner.add(f"{axis.name} = {start}")
        if rest is not None:
            inner.add(f"{mask} = tail_bx{self.lanes}({rest})")
        body(inner)
        block.close(inner, head)
