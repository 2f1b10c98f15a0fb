"""Small faults in a module, one at a time: what a mutant is, and which there are.

A mutant changes one operator, constant, condition, statement, table entry or bound. Its id is the place (module and
function) and the text before and after, so that it survives edits elsewhere in the file. Left out by rule, because no
test should pin them: docstrings and annotations (but for the bounds of `msgspec.Meta`), what raised errors, logs and
options say to people, assertions, `zip(strict=)`, and what makes a class frozen or keyword-only.

It runs nothing; see `tests.mutants.running`.
"""

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd, ast.MatMult: ast.Mult,
}  # fmt: skip
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}
#: Keywords that say something to people, or that make a class what its users cannot change.
_MUTE_KEYWORDS = {"help", "description", "prog", "metavar", "frozen", "kw_only", "slots", "eq"}
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_SHOWN = 120


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    #: `edgeops.update.machine boot: a > b -> a >= b`, with `#2` behind where it is so more than once.
    id: str
    module: str
    #: The function or class it is in; `module` = neither.
    scope: str
    #: Which of the module's, in the order of its text.
    ordinal: int
    #: Lines whose coverage says which tests can notice; None = it acts when the module is imported.
    lines: range | None


def mutants_of(module: str, source: str) -> list[Mutant]:
    """All mutants of one module, in the order of its text."""
    seen: Counter[str] = Counter()
    found = []
    for ordinal, (place, (before, after, _)) in enumerate(_changes(ast.parse(source))):
        name = f"{module} {place.scope}: {before} -> {after}"
        seen[name] += 1
        name += f" #{seen[name]}" if seen[name] > 1 else ""
        found.append(Mutant(name, module, place.scope, ordinal, place.lines))
    return found


def mutated(mutant: Mutant, source: str) -> str:
    """The module's text with the fault in it; `source` is what the mutant was found in."""
    tree = ast.parse(source)
    _, (_, _, change) = next(islice(_changes(tree), mutant.ordinal, None))
    change()
    return ast.unparse(tree)


def _changes(tree: ast.Module) -> Iterator[tuple["_Place", "_Variant"]]:
    for place in _Places(tree).all():
        for variant in _variants(place):
            yield place, variant


# -- where ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    node: ast.AST
    parent: ast.AST
    field: str
    index: int | None
    scope: str
    lines: range | None
    #: Inside an annotation: only bounds are faults.
    annotation: bool

    def put(self, node: ast.AST | None) -> Callable[[], None]:
        """Replace the node (None = remove it); returns the way back."""
        if self.index is None:
            setattr(self.parent, self.field, node)
            return lambda: setattr(self.parent, self.field, self.node)
        items = getattr(self.parent, self.field)
        whole = list(items)
        items[self.index : self.index + 1] = [] if node is None else [node]
        return lambda: items.__setitem__(slice(None), whole)


class _Places:
    """A walk in the order of the text that knows where it is."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree

    def all(self) -> Iterator[_Place]:
        yield from self._below(self._tree, scope="", lines=None, in_function=False, annotation=False)

    def _below(
        self, parent: ast.AST, *, scope: str, lines: range | None, in_function: bool, annotation: bool
    ) -> Iterator[_Place]:
        for field, value in ast.iter_fields(parent):
            runs = in_function and not (
                isinstance(parent, _FUNCTION) and field in ("args", "decorator_list", "returns")
            )
            runs = runs or (isinstance(parent, _FUNCTION) and field == "body")
            noted = annotation or field in ("annotation", "returns")
            for index, node in enumerate(value) if isinstance(value, list) else ((None, value),):
                if not isinstance(node, ast.AST) or _is_mute(node, parent, field, index):
                    continue
                own = lines
                if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case) and runs:
                    own = _header(node)
                elif (
                    isinstance(node, ast.expr) and runs and isinstance(parent, ast.If | ast.While | ast.For | ast.Match)
                ):
                    own = range(parent.lineno, (node.end_lineno or node.lineno) + 1)
                if not runs:
                    own = None
                inner = scope
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    inner = f"{scope}.{node.name}" if scope else node.name
                yield _Place(node, parent, field, index, scope or "module", own, noted)
                yield from self._below(node, scope=inner, lines=own, in_function=runs, annotation=noted)


def _header(node: ast.AST) -> range:
    """The lines that run when a statement is reached: all of a simple one, the head of one that holds others."""
    if isinstance(node, ast.match_case):
        first = node.pattern.lineno
        return range(first, node.body[0].end_lineno + 1)  # type: ignore[operator]
    last = node.end_lineno or node.lineno
    body = getattr(node, "body", None)
    if isinstance(body, list):
        last = max(node.lineno, body[0].lineno)
    return range(node.lineno, last + 1)


def _is_mute(node: ast.AST, parent: ast.AST, field: str, index: int | None) -> bool:  # noqa: PLR0911 - one rule a case
    """Left out by rule, with all below."""
    match node:
        case ast.Expr(value=ast.Constant(value=str())) | ast.Assert() | ast.Import() | ast.ImportFrom():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return True
        case ast.Assign(targets=[ast.Name(id="__slots__")]):
            return True
        case ast.Call(func=ast.Name(id="TypeVar" | "cast" | "assert_never") | ast.Attribute(attr="getLogger")):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id="_log"))):
            return True
        case ast.keyword(arg=str() as arg):
            return arg in _MUTE_KEYWORDS or (arg == "strict" and _calls(parent, "zip"))
    # What an error says; that it is raised, and which, counts.
    return isinstance(parent, ast.Call) and field in ("args", "keywords") and _is_error(parent)


def _is_error(call: ast.Call) -> bool:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    return name.endswith("Error")


def _calls(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


# -- what -------------------------------------------------------------------------------

_Variant = tuple[str, str, Callable[[], Callable[[], None]]]


def _variants(place: _Place) -> Iterator[_Variant]:  # noqa: C901, PLR0912 - one case a kind of node
    if place.annotation:
        if isinstance(place.parent, ast.keyword) and isinstance(place.node, ast.Constant):
            yield from _constants(place, place.node)
        return
    node = place.node
    match node:
        case ast.Compare():
            for at, operator in enumerate(node.ops):
                other = deepcopy(node)
                other.ops[at] = _COMPARISONS[type(operator)]()
                yield _replaced(place, other)
        case ast.BoolOp():
            yield _replaced(place, ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values))
        case ast.BinOp() if not (isinstance(node.op, ast.BitOr) and place.lines is None):
            yield _replaced(place, ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right))
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield _replaced(place, node.operand)
        case ast.Constant():
            yield from _constants(place, node)
        case ast.JoinedStr():
            yield _replaced(place, ast.Constant("XX"))
        case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
            yield _replaced(place, ast.Call(ast.Name(_FUNCTIONS[name], ast.Load()), node.args, node.keywords))
        case ast.Call(func=ast.Attribute(attr=name)) if name in _FUNCTIONS:
            function = ast.Attribute(node.func.value, _FUNCTIONS[name], ast.Load())  # type: ignore[attr-defined]
            yield _replaced(place, ast.Call(function, node.args, node.keywords))
        case ast.IfExp():
            yield _replaced(place, ast.IfExp(_not(node.test), node.body, node.orelse))
        case ast.Slice():
            for part in ("lower", "upper"):
                if getattr(node, part) is not None:
                    other = deepcopy(node)
                    setattr(other, part, None)
                    yield _replaced(place, other)
        case ast.comprehension():
            for at, test in enumerate(node.ifs):
                other = deepcopy(node)
                other.ifs[at] = _not(test)
                yield (f"if {_text(test)}", f"if not {_text(test)}", lambda other=other: place.put(other))
        case _:
            yield from _statements(place, node)
    yield from _entries(place, node)


def _constants(place: _Place, node: ast.Constant) -> Iterator[_Variant]:
    match node.value:
        case bool():
            changed: object = not node.value
        case int() | float():
            changed = node.value + 1
        case str():
            changed = node.value + "XX"
        case bytes():
            changed = node.value + b"XX"
        case _:
            return
    if isinstance(place.parent, ast.JoinedStr | ast.FormattedValue):
        return
    around = place.parent if isinstance(place.parent, ast.expr | ast.keyword | ast.AnnAssign | ast.Assign) else node
    before = _text(around)
    undo = place.put(ast.Constant(changed))
    after = _text(around) if around is not node else repr(changed)
    undo()
    yield before, after, lambda: place.put(ast.Constant(changed))


def _statements(place: _Place, node: ast.AST) -> Iterator[_Variant]:
    match node:
        case ast.If() | ast.While():
            test = node.test

            def negate() -> Callable[[], None]:
                node.test = _not(test)
                return lambda: setattr(node, "test", test)

            word = type(node).__name__.lower()
            yield f"{word} {_text(test)}", f"{word} not {_text(test)}", negate
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield f"return {_text(value)}", "return None", lambda: place.put(ast.Return(ast.Constant(None)))
        case ast.Raise() | ast.Expr(value=ast.Call()) | ast.Break() | ast.Continue() | ast.Delete():
            yield _text(node), "pass", lambda: place.put(ast.Pass())
        case ast.Assign(value=value) if place.lines is not None and not isinstance(value, ast.Constant):
            other = ast.Assign(node.targets, ast.Constant(None), lineno=node.lineno)
            yield _text(node), _text(other), lambda: place.put(other)
        case ast.AugAssign():
            swapped = ast.AugAssign(node.target, _ARITHMETIC[type(node.op)](), node.value)
            yield _text(node), _text(swapped), lambda: place.put(swapped)
        case ast.match_case(pattern=pattern) if len(place.parent.cases) > 1:  # type: ignore[attr-defined]
            if not isinstance(pattern, ast.MatchAs) or pattern.pattern is not None:
                text = f"case {ast.unparse(pattern)}"
                yield text, "no case", lambda: place.put(None)


def _entries(place: _Place, node: ast.AST) -> Iterator[_Variant]:
    """One entry less: of a table at import, of a dict, of the errors that are caught."""
    match node:
        case ast.Dict(keys=keys) if keys:
            for at, key in enumerate(keys):
                other = ast.Dict(keys[:at] + keys[at + 1 :], node.values[:at] + node.values[at + 1 :])
                named = _text(key) if key is not None else f"**{_text(node.values[at])}"
                yield f"entry {named}", "gone", lambda other=other: place.put(other)
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements) if len(elements) > 1:
            caught = isinstance(place.parent, ast.ExceptHandler)
            if not caught and (
                place.lines is not None or not isinstance(place.parent, ast.Assign | ast.Call | ast.Tuple)
            ):
                return
            for at, element in enumerate(elements):
                other = type(node)(elts=elements[:at] + elements[at + 1 :])
                if hasattr(node, "ctx"):
                    other.ctx = ast.Load()  # type: ignore[attr-defined]
                what = "except" if caught else "element"
                yield f"{what} {_text(element)}", "gone", lambda other=other: place.put(other)


def _replaced(place: _Place, other: ast.AST) -> _Variant:
    return _text(place.node), _text(other), lambda: place.put(other)


def _not(test: ast.expr) -> ast.expr:
    return (
        test.operand if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) else ast.UnaryOp(ast.Not(), test)
    )


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.keyword):
        return f"{node.arg}={_text(node.value)}"
    if isinstance(node, ast.Slice):
        return f"[{_part(node.lower)}:{_part(node.upper)}]"
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]} ... {text[-_SHOWN // 2 :]}"


def _part(node: ast.expr | None) -> str:
    return "" if node is None else _text(node)
