"""A kernel's source to LLVM IR: one walk over its syntax, in which types are inferred and values get their names.

The dialect is small and closed: assignments, arithmetic, calls of its functions, `if`, `for` over a range, `while`. Every
operator and function has a rule for its type and a builder, so a statement is translated when it is met, and a variable is
the value it was given last. Where paths meet, a variable that differs between them becomes a phi: after an `if`, after a
loop, and at a loop's beginning.
"""

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphc.simd.arithmetic import Value
from graphc.simd.emitter import Emitter
from graphc.simd.expressions import AUGMENTED, DialectError, Entering, Expressions, Lost, Variables, View, joined
from graphc.simd.kinds import I64
from graphc.simd.levels import Level
from graphc.simd.listing import VOID, WORD, Function, Module
from graphc.simd.natives import Native


@dataclass
class _Loop:
    """A loop that is being translated: the block after it, and the paths that lead there."""

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
    kernel = _Kernel(emitter, called, {one: Value(emitter, I64, f"%{one}") for one in parameters})
    kernel.body(definition.body)
    if kernel.reached:
        emitter.function.do(f"ret {VOID}")
    return Translation(module, tuple(text for one in called.values() for text in one.texts()))


class _Kernel(Expressions):
    """Translates statements; `reached` says whether the next one is."""

    def __init__(self, emitter: Emitter, natives: Mapping[str, Native], variables: Variables):
        super().__init__(emitter, natives, variables)
        self.reached = True
        self.loops: list[_Loop] = []

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
                self.variables[name] = found = self.argument(value)
                if isinstance(found, Value):
                    self.emitter.named(found)
            case ast.AugAssign(target=ast.Name(id=name) as target, op=op, value=value):
                both = [self.value(target), self.value(value)]
                self.variables[name] = self.operator(AUGMENTED.get(type(op)), both, node)
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
                with self.function.inside():
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
        (_, first), *others = paths
        self.variables = dict(first)
        differ = {name: None for _, other in others for name in first if other.get(name) is not first[name]}
        differ |= {name: None for _, other in others for name in other if name not in first}
        for name in differ:
            values = [variables.get(name) for _, variables in paths]
            self.variables[name] = self.met(name, [block for block, _ in paths], values)

    def met(self, name: str, blocks: Sequence[str], values: Sequence[Value | View | Lost | None]) -> Value | Lost:
        """Return the value that a variable has where these meet."""
        found = [value for value in values if isinstance(value, Value)]
        if len(found) < len(values):
            return next((v for v in values if isinstance(v, Lost)), _unset(name))
        kinds = list(dict.fromkeys(value.type for value in found))
        if len(kinds) > 1:
            return Lost(f"{name} is {kinds[0]} on one path to here and {kinds[1]} on another")
        made = self.function.make(joined(kinds[0], list(zip(found, blocks, strict=True))))
        return Value(self.emitter, kinds[0], made)

    # Loops

    def counted(self, node: ast.For, name: str) -> None:
        """Translate a loop over a range: a counter, compared before each turn, the form that LLVM's loop passes know best."""
        start, stop, step = self.range(node.iter)
        counter = f"range of line {node.lineno}"  # no name that a source could use
        self.variables[counter] = start

        def more() -> Value:
            now = self.counter(counter)
            if step.number is not None:
                return now < stop if step.number > 0 else now > stop
            rising = step > self.emitter.constant(I64, 0)
            return self.emitter.select(rising, now < stop, now > stop)

        def turn() -> None:
            now = self.variables[name] = self.counter(counter)
            self.body(node.body)
            if self.reached:
                following = self.function.make(f"add nsw {now.typed}, {step.ir}")
                self.variables[counter] = Value(self.emitter, I64, following)

        self.loop(node, [*_assigned([node]), counter], more, turn)
        self.variables.pop(counter, None)

    def counter(self, name: str) -> Value:
        """Return what a loop's counter is in this turn."""
        found = self.variable(name)
        assert isinstance(found, Value)
        return found

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
        self.loop(node, _assigned([node]), lambda: self.condition(node.test), lambda: self.body(node.body))

    def loop(
        self, node: ast.stmt, assigned: Iterable[str], more: Callable[[], Value], turn: Callable[[], None]
    ) -> None:
        """Translate a loop, of which `more` is the condition and `turn` the body."""
        function = self.function
        before, outer = function.block, self.variables
        head, inside, after = (function.label(stem) for stem in ("head", "turn", "done"))
        function.branch(head)
        function.place(head)
        place = len(function.lines)
        # What the body assigns may come from the last turn. Whether it can, and is looked at, shows after the body.
        entering = {
            name: Entering(value, f"%{function.number()}")
            for name in assigned
            if isinstance(value := outer.get(name), Value)
        }
        unset = {name: _unset(name) for name in assigned if name not in outer}
        outside: Variables = {**outer, **entering, **unset}
        self.variables = dict(outside)
        condition = more()
        loop = _Loop(after, [(function.block, outside)])
        self.loops.append(loop)
        function.choose(condition.ir, inside, after)
        function.place(inside)
        with function.inside():
            turn()
        self.loops.pop()
        if self.reached:
            function.repeat(head, len(function.lines) - place)
        phis: list[str] = []
        for name, value in entering.items():
            sources = [(value.before, before)]
            if self.reached:
                left = self.variables.get(name)
                if not isinstance(left, Value) or left.type != value.type:
                    kind = left.type if isinstance(left, Value) else "not always set"
                    lost = outside[name] = Lost(
                        f"{name} is {value.type} before the loop and {kind} at the end of its turns"
                    )
                    if value.used:
                        self.refuse(lost.reason, node)
                    continue
                sources.append((left, function.block))
            phis.append(f"  {value.ir} = {joined(value.type, sources)}")
        function.lines[place:place] = phis
        self.meet(after, loop.leaves)


def _unset(name: str) -> Lost:
    return Lost(f"{name} is not set on every path to here")


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
