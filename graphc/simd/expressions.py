# pyright: reportUnknownMemberType=false
"""Expressions of a kernel's source to LLVM values: by its type rule and its builder, each operator and call when it is met."""

import ast
import contextlib
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from graphc.simd.arithmetic import Value
from graphc.simd.dialect import FUNCTIONS, OPERATORS
from graphc.simd.emitter import Emitter
from graphc.simd.kinds import I64, ArrayType, B, SimdType
from graphc.simd.listing import POINTER, VOID, WORD, phi
from graphc.simd.natives import Native
from graphc.simd.record import Function as Record

_BINARY: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
# What `a += b` and its like mean.
AUGMENTED: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.iadd,
    ast.Sub: operator.isub,
    ast.Mult: operator.imul,
    ast.Div: operator.itruediv,
    ast.BitAnd: operator.iand,
    ast.BitOr: operator.ior,
    ast.BitXor: operator.ixor,
}
_UNARY: dict[type[ast.AST], Callable[..., Any]] = {
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}
_COMPARISONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_F64 = SimdType("f64")
_NAMES: dict[str, Record] = {**FUNCTIONS, "min": OPERATORS[min], "max": OPERATORS[max], "bool": OPERATORS[bool]}


class DialectError(Exception):
    """What is wrong with a kernel's source, and the number of the line."""

    def __init__(self, message: str, line: int):
        super().__init__(message)
        self.message, self.line = message, line


@dataclass(frozen=True)
class View:
    """An array over memory, as a user's function gets it."""

    type: ArrayType
    address: Value
    shape: tuple[Value, ...]


class Entering(Value):
    """A variable at the beginning of a loop: what it was before, or what the last turn left."""

    __slots__ = ("before", "used")

    def __init__(self, before: Value, ir: str):
        super().__init__(before.emitter, before.type, ir)
        self.before, self.used = before, False


@dataclass(frozen=True)
class Lost:
    """Why a variable has no value: what an error says if it is read."""

    reason: str


Variables = dict[str, Value | View | Lost]


def joined(kind: SimdType, sources: Sequence[tuple[Value, str]]) -> str:
    """Return the instruction for a value that is one of several, by the block from which this one was reached."""
    for value, _ in sources:
        if isinstance(value, Entering):
            value.used = True
    return phi(kind.llvm, [(value.ir, block) for value, block in sources])


class Expressions:
    """Translates expressions to values at an emitter's place; `variables` are the names that have one there."""

    def __init__(self, emitter: Emitter, natives: Mapping[str, Native], variables: Variables):
        self.emitter, self.function = emitter, emitter.function
        self.natives, self.variables = natives, variables
        self.line = 0

    def refuse(self, message: str, node: ast.AST | None = None) -> NoReturn:
        """Raise DialectError at a node's line, or at that of the statement."""
        raise DialectError(message, getattr(node, "lineno", self.line))

    def condition(self, node: ast.expr) -> Value:
        """Return the truth of a scalar."""
        value = self.value(node)
        if value.type.lanes > 1:
            self.refuse(f"a condition is a scalar, not {value.type}: use reduce_or or reduce_and", node)
        return value if value.type == B else self.operator(bool, [value], node)

    def value(self, node: ast.expr) -> Value:
        """Return the value of an expression."""
        found = self.argument(node)
        return self.refuse("an array stands for a number", node) if isinstance(found, View) else found

    def argument(self, node: ast.expr) -> Value | View:
        """Return the value of an expression, or the array that it is."""
        match node:
            case ast.Name(id=name):
                return self.variable(name)
            case ast.Call():
                return self.call(node) or self.refuse("a call without a result stands for a value", node)
            case ast.Constant(value=bool() | int() | float() as number):
                return self.number(number)
            case ast.BinOp(left=left, op=op, right=right):
                known = _known(node)
                if known is not None:
                    return self.number(known)
                return self.operator(_BINARY.get(type(op)), [self.value(left), self.value(right)], node)
            case ast.UnaryOp(op=op, operand=operand):
                known = _known(node)
                return (
                    self.operator(_UNARY.get(type(op)), [self.value(operand)], node)
                    if known is None
                    else self.number(known)
                )
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.operator(_COMPARISONS.get(type(op)), [self.value(left), self.value(right)], node)
            case ast.BoolOp():
                return self.either(node)
            case _:
                self.refuse(f"{type(node).__name__} is Python outside of the dialect", node)

    def variable(self, name: str) -> Value | View:
        """Return the value of a name."""
        found = self.variables.get(name)
        if isinstance(found, Lost):
            self.refuse(found.reason)
        if found is None:
            self.refuse(f"{name} is not set, and no name of the dialect")
        if isinstance(found, Entering):
            found.used = True
        return found

    def number(self, number: float) -> Value:
        """Return a Python number: a bool is b, an int is i64 and wraps, a float is f64."""
        kind = B if isinstance(number, bool) else I64 if isinstance(number, int) else _F64
        return self.emitter.constant(kind, number)

    def operator(self, meaning: Callable[..., Any] | None, values: Sequence[Value], node: ast.AST) -> Value:
        """Return what an operator of Python gives."""
        record = OPERATORS.get(meaning) if meaning else None
        if record is None:
            self.refuse("the dialect has no such operator", node)
        result = self.apply(record, values)
        assert isinstance(result, Value)
        return result

    def either(self, node: ast.BoolOp) -> Value:
        """Return `and` or `or`: what comes after is only looked at if it decides."""
        function, is_and = self.function, isinstance(node.op, ast.And)
        after = function.label("known")
        paths: list[tuple[Value, str]] = []
        with contextlib.ExitStack() as stack:
            for operand in node.values[:-1]:
                condition, following = self.condition(operand), function.label("also")
                paths.append((self.emitter.constant(B, not is_and), function.block))
                function.choose(condition.ir, *((following, after) if is_and else (after, following)))
                function.place(following)
                stack.enter_context(function.inside())
            paths.append((self.condition(node.values[-1]), function.block))
        function.branch(after)
        function.place(after)
        return Value(self.emitter, B, function.make(joined(B, paths)))

    # Calls

    def call(self, node: ast.Call) -> Value | View | None:
        """Return what a function of the dialect, or a user's, gives."""
        if not isinstance(node.func, ast.Name) or node.keywords:
            self.refuse("a call names its function and passes by position; else it is outside of the dialect", node)
        name = node.func.id
        native, record = self.natives.get(name), _NAMES.get(name)
        if native is not None:
            return self.native(native, [self.argument(one) for one in node.args])
        if record is None:
            self.refuse(f"{name} is no function of the dialect", node)
        return self.apply(record, [self.value(one) for one in node.args])

    def apply(self, record: Record, values: Sequence[Value]) -> Value | View | None:
        """Return what a function of the dialect gives."""
        try:
            kind = record.infer(*[value.type for value in values])
        except TypeError as error:
            self.refuse(str(error))
        result = record.build(self.emitter, *values)
        return View(kind, *result) if isinstance(kind, ArrayType) else result

    def native(self, native: Native, arguments: Sequence[Value | View]) -> Value | None:
        """Call a user's function."""
        if native.lanewise is not None:
            return self.lanes(native, native.lanewise.arity, [one for one in arguments if isinstance(one, Value)])
        name, result = native.compiled(tuple(one.type for one in arguments))
        operands: list[Value] = []
        for one in arguments:
            operands += [one] if isinstance(one, Value) else [one.address, *one.shape]
        return self.called(name, result, operands)

    def called(self, name: str, result: SimdType | None, operands: Sequence[Value]) -> Value | None:
        made = self.emitter.call(name, result.llvm if result else VOID, *[(one.type.llvm, one.ir) for one in operands])
        return Value(self.emitter, result, made) if result else None

    def lanes(self, native: Native, arity: int, arguments: Sequence[Value]) -> Value:
        """Call a user's function of scalars for each lane that the mask, if there is one, does not leave out."""
        emitter, function = self.emitter, self.function
        operands, masks = arguments[:arity], arguments[arity:]
        count = operands[0].type.lanes
        name, result = native.compiled(tuple(one.type.wide(1) for one in operands))
        assert result is not None
        if count == 1:
            made = self.called(name, result, operands)
            assert made is not None
            return made
        kind = result.wide(count)
        place = function.slot(kind.llvm)
        function.do(f"store {kind.llvm} zeroinitializer, {POINTER} {place}")
        before = function.block
        head, after = function.label("lane"), function.label("done")
        function.branch(head)
        function.place(head)
        line, number = len(function.lines), function.number()
        lane = Value(emitter, I64, f"%{number}")
        active = emitter.lane(masks[0], lane) if masks else emitter.constant(B, True)
        with function.when(active.ir):
            made = self.called(name, result, [emitter.lane(operand, lane) for operand in operands])
            assert made is not None
            old = function.make(f"load {kind.llvm}, {POINTER} {place}")
            new = function.make(f"insertelement {kind.llvm} {old}, {made.typed}, {lane.typed}")
            function.do(f"store {kind.llvm} {new}, {POINTER} {place}")
        following = lane + emitter.constant(I64, 1)
        function.lines.insert(line, f"  {lane.ir} = phi {WORD} [0, %{before}], [{following.ir}, %{function.block}]")
        function.choose((following < emitter.constant(I64, count)).ir, head, after)
        function.place(after)
        return Value(emitter, kind, function.make(f"load {kind.llvm}, {POINTER} {place}"))


def _known(node: ast.expr) -> float | None:
    """Return the number that an expression of numbers is, by Python's own arithmetic, or None."""
    match node:
        case ast.Name() | ast.Call():
            return None
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            known = _known(operand)
            return None if known is None else -known
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() as op, right=right):
            # The right one first: the left one of a long sum is as long, and asked again for each of its terms.
            second = _known(right)
            first = None if second is None else _known(left)
            return None if first is None or second is None else _BINARY[type(op)](first, second)
        case _:
            return None
