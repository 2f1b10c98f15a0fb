"""Selectors: which devices are meant, in a line of text that can be kept and read again.

    all                              every device
    id=a,b  name=pump-*              one of these; `*` and `?` stand for characters
    label.site=plant-1  label.spare  a label with a value, or with any
    arch=aarch64  memory>=512MiB     what the device reported; sensor=x: a column of its sources
    site=plant-1                     short for label.site
    group=canaries                   a group of this fleet
    online                           connected now

Put together by `and` (or a comma), `or`, `not` and parentheses; `and` binds more tightly than `or`. A comma before a
bare word goes on with the values of the condition before it. It knows no fleet: whether anything matches is asked of
each device by `matches`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from edgeops import limits
from edgeops.errors import InputError
from edgeops.protocol.topics import is_id
from edgeops.rollout.candidate import Candidate
from edgeops.rollout.conditions import GROUP, KEYS, LABEL, Condition, Kind, Operator, misuse

_TOKEN = re.compile(
    r"\s*(?:(?P<mark>>=|<=|!=|[=<>(),])|\"(?P<quoted>[^\"]*)\"|(?P<word>[^\s=<>!(),\"]+)|(?P<wrong>\S))"
)
_LABEL_KEY = re.compile(r"[A-Za-z0-9_.-]{1,63}")
_KNOWN = (*KEYS, GROUP, "label.<key>")
_WORDS = ("and", "or", "not", "all", "online")


@dataclass(frozen=True, slots=True)
class Everything:
    """Every device."""


@dataclass(frozen=True, slots=True)
class Online:
    """Devices that are connected."""


@dataclass(frozen=True, slots=True)
class HasLabel:
    """Devices that carry a label, whatever its value."""

    key: str


@dataclass(frozen=True, slots=True)
class InGroup:
    """Devices of a group; `resolve` puts the group's own selector in its place."""

    name: str


@dataclass(frozen=True, slots=True)
class Not:
    """Devices that the part does not mean."""

    part: "Selector"


@dataclass(frozen=True, slots=True)
class Every:
    """Devices that all parts mean."""

    parts: "tuple[Selector, ...]"


@dataclass(frozen=True, slots=True)
class Any:
    """Devices that one of the parts means."""

    parts: "tuple[Selector, ...]"


Selector = Everything | Online | HasLabel | InGroup | Condition | Not | Every | Any


def parse_selector(text: str) -> Selector:
    """Read a selector.

    Raises:
        InputError: it is none; the message says where, and what is known there.
    """
    if len(text) > limits.MAX_SELECTOR_LENGTH:
        raise InputError(f"a selector of {len(text)} characters; {limits.MAX_SELECTOR_LENGTH} are allowed: use a group")
    return _Reader(text).read()


def matches(selector: Selector, one: Candidate) -> bool:
    """Whether a device is meant; groups must have been resolved."""
    match selector:
        case Everything():
            return True
        case Online():
            return one.online
        case HasLabel(key):
            return key in one.labels
        case Condition():
            return selector.is_met_by(one)
        case Not(part):
            return not matches(part, one)
        case Every(parts) | Any(parts):
            each = (matches(part, one) for part in parts)
            return all(each) if isinstance(selector, Every) else any(each)
        case InGroup(name):
            raise AssertionError(f"group {name} was not resolved")


def resolve(selector: Selector, groups: Mapping[str, Selector]) -> Selector:
    """The same with each group replaced by what it means.

    Raises:
        InputError: there is no such group.
    """
    match selector:
        case InGroup(name):
            if name not in groups:
                raise InputError(f"no group {name[:80]!r}{_guess(name, groups)}; known are {_list(groups)}")
            return groups[name]
        case Not(part):
            return Not(resolve(part, groups))
        case Every(parts):
            return Every(tuple(resolve(part, groups) for part in parts))
        case Any(parts):
            return Any(tuple(resolve(part, groups) for part in parts))
        case _:
            return selector


def named(selector: Selector, key: str) -> tuple[str, ...]:
    """The values, without wildcards, that the selector says of a key with `=`: each is expected to exist."""
    return tuple(dict.fromkeys(_named(selector, key)))


def misnamed(group: str) -> str | None:
    """What is wrong with the name of a group, for people; None = nothing."""
    return None if is_id(group) else f"not a group name: {group[:80]!r}; use 3 to 63 of a-z, 0-9 and -"


def groups_of(selector: Selector) -> frozenset[str]:
    """The groups that a selector names."""
    match selector:
        case InGroup(name):
            return frozenset({name})
        case Not(part):
            return groups_of(part)
        case Every(parts) | Any(parts):
            return frozenset().union(*(groups_of(part) for part in parts))
        case _:
            return frozenset()


def _named(selector: Selector, key: str) -> Iterator[str]:
    match selector:
        case Condition(found, Operator.EQUAL, values) if found == key:
            yield from (value for value in values if not set("*?") & set(value))
        case Not(part):
            yield from _named(part, key)
        case Every(parts) | Any(parts):
            for part in parts:
                yield from _named(part, key)
        case _:
            pass


def _guess(name: str, known: "Mapping[str, object] | tuple[str, ...]") -> str:
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f", did you mean {near[0]!r}?" if near else ""


def _meant(key: str) -> str:
    """What an unknown key may have been meant to be: a known one, or a label without `label.`."""
    first, dot, rest = key.partition(".")
    if dot and get_close_matches(first.lower(), ["label"], cutoff=0.6):
        return f", did you mean {LABEL + rest!r}?"
    near = _guess(key.lower(), (*KEYS, GROUP))
    return near or (f", or did you mean {LABEL + key!r}?" if _LABEL_KEY.fullmatch(key) else "")


def _list(known: Mapping[str, object]) -> str:
    return ", ".join(sorted(known)[: limits.NAMED_IN_ERRORS]) or "none yet: edgeops group set NAME SELECTOR"


@dataclass(frozen=True, slots=True)
class _Token:
    #: `mark`, `word`, `quoted`, or `end`.
    kind: str
    text: str
    #: Its first character, counted from 1.
    at: int

    def is_mark(self, *texts: str) -> bool:
        return self.kind == "mark" and self.text in texts

    def is_word(self, *texts: str) -> bool:
        return self.kind == "word" and self.text.lower() in texts


class _Reader:
    """Recursive descent, one method a rule."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())
        self._next = 0
        self._depth = 0

    def read(self) -> Selector:
        selector = self._any()
        if self._here.kind != "end":
            raise self._error(f"{self._here.text!r} is not expected", "put `and`, `or` or a comma between conditions")
        return selector

    # -- rules

    def _any(self) -> Selector:
        parts = [self._every()]
        while self._here.is_word("or"):
            self._take()
            parts.append(self._every())
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _every(self) -> Selector:
        parts = [self._part()]
        while self._here.is_word("and") or self._here.is_mark(","):
            self._take()
            parts.append(self._part())
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _part(self) -> Selector:
        self._depth += 1
        if self._depth > limits.MAX_SELECTOR_DEPTH:
            raise self._error("too many parts inside parts", f"{limits.MAX_SELECTOR_DEPTH} levels are allowed")
        try:
            if self._here.is_word("not"):
                self._take()
                return Not(self._part())
            if self._here.is_mark("("):
                self._take()
                inner = self._any()
                if not self._here.is_mark(")"):
                    raise self._error("a parenthesis is not closed", "add `)`")
                self._take()
                return inner
            return self._condition()
        finally:
            self._depth -= 1

    def _condition(self) -> Selector:
        key = self._here
        if key.kind != "word" or key.is_word("and", "or"):
            known = ", ".join(_KNOWN)
            raise self._error("a condition is missing", f"write all, online, or one of {known} with a value")
        self._take()
        if not self._here.is_mark(*Operator):
            return self._bare(key)
        operator = Operator(self._take().text)
        self._require_known(key)
        values = self._values(key)
        if key.text == GROUP:
            return self._in_group(key, operator, values)
        kind = KEYS[key.text].kind if key.text in KEYS else Kind.TEXT
        wrong = misuse(kind, operator, values)
        if wrong is not None:
            raise self._error(f"{key.text} {wrong}", "", key.at)
        return Condition(key.text, operator, values)

    def _bare(self, key: _Token) -> Selector:
        if key.is_word("all"):
            return Everything()
        if key.is_word("online"):
            return Online()
        self._require_known(key)
        if key.text.startswith(LABEL):
            return HasLabel(key.text.removeprefix(LABEL))
        raise self._error(f"{key.text} says no value", f"write for example {key.text}=...", key.at)

    def _in_group(self, key: _Token, operator: Operator, names: tuple[str, ...]) -> Selector:
        if operator not in {Operator.EQUAL, Operator.UNEQUAL}:
            raise self._error(f"a group cannot be compared with {operator}", "use = or !=", key.at)
        groups = tuple(InGroup(name) for name in names)
        either = groups[0] if len(groups) == 1 else Any(groups)
        return either if operator is Operator.EQUAL else Not(either)

    def _values(self, key: _Token) -> tuple[str, ...]:
        values = [self._value(key)]
        while self._here.is_mark(",") and self._goes_on():
            self._take()
            values.append(self._take().text)
        return tuple(dict.fromkeys(values))

    def _value(self, key: _Token) -> str:
        if self._here.kind not in {"word", "quoted"}:
            raise self._error(f"{key.text} says no value", f"write for example {key.text}=...")
        return self._take().text

    def _goes_on(self) -> bool:
        """Whether what follows the comma is a further value, and no condition."""
        value = self._tokens[self._next + 1]
        if value.kind == "end" or self._tokens[self._next + 2].is_mark(*Operator):
            return False
        if value.kind == "quoted":
            return True
        return value.kind == "word" and not value.is_word(*_WORDS) and not value.text.startswith(LABEL)

    # -- tokens

    def _split(self) -> Iterator[_Token]:
        end = len(self._text.rstrip())
        for match in _TOKEN.finditer(self._text, 0, end):
            kind = str(match.lastgroup)
            if kind == "wrong":
                what = f"{match[kind]!r} is not expected"
                raise self._error(what, 'put a value with it into "..."', match.start(kind) + 1)
            yield _Token(kind, match[kind], match.start(kind) + 1)
        yield _Token("end", "", end + 1)

    @property
    def _here(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        self._next += 1
        return self._tokens[self._next - 1]

    def _require_known(self, key: _Token) -> None:
        if key.text in KEYS or key.text == GROUP:
            return
        label = key.text.removeprefix(LABEL)
        if key.text.startswith(LABEL) and _LABEL_KEY.fullmatch(label):
            return
        guess = _meant(key.text)
        known = f"known are {', '.join(_KNOWN)}, all, online"
        raise self._error(f"unknown key {key.text[:60]!r}{guess}", known, key.at)

    def _error(self, what: str, remedy: str, at: int | None = None) -> InputError:
        place = self._here.at if at is None else at
        shown = self._text if len(self._text) <= 120 else self._text[:120] + "..."
        return InputError(
            f"not a selector: {shown!r}: at character {place}, {what}" + (f"; {remedy}" if remedy else "")
        )
