"""Which faults `make mutants` puts into a module, and which it leaves out."""

import ast

import pytest

from tests.mutants.mutation import mutants_of, mutated


def faults(source):
    return [mutant.id.removeprefix("m ") for mutant in mutants_of("m", source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(a):\n    return a < 3\n", ["f: return a < 3 -> return None", "f: a < 3 -> a <= 3", "f: a < 3 -> a < 4"]),
        ("TABLE = {1: 'a', 2: 'b'}\n", ["entry 1 -> gone", "entry 2 -> gone"]),
        ("def f(x):\n    if x:\n        raise ValueError('no')\n", ["f: if x -> if not x", "f: raise ValueError('no') -> pass"]),
        ("class C:\n    x: Annotated[int, Meta(ge=0)] = 1\n", ["C: ge=0 -> ge=1", "C: x: Annotated[int, Meta(ge=0)] = 1 -> x: Annotated[int, Meta(ge=0)] = 2"]),
        ("def f(d):\n    return d[:500]\n", ["f: [:500] -> [:]"]),
        ("def f():\n    try:\n        g()\n    except (A, B):\n        pass\n", ["f: g() -> pass", "f: except A -> gone", "f: except B -> gone"]),
        ("def f(x):\n    match x:\n        case 1:\n            g()\n        case _:\n            h()\n", ["f: case 1 -> no case"]),
    ],
)  # fmt: skip
def test_one_thing_is_changed_at_a_time(source, expected):
    found = [fault.removeprefix("module: ") for fault in faults(source)]
    assert [one for one in expected if one not in found] == []


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring."""\n',
        'def f(a: int = None) -> \'str\':\n    """Another."""\n',
        "import a\nfrom b import c\n",
        "class C(Struct, frozen=True, kw_only=True):\n    pass\n",
        "def f():\n    assert 1 < 2\n",
        "if __name__ == '__main__':\n    sys.exit(1)\n",
        "_log = logging.getLogger('x')\n",
    ],
)
def test_what_no_test_should_pin_is_left_alone(source):
    assert faults(source) == []


def test_a_fault_is_in_the_text_and_nothing_else_is_changed():
    source = "def f(a, b):\n    return a + b if a else b - 1\n"
    whole = ast.unparse(ast.parse(source))
    texts = [mutated(mutant, source) for mutant in mutants_of("m", source)]
    assert len(set(texts)) == len(texts)
    assert whole not in texts
    assert "def f(a, b):\n    return a - b if a else b - 1" in texts


def test_the_same_change_in_two_places_has_two_names():
    found = faults("def f(a):\n    return (a + 1) * (a + 1)\n")
    assert "f: a + 1 -> a - 1" in found
    assert "f: a + 1 -> a - 1 #2" in found


def test_what_acts_at_import_is_told_from_what_runs():
    source = "X = 1 + 2\ndef f(a=3):\n    b = a\n    return b > 4\n"
    lines = {mutant.id: mutant.lines for mutant in mutants_of("m", source)}
    assert lines["m module: 1 + 2 -> 1 - 2"] is None
    assert lines["m f: b > 4 -> b >= 4"] == range(4, 5)
