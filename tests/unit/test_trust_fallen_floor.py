"""The trust child where the newest root has let the time floor fall: judged once more, by the clock alone."""

from datetime import timedelta

import pytest

from edgeops import limits
from edgeops.trust.client import verify
from edgeops.trust.frames import Ask, FailureKind, Result
from edgeops.trust.reissue import Reissue
from tests.integration.trust_rig import DESCRIPTOR, FunctionFetcher, Site, kind_of

LIE = timedelta(days=300)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def ask(site, *, keys, floor=LIE, clock=timedelta(0)):
    """By a floor that stands so far ahead, told under these timestamp keys."""
    question = Ask(
        targets=(DESCRIPTOR,),
        max_bytes=limits.MAX_MANIFEST_BYTES,
        now=int((site.now + floor).timestamp()),
        without_floor=None if clock is None else int((site.now + clock).timestamp()),
        timestamp_keys=keys,
    )
    return verify(site.state, question, fetcher=FunctionFetcher(site.read))


def keys_of(site):
    answer = site.ask()
    assert isinstance(answer, Result)
    return answer.timestamp_keys


def test_the_answer_names_the_timestamp_keys_of_the_newest_root(site):
    before = keys_of(site)
    assert before == tuple(site.repository.base().root.signed.roles["timestamp"].keyids)
    Reissue(site.served, site.keys).replace_keys({}, site.now)
    assert keys_of(site) != before


def test_under_the_keys_that_it_was_told_under_the_floor_judges(site):
    assert kind_of(ask(site, keys=keys_of(site))) is FailureKind.EXPIRED


def test_under_other_keys_the_clock_alone_judges(site):
    before = keys_of(site)
    Reissue(site.served, site.keys).replace_keys({}, site.now)
    answer = ask(site, keys=before)
    assert isinstance(answer, Result)
    assert answer.targets[DESCRIPTOR] is not None
    assert answer.timestamp_keys != before
    assert kind_of(ask(site, keys=answer.timestamp_keys)) is FailureKind.EXPIRED, "a floor of today is none of theirs"


def test_what_has_ended_by_the_clock_too_is_refused(site):
    before = keys_of(site)
    Reissue(site.served, site.keys).replace_keys({}, site.now)
    assert kind_of(ask(site, keys=before, clock=limits.TIMESTAMP_LIFE)) is FailureKind.EXPIRED


def test_other_trouble_is_not_asked_about_twice(site):
    before = keys_of(site)
    Reissue(site.served, site.keys).replace_keys({}, site.now)
    (site.served / "metadata" / "timestamp.json").unlink()
    assert kind_of(ask(site, keys=before)) is FailureKind.MISSING


@pytest.mark.parametrize(("keys", "clock"), [((), timedelta(0)), (("aa",), None)])
def test_where_no_floor_is_known_nothing_falls(site, keys, clock):
    assert kind_of(ask(site, keys=keys, clock=clock)) is FailureKind.EXPIRED
