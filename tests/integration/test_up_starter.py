"""A fresh site moves at once, by the model that comes with the package; and two sites stand beside each other."""

from pathlib import Path

import pytest

from edgeops.local.starter import begin
from edgeops.local.up import Site
from tests.integration.waiting import answers_change_twice

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("first"), starter=True) as site:
        yield site


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("second"), agents=1, starter=True) as site:
        yield site


def test_all_devices_change_their_answer_twice(first):
    assert begin(first) is not None
    answers_change_twice(first)
    assert len(first.agents) == 3


@pytest.mark.long
def test_a_second_site_beside_the_first_works_and_so_does_the_first(first, second):
    assert begin(second) is not None
    answers_change_twice(second)
    answers_change_twice(first)


def test_nothing_of_it_loads_tensorflow(first):
    for part in (*first.server, *first.agents):
        assert "tensorflow" not in Path(f"/proc/{part.child.pid}/maps").read_text()


def test_a_site_that_has_seen_it_does_not_begin_again(first):
    assert begin(first) is None
