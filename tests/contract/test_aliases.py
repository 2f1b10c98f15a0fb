"""Champion and challenger through the API: who may give them, what is remembered, what is refused."""

import pytest

from edgeops.api.roles import Role
from edgeops.api.shapes import Alias
from edgeops.errors import NotFoundError
from fleet_server.db import audit, events
from tests.contract.rig import ApiRig, assert_problem
from tests.contract.trained import MODEL, add_dataset, add_version


@pytest.fixture
def rig(tmp_path):
    rig = ApiRig(tmp_path)
    snapshot = add_dataset(rig.config, rig.database, rig.now)
    rig.descriptors = {
        version: add_version(rig.config, rig.database, version, rig.now, snapshot=snapshot) for version in (1, 2)
    }
    yield rig
    rig.close()


def test_a_version_becomes_champion_and_the_model_shows_it(rig):
    client = rig.client(Role.OPERATOR)
    assert (client.model(MODEL).champion, client.model(MODEL).challenger) == (None, None)
    change = client.set_alias(MODEL, Alias.CHAMPION, 1, remark="it served us well")
    assert (change.alias, change.version, change.actor, change.reason) == (
        "champion", 1, "a operator", "it served us well",
    )  # fmt: skip
    client.set_alias(MODEL, Alias.CHALLENGER, 2)
    assert (client.model(MODEL).champion, client.model(MODEL).challenger) == (1, 2)
    assert [(one.champion, one.challenger) for one in client.models()] == [(1, 2)]


def test_the_challenger_that_is_promoted_is_challenger_no_longer(rig):
    client = rig.client(Role.OPERATOR)
    client.set_alias(MODEL, Alias.CHALLENGER, 2)
    client.set_alias(MODEL, Alias.CHAMPION, 2)
    assert (client.model(MODEL).champion, client.model(MODEL).challenger) == (2, None)


def test_history_only_grows_and_is_told_newest_first(rig):
    client = rig.client(Role.OPERATOR)
    for version in (1, 2, 1, None):
        rig.pass_time()
        client.set_alias(MODEL, Alias.CHAMPION, version)
    history = list(client.aliases(MODEL))
    assert [one.version for one in history] == [None, 1, 2, 1]
    assert [one.at for one in history] == sorted((one.at for one in history), reverse=True)


def test_giving_it_again_changes_and_tells_nothing(rig):
    client = rig.client(Role.OPERATOR)
    first = client.set_alias(MODEL, Alias.CHAMPION, 1, remark="once")
    assert client.set_alias(MODEL, Alias.CHAMPION, 1, remark="twice") == first
    with rig.database.read() as connection:
        entries = [one for one in audit.page(connection, limit=100) if one.action == "alias.changed"]
        news = events.after(connection, 0, ["alias.changed"])
    assert [(one.actor, one.subject, one.remark, one.data) for one in entries] == [
        ("a operator", MODEL, "once", {"alias": "champion", "version": 1})
    ]
    assert [(one.subject, one.data["version"], one.data["before"]) for one in news] == [(MODEL, 1, None)]


def test_history_comes_in_parts(rig):
    client = rig.client(Role.OPERATOR)
    for number in range(5):
        client.set_alias(MODEL, Alias.CHAMPION, 1 + number % 2)
    seen, query = [], "limit=2"
    while query:
        answer = rig.request("GET", f"/api/v1/models/{MODEL}/aliases?{query}", role=Role.VIEWER).json()
        seen += [one["version"] for one in answer["items"]]
        query = answer["next"] and f"limit=2&cursor={answer['next']}"
    assert seen == [1, 2, 1, 2, 1]


def test_what_does_not_exist_cannot_be_champion(rig):
    client = rig.client(Role.OPERATOR)
    for attempt, reason in (
        (lambda: client.set_alias("nothing", Alias.CHAMPION, 1), "no model 'nothing'"),
        (lambda: client.set_alias(MODEL, Alias.CHAMPION, 9), "no version 9"),
        (lambda: client.set_alias(MODEL, Alias.CHAMPION, None), "ever was champion"),
        (lambda: list(client.aliases("nothing")), "no model 'nothing'"),
    ):
        with pytest.raises(NotFoundError, match=reason):
            attempt()


@pytest.mark.parametrize(
    ("alias", "body"),
    [("king", {"version": 1}), ("champion", {"version": 0}), ("champion", {}), ("champion", {"version": 1, "x": 2})],
)
def test_a_request_that_is_none_is_refused(rig, alias, body):
    answer = rig.request("PUT", f"/api/v1/models/{MODEL}/aliases/{alias}", role=Role.OPERATOR, json=body)
    assert_problem(answer, 422)


def test_a_model_shows_what_its_gate_said(rig):
    shown, said = rig.client(Role.VIEWER).version(MODEL, 1).artifacts[0].promotion, rig.descriptors[1].promotion
    assert (shown.passed, shown.rules, shown.unseen_rows) == (said.passed, said.rules, said.unseen_rows)
