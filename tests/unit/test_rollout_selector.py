"""The language in which people say which devices they mean."""

from dataclasses import replace

import pytest

from edgeops import limits
from edgeops.errors import InputError
from edgeops.rollout.conditions import Condition, Operator, size_bytes, version
from edgeops.rollout.selector import (
    Any,
    Every,
    Everything,
    HasLabel,
    InGroup,
    Not,
    Online,
    groups_of,
    matches,
    misnamed,
    named,
    parse_selector,
    resolve,
)
from tests.unit.target_values import device, other_facts

EQ, NE = Operator.EQUAL, Operator.UNEQUAL


def arch(*values):
    return Condition("arch", EQ, values)


def meant(text, one, **groups):
    means = {name: parse_selector(selector) for name, selector in groups.items()}
    return matches(resolve(parse_selector(text), means), one)


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("all", Everything()),
        (" ALL ", Everything()),
        ("online", Online()),
        ("id=a-1, b-2,a-1", Condition("id", EQ, ("a-1", "b-2"))),
        ("name=pump", Condition("name", EQ, ("pump",))),
        ("arch!=armv7l", Condition("arch", NE, ("armv7l",))),
        ("memory >= 512MiB", Condition("memory", Operator.AT_LEAST, ("512MiB",))),
        ("label.site=x,y", Condition("label.site", EQ, ("x", "y"))),
        ("label.spare", HasLabel("spare")),
        ('name="pump 1", "(2)"', Condition("name", EQ, ("pump 1", "(2)"))),
        ("group=canaries", InGroup("canaries")),
        ("group=a,b", Any((InGroup("a"), InGroup("b")))),
        ("group!=a", Not(InGroup("a"))),
        ("arch=a, online", Every((arch("a"), Online()))),
        ("arch=a, all", Every((arch("a"), Everything()))),
        ("arch=a, label.spare", Every((arch("a"), HasLabel("spare")))),
        ("arch=a, not online", Every((arch("a"), Not(Online())))),
        ("arch=a,b,name=c", Every((arch("a", "b"), Condition("name", EQ, ("c",))))),
        ("arch=a,(online)", Every((arch("a"), Online()))),
        ("arch=a and online", Every((arch("a"), Online()))),
        ("arch=a or online and all", Any((arch("a"), Every((Online(), Everything()))))),
        ("(arch=a or online) and all", Every((Any((arch("a"), Online())), Everything()))),
        ("not not online", Not(Not(Online()))),
        ("not (online or all)", Not(Any((Online(), Everything())))),
        ('name="online", "all"', Condition("name", EQ, ("online", "all"))),
    ],
)
def test_a_selector_is_read(text, selector):
    assert parse_selector(text) == selector


@pytest.mark.parametrize(
    ("text", "at", "what"),
    [
        ("", 1, "a condition is missing; write all, online, or one of id, name"),
        ("somebody", 1, "unknown key 'somebody', or did you mean 'label.somebody'?; known are id, name"),
        ("arhc=arm64", 1, "unknown key 'arhc', did you mean 'arch'?"),
        ("all, runtime-version>=2", 6, "did you mean 'runtime_version'?"),
        ("lable.hall=3", 1, "did you mean 'label.hall'?"),
        ("labels.hall=3", 1, "did you mean 'label.hall'?"),
        ("hall=3", 1, "or did you mean 'label.hall'?; known are id, name"),
        ("a$b=3", 1, "unknown key 'a$b'; known"),
        ("ID=a", 1, "did you mean 'id'?"),
        ("label.=x", 1, "unknown key 'label.'"),
        ("label." + "k" * 64 + "=x", 1, "unknown key"),
        ("id=", 4, "id says no value; write for example id=..."),
        ("id", 1, "id says no value"),
        ("id=,a", 4, "id says no value"),
        ("all and", 8, "a condition is missing"),
        ("all and or", 9, "a condition is missing"),
        ("not", 4, "a condition is missing"),
        ("id=a,,b", 6, "a condition is missing"),
        ("id=a,", 6, "a condition is missing"),
        ("id=a, and", 7, "a condition is missing"),
        ("id=a, or", 7, "a condition is missing"),
        ("gruop=a", 1, "did you mean 'group'?"),
        ("all online", 5, "'online' is not expected; put `and`, `or` or a comma between conditions"),
        ("(all", 5, "a parenthesis is not closed"),
        ("all)", 4, "')' is not expected"),
        ("name=a!b", 7, "'!' is not expected"),
        ('name="a', 6, "'\"' is not expected"),
        ("arch>=b", 1, "arch is a text and cannot be compared with >=; use = or !="),
        ("group>a", 1, "a group cannot be compared with >; use = or !="),
        ("memory>=big", 1, "memory is a size, not 'big'; write for example 512MiB"),
        ("memory>=1MiB,2MiB", 1, "memory can be compared with one value by >=, not with 1MiB, 2MiB"),
        ("runtime_version>=new", 1, "runtime_version is a version, not 'new'; write for example 2.14"),
        ("all, python=x", 6, "python is a version"),
    ],
)
def test_what_is_no_selector_is_refused_with_the_place_and_what_is_known(text, at, what):
    with pytest.raises(InputError) as caught:
        parse_selector(text)
    assert f"at character {at}, " in str(caught.value)
    assert what in str(caught.value)
    assert text[:50] in str(caught.value)


def test_a_selector_has_bounds():
    assert parse_selector("all" + " " * (limits.MAX_SELECTOR_LENGTH - 3)) == Everything()
    with pytest.raises(InputError, match="a selector of 2001 characters; 2000 are allowed"):
        parse_selector("all" + " " * (limits.MAX_SELECTOR_LENGTH - 2))
    deep = limits.MAX_SELECTOR_DEPTH - 1
    assert parse_selector("(" * deep + "all" + ")" * deep) == Everything()
    with pytest.raises(InputError, match="32 levels are allowed"):
        parse_selector("(" * (deep + 1) + "all" + ")" * (deep + 1))


def test_all_that_is_known_is_named():
    known = "id, name, deployment, site, sensor, arch, board, os, runtime, runtime_version, python, agent, memory, disk"
    with pytest.raises(InputError, match=f"one of {known}, group, label.<key> with a value$"):
        parse_selector("")
    with pytest.raises(InputError, match=f"known are {known}, group, label.<key>, all, online$"):
        parse_selector("x=1")


def test_many_parts_side_by_side_are_not_deep():
    assert len(parse_selector(" or ".join(["online"] * 100)).parts) == 100


SENSING = other_facts(os="Debian 12", sensors={"gas": ("vibration",), "vib": ("temperature",)})
PUMP = device("pump", "gas", "vibration", hall="a")


@pytest.mark.parametrize(
    "text",
    [
        "all", "online", "id=pump-0001", "id=x,pump-0001", "id=*-0001", "id=pump-000?", "name=pump", "name=p*,x",
        "name!=fan", "deployment=vibration", "arch=aarch64", "arch=a*64", "arch!=x86_64", "runtime=litert",
        "runtime_version=2.14", "runtime_version=2", "runtime_version=2.14.0", "runtime_version>=2.14",
        "runtime_version>=2.13.9", "runtime_version>2.9", "runtime_version<=2.14", "runtime_version<2.15",
        "runtime_version<3", "runtime_version!=2.1", "python>=3.11", "python>3.11.1", "agent=0.1", "agent<0.2",
        "memory>=1GiB", "memory=1024MiB", "memory<=1GiB", "memory>1GB", "disk>1.5GiB", "disk!=1B",
        "label.hall=a", "label.hall", "label.hall!=b", "label.floor!=1", "not label.floor", "not name=fan",
        "name=fan or online", "online, name=pump", "not (name=fan or name=mixer)", "group=pumps", "group!=fans",
        "sensor=vibration", "sensor=microphone,vibration", "sensor=temperature", "label.site=plant-1", "label.site", 'os="Debian 1?"', "site=plant-1", "site!=plant-2",
    ],
)  # fmt: skip
def test_a_device_is_meant(text):
    one = replace(PUMP, facts=SENSING, labels={"hall": "a", "site": "plant-1"})
    assert meant(text, one, fans="name=fan", pumps="name=pump")
    assert not meant(f"not ({text})", one, fans="name=fan", pumps="name=pump")


@pytest.mark.parametrize(
    "text",
    [
        "id=pump-001", "id=pump", "name=PUMP", "name=p?mp?", "name!=pump", "name!=fan,pump", "name=fan,mixer",
        "deployment=thermal", "deployment!=gas", "arch=aarch", "runtime_version=2.1", "runtime_version=2.14.1",
        "runtime_version>2.14", "runtime_version<2.14", "runtime_version>=2.15", "runtime_version<=2.13",
        "python>3.11.2", "memory>1GiB", "memory<1GiB", "memory>=1.1GiB", "memory!=1GiB", "label.hall=b", "label.floor",
        "label.floor=a", "not online", "name=pump and name=fan", "online, name=fan", "name=fan or not online",
        "group=fans", "group!=fans,pumps", "sensor=microphone", "sensor!=vibration", "site=plant", "site=plant-2",
    ],
)  # fmt: skip
def test_a_device_is_not_meant(text):
    one = replace(PUMP, facts=SENSING, labels={"hall": "a", "site": "plant-1"})
    assert not meant(text, one, fans="name=fan", pumps="name=pump")


def test_brackets_are_no_wildcards():
    assert meant('name="a[b]"', device("a[b]"))
    assert not meant('name="a[b]"', device("ab"))


@pytest.mark.parametrize("text", ["arch=*", "runtime_version>=0", "memory>=0", "site=*", "sensor=*", "agent>=9"])
def test_who_has_not_reported_it_does_not_meet_a_condition(text):
    silent = replace(device("pump", facts=None), agent_version="")
    assert not meant(text, silent)


def test_a_version_that_is_none_meets_no_comparison():
    odd = device(facts=other_facts(runtime_version="nightly"))
    assert not meant("runtime_version>=0", odd)
    assert not meant("runtime_version<9", odd)
    assert not meant("runtime_version=2", odd)
    assert meant("runtime_version!=2", odd)


def test_a_version_shorter_than_what_it_is_compared_with_counts_as_followed_by_zeros():
    short = device(facts=other_facts(runtime_version="2.14"))
    assert meant("runtime_version>=2.14.0", short)
    assert meant("runtime_version<=2.14.0", short)
    assert meant("runtime_version<2.14.1", short)
    assert not meant("runtime_version=2.14.0", short)


@pytest.mark.parametrize(
    ("text", "size"),
    [("5", 5), ("5B", 5), ("2KiB", 2048), ("1.5MiB", 3 * 2**19), ("2GiB", 2**31), ("3kb", 3000), ("3MB", 3 * 10**6), ("1gb", 10**9)],
)  # fmt: skip
def test_sizes_are_read(text, size):
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1TiBx", "1XB", "1.2.3", "1e3"])
def test_what_is_no_size_is_none(text):
    assert size_bytes(text) is None


def test_versions_are_read_up_to_what_is_no_number():
    assert version("0.1.0.dev0") == (0, 1, 0)
    assert version("v2.14") == (2, 14)
    assert version("2.14rc1") == (2, 14)
    assert version("x2") is None


def test_a_group_stands_for_its_selector_wherever_it_is_named():
    groups = {"a": parse_selector("name=fan"), "b": parse_selector("online")}
    assert resolve(parse_selector("not group=a and (group=b or all)"), groups) == Every(
        (Not(Condition("name", EQ, ("fan",))), Any((Online(), Everything())))
    )
    assert resolve(Everything(), groups) == Everything()


def test_a_group_that_is_not_there_is_told_with_what_is():
    with pytest.raises(InputError, match="no group 'canary', did you mean 'canaries'\\?; known are canaries, spare"):
        resolve(parse_selector("not group=canary"), {"spare": Everything(), "canaries": Everything()})
    with pytest.raises(InputError, match="no group 'x'; known are none yet: edgeops group set NAME SELECTOR"):
        resolve(InGroup("x"), {})


def test_the_groups_of_a_selector_are_found():
    assert groups_of(parse_selector("group=a and not (group=b or online)")) == {"a", "b"}
    assert groups_of(parse_selector("all")) == frozenset()


def test_values_that_are_expected_to_exist_are_those_without_wildcards():
    selector = parse_selector("id=a,b* and (not id=c or name=d) and id!=e and id=f?,a")
    assert named(selector, "id") == ("a", "c")
    assert named(selector, "name") == ("d",)
    assert named(parse_selector("online"), "id") == ()


def test_an_unresolved_group_is_a_bug():
    with pytest.raises(AssertionError, match="group a was not resolved"):
        matches(InGroup("a"), PUMP)


@pytest.mark.parametrize("name", ["gas", "a-1", "x" * 63])
def test_what_can_be_a_name_of_a_group_is_not_wrong(name):
    assert misnamed(name) is None


@pytest.mark.parametrize(("name", "shown"), [("No", "'No'"), ("x" * 100, "'" + "x" * 80 + "'")])
def test_what_cannot_is_shown_as_far_as_a_line_takes_it_with_what_can(name, shown):
    assert misnamed(name) == f"not a group name: {shown}; use 3 to 63 of a-z, 0-9 and -"
