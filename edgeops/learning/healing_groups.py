"""Which groups the rollout of a healed model names, as its retraining policy says, and which of them are missing.

It knows no fleet: the groups that there are come from outside.
"""

from collections.abc import Iterable, Iterator

from edgeops.errors import InputError
from edgeops.learning.triggers import RetrainPolicy
from edgeops.rollout.objection import Objection
from edgeops.rollout.selector import Everything, Selector, groups_of, parse_selector, resolve
from edgeops.rollout.waves import ChosenWave, parse_waves


def groups_named(policy: RetrainPolicy) -> frozenset[str]:
    """The groups that the selector and the waves of a policy name."""
    return frozenset().union(*(groups_of(selector) for _, selector in _selectors(policy)))


def missing_groups(policy: RetrainPolicy, known: Iterable[str]) -> Iterator[Objection]:
    """What a policy says of groups that are not known, with its place in the policy."""
    groups = dict.fromkeys(known, Everything())
    for pointer, selector in _selectors(policy):
        try:
            resolve(selector, groups)
        except InputError as error:
            yield Objection(pointer, str(error))


def _selectors(policy: RetrainPolicy) -> Iterator[tuple[str, Selector]]:
    yield "#/selector", parse_selector(policy.selector)
    for number, wave in enumerate(parse_waves(policy.waves)):
        if isinstance(wave, ChosenWave):
            yield f"#/waves/{number}", wave.selector
