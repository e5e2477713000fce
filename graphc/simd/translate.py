# pyright: reportUnknownMemberType=false
"""A kernel's source to LLVM IR: one walk over its syntax, in which types are inferred and values get their names.

The dialect is small and closed: assignments, arithmetic, calls of its functions, `if`, `for` over a range, `while`. Every
operator and function has a rule for its type and a builder, so a statement is translated when it is met, and a variable is
the value it was given last. Where paths meet, a variable that differs between them becomes a phi: after an `if`, after a
loop, and at a loop's beginning.
"""

import ast
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from graphc.simd.dialect import FUNCTIONS, OPERATORS
from graphc.simd.emitter import Emitter, Value
from graphc.simd.kinds import I64, ArrayType, B, SimdType
from graphc.simd.levels import Level
from graphc.simd.listing import POINTER, VOID, WORD, Function, Module
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
_AUGMENTED: dict[type[ast.AST], Callable[..., Any]] = {
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


class _Entering(Value):
    """A variable at the beginning of a loop: what it was before, or what the last turn left."""

    __slots__ = ("before", "used")

    def __init__(self, before: Value, ir: str):
        super().__init__(before.emitter, before.type, ir)
        self.before, self.used = before, False


@dataclass(frozen=True)
class _Lost:
    """Why a variable has no value: what an error says if it is read."""

    reason: str


Variables = dict[str, Value | _Lost]


@dataclass
class _Loop:
    """A loop that is being translated: where its turns begin, where it leads, and the paths by which it was left."""

    head: str
    after: str
    leaves: list[tuple[str, Variables]]


@dataclass(frozen=True)
class Translation:
    """A kernel's module, and the texts of the modules of the natives it calls."""

    module: Module
    natives: tuple[str, ...]


def translate(source: str, name: str, level: Level, natives: Mapping[str, Callable[..., Any]]) -> Translation:
    """Translate the kernel NAME of a source to a module that exports `void NAME(i64, i64, i64)`.

    Raises SyntaxError, DialectError, and what `graphc.simd.natives` raises about a user's function.
    """
    definition = next(
        (one for one in ast.parse(source).body if isinstance(one, ast.FunctionDef) and one.name == name), None
    )
    if definition is None or len(definition.args.args) != 3:
        raise DialectError(f"expected a definition of {name} with three arguments", 1)
    parameters = [one.arg for one in definition.args.args]
    module = Module()
    head = f"{VOID} @{name}({', '.join(f'{WORD} %{one}' for one in parameters)})"
    emitter = Emitter(Function(module, name, head), level)
    called = {native: Native.of(native, function) for native, function in natives.items()}
    translator = _Translator(emitter, called, {one: Value(emitter, I64, f"%{one}") for one in parameters})
    translator.body(definition.body)
    if translator.reached:
        emitter.function.do(f"ret {VOID}")
    return Translation(module, tuple(text for one in called.values() for text in one.texts()))


class _Translator:
    def __init__(self, emitter: Emitter, natives: Mapping[str, Native], variables: Variables):
        self.emitter, self.function = emitter, emitter.function
        self.natives, self.variables = natives, variables
        self.reached = True
        self.loops: list[_Loop] = []
        self.line = 0

    def refuse(self, message: str, node: ast.AST | None = None) -> NoReturn:
        """Raise DialectError at a node's line, or at that of the statement."""
        raise DialectError(message, getattr(node, "lineno", self.line))

    # Statements

    def body(self, statements: Sequence[ast.stmt]) -> None:
        """Translate statements up to one that leads away."""
        for statement in statements:
            if not self.reached:
                return
            self.line = statement.lineno
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.variables[name] = self.value(value)
            case ast.AugAssign(target=ast.Name(id=name), op=op, value=value):
                both = [self.variable(name), self.value(value)]
                self.variables[name] = self.operator(_AUGMENTED.get(type(op)), both, node)
            case ast.Expr(value=ast.Call() as call):
                self.call(call)
            case ast.If():
                self.branch(node)
            case ast.For(target=ast.Name(id=name), orelse=[]):
                self.counted(node, name)
            case ast.While(orelse=[]):
                self.repeated(node)
            case ast.Break() if self.loops:
                self.loops[-1].leaves.append((self.function.block, self.variables))
                self.leave(self.loops[-1].after)
            case ast.Return(value=None):
                self.function.do(f"ret {VOID}")
                self.reached = False
            case ast.Pass():
                pass
            case _:
                self.refuse(f"{type(node).__name__} is Python outside of the dialect", node)

    def leave(self, label: str) -> None:
        """End the block by a jump after which nothing is reached."""
        self.function.branch(label)
        self.reached = False

    def branch(self, node: ast.If) -> None:
        then, otherwise, after = (self.function.label(stem) for stem in ("then", "else", "end"))
        self.function.choose(self.condition(node.test).ir, then, otherwise if node.orelse else after)
        paths = [] if node.orelse else [(self.function.block, self.variables)]
        before = self.variables
        for label, statements in ((then, node.body), (otherwise, node.orelse)):
            if statements:
                self.variables, self.reached = dict(before), True
                self.function.place(label)
                self.body(statements)
                if self.reached:
                    paths.append((self.function.block, self.variables))
                    self.leave(after)
        self.meet(after, paths)

    def meet(self, label: str, paths: Sequence[tuple[str, Variables]]) -> None:
        """Begin the block where paths meet."""
        self.reached = bool(paths)
        if not paths:
            return
        self.function.place(label)
        self.variables = dict(paths[0][1])
        for name in dict.fromkeys(name for _, variables in paths for name in variables):
            values = [variables.get(name) for _, variables in paths]
            if any(value is not values[0] for value in values[1:]):
                self.variables[name] = self.met(name, [block for block, _ in paths], values)

    def met(self, name: str, blocks: Sequence[str], values: Sequence[Value | _Lost | None]) -> Value | _Lost:
        """Return the value that a variable has where these meet."""
        found = [value for value in values if isinstance(value, Value)]
        if len(found) < len(values):
            return next((v for v in values if isinstance(v, _Lost)), _Lost(f"{name} is not set on every path to here"))
        kinds = list(dict.fromkeys(value.type for value in found))
        if len(kinds) > 1:
            return _Lost(f"{name} is {kinds[0]} on one path to here and {kinds[1]} on another")
        for value in found:
            if isinstance(value, _Entering):
                value.used = True
        pairs = [(value.ir, block) for value, block in zip(found, blocks, strict=True)]
        return Value(self.emitter, kinds[0], self.function.phi(kinds[0].llvm, pairs))

    # Loops

    def counted(self, node: ast.For, name: str) -> None:
        """Translate a loop over a range: a counter, compared before each turn, the form that LLVM's loop passes know best."""
        start, stop, step = self.range(node.iter)
        counter: list[str] = []

        def more() -> Value:
            counter.append(f"%{self.function.number()}")
            now = Value(self.emitter, I64, counter[0])
            if step.number is not None:
                return now < stop if step.number > 0 else now > stop
            rising = step > self.emitter.constant(I64, 0)
            return self.emitter.select(rising, now < stop, now > stop)

        def turn() -> None:
            self.variables[name] = Value(self.emitter, I64, counter[0])
            self.body(node.body)

        def again(block: str) -> list[str]:
            following = self.function.make(f"add nsw {WORD} {counter[0]}, {step.ir}")
            return [f"  {counter[0]} = phi {WORD} [{start.ir}, %{block}], [{following}, %{self.function.block}]"]

        self.loop(node, more, turn, again)

    def range(self, node: ast.expr) -> tuple[Value, Value, Value]:
        """Return start, stop and step of a range."""
        match node:
            case ast.Call(func=ast.Name(id="range"), args=arguments, keywords=[]) if 1 <= len(arguments) <= 3:
                values = [self.value(one) for one in arguments]
            case _:
                self.refuse("for takes a range of one to three i64 scalars, without keywords", node)
        if any(value.type != I64 for value in values):
            self.refuse(f"range({', '.join(str(v.type) for v in values)}): expected one to three i64 scalars", node)
        zero, one = (self.emitter.constant(I64, number) for number in (0, 1))
        if len(values) == 1:
            return zero, values[0], one
        return values[0], values[1], values[2] if len(values) == 3 else one

    def repeated(self, node: ast.While) -> None:
        self.loop(node, lambda: self.condition(node.test), lambda: self.body(node.body), lambda block: [])

    def loop(
        self,
        node: ast.For | ast.While,
        more: Callable[[], Value],
        turn: Callable[[], None],
        again: Callable[[str], list[str]],
    ) -> None:
        """Translate a loop: `more` is its condition, `turn` its body, `again` steps its counter and gives that one's phi."""
        function = self.function
        before = function.block
        head, inside, after = (function.label(stem) for stem in ("head", "turn", "done"))
        function.branch(head)
        function.place(head)
        place = len(function.lines)
        # What the body assigns may come from the last turn. Whether it does is known after the body.
        entering = {
            name: _Entering(value, f"%{function.number()}")
            for name in _assigned([node])
            if isinstance(value := self.variables.get(name), Value)
        }
        self.variables = {**self.variables, **entering}
        condition = more()
        loop = _Loop(head, after, [(function.block, self.variables)])
        function.choose(condition.ir, inside, after)
        self.loops.append(loop)
        self.variables = dict(self.variables)
        function.place(inside)
        turn()
        self.loops.pop()
        phis: list[str] = []
        if self.reached:
            phis += again(before)
            function.branch(head)
        _, outside = loop.leaves[0]
        for name, value in entering.items():
            left = self.variables.get(name) if self.reached else value.before
            if isinstance(left, Value) and left.type == value.type:
                source = f"phi {value.type.llvm} [{value.before.ir}, %{before}]"
                if self.reached:
                    source += f", [{left.ir}, %{function.block}]"
                phis.append(f"  {value.ir} = {source}")
                continue
            kinds = left.type if isinstance(left, Value) else "not always set"
            reason = f"{name} is {value.type} before the loop and {kinds} at the end of its turns"
            if value.used:
                self.refuse(reason, node)
            outside[name] = _Lost(reason)
        phis.sort(key=lambda line: int(line.split()[0][1:]))
        function.lines[place:place] = phis
        self.meet(after, loop.leaves)

    # Expressions

    def condition(self, node: ast.expr) -> Value:
        """Return the truth of a scalar."""
        value = self.value(node)
        if value.type.lanes > 1:
            self.refuse(f"a condition is a scalar, not {value.type}: use reduce_or or reduce_and", node)
        return value if value.type == B else self.operator(bool, [value], node)

    def value(self, node: ast.expr) -> Value:
        """Return the value of an expression that has one."""
        match node:
            case ast.Name(id=name):
                return self.variable(name)
            case ast.Constant(value=bool() | int() | float() as number):
                return self.number(number)
            case ast.Call():
                found = self.call(node)
                if isinstance(found, Value):
                    return found
                self.refuse("a call without a result stands for a value" if found is None else "an array is no number")
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

    def variable(self, name: str) -> Value:
        """Return the value of a name."""
        found = self.variables.get(name)
        if isinstance(found, _Lost):
            self.refuse(found.reason)
        if found is None:
            self.refuse(f"{name} is not set, and no name of the dialect")
        if isinstance(found, _Entering):
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
        paths: list[tuple[str, str]] = []
        for operand in node.values[:-1]:
            condition, following = self.condition(operand), function.label("also")
            paths.append(("false" if is_and else "true", function.block))
            function.choose(condition.ir, *((following, after) if is_and else (after, following)))
            function.place(following)
        last = self.condition(node.values[-1])
        paths.append((last.ir, function.block))
        function.branch(after)
        function.place(after)
        return Value(self.emitter, B, function.phi(B.llvm, paths))

    # Calls

    def call(self, node: ast.Call) -> Value | View | None:
        """Return what a function of the dialect, or a user's, gives."""
        if not isinstance(node.func, ast.Name) or node.keywords:
            self.refuse("a call names its function and passes by position; else it is outside of the dialect", node)
        name = node.func.id
        native, record = self.natives.get(name), _NAMES.get(name)
        if native is not None:
            arguments = [self.call(one) if isinstance(one, ast.Call) else self.value(one) for one in node.args]
            return self.native(native, [one for one in arguments if one is not None])
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
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            known = _known(operand)
            return None if known is None else -known
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() as op, right=right):
            first = _known(left)
            second = None if first is None else _known(right)
            return None if first is None or second is None else _BINARY[type(op)](first, second)
        case _:
            return None


def _assigned(statements: Sequence[ast.stmt]) -> Iterable[str]:
    """Return the names that statements assign, each once, in order."""
    names: dict[str, None] = {}
    for one in statements:
        match one:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AugAssign(target=ast.Name(id=name)):
                names[name] = None
            case ast.For(target=ast.Name(id=name), body=body):
                names |= {name: None} | dict.fromkeys(_assigned(body))
            case ast.While(body=body):
                names |= dict.fromkeys(_assigned(body))
            case ast.If(body=body, orelse=orelse):
                names |= dict.fromkeys(_assigned([*body, *orelse]))
            case _:
                pass
    return names
