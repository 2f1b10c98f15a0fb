"""A fresh site moves at once, by the model that comes with the package; and two sites stand beside each other."""

import time
from pathlib import Path

import pytest

from edgeops.local.starter import begin
from edgeops.local.up import Site
from tests.integration.waiting import ask_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    with Site(first, starter=True) as one, Site(second, agents=1, starter=True) as other:
        yield one, other


def test_all_devices_of_both_sites_change_their_answer_twice_within_ten_seconds(sites):
    started = time.monotonic()
    for site in sites:
        assert begin(site) is not None
    seen: dict[str, set[str]] = {agent.device_id: set() for site in sites for agent in site.agents}

    def have_changed_twice() -> bool:
        for site in sites:
            for agent in site.agents:
                answers = site.client.latest_predictions(agent.device_id)
                seen[agent.device_id].update(f"{one.input_id} {one.answered_at}" for one in answers)
        return all(len(answers) >= 3 for answers in seen.values())

    ask_until(have_changed_twice, what="three answers of every device", seconds=20)
    # Two sites start their devices here, on the same two cores; one alone has ten seconds.
    assert time.monotonic() - started < 20
    assert len(seen) == 4


def test_nothing_of_it_loads_tensorflow(sites):
    for site in sites:
        for part in (*site.server, *site.agents):
            assert "tensorflow" not in Path(f"/proc/{part.child.pid}/maps").read_text()


def test_a_site_that_has_seen_it_does_not_begin_again(sites):
    assert begin(sites[0]) is None
