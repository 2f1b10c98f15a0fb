"""What a change does is judged and written down by today's state and by what it lists, whatever the file says."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from edgeops.artifact.manifest import Promotion, encode_value
from edgeops.errors import ConflictError
from edgeops.trust.change import encode_change, sign
from edgeops.trust.draft import Draft
from edgeops.trust.repository import Repository
from edgeops.trust.signers import by_id
from fleet_server.config import ServerConfig
from fleet_server.db import audit
from fleet_server.key_changes import submit
from fleet_server.setup import init
from tests.golden.tiny import tiny_artifact, tiny_descriptor
from tests.stores import database_in

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_who_hands_in_a_change_does_not_choose_what_is_written_down_of_it(tmp_path):
    config = ServerConfig(tmp_path / "data")
    init(config, now=NOW)
    database = database_in(config.db)
    draft = Draft(Repository.open(config.repository, config.keys).base(), NOW)
    draft.list({"notes/today": b"new"})
    change = draft.finish()
    sign(change, by_id(config.keys))
    pretended = deepcopy(change.base.targets)
    pretended.signed.targets |= change.targets.signed.targets
    spoilt = replace(change, base=replace(change.base, targets=pretended))

    assert submit(config, database, encode_change(spoilt), submitted_by="somebody", now=NOW).published

    with database.read() as connection:
        (entry,) = (one for one in audit.page(connection, limit=100) if one.action == "key.change")
    assert "+ notes/today: 3 B" in entry.data["lines"]
    database.close()


def test_a_signed_change_lists_nothing_that_a_promotion_gate_refused(tmp_path):
    config = ServerConfig(tmp_path / "data")
    init(config, now=NOW)
    database = database_in(config.db)
    repository = Repository.open(config.repository, config.keys)
    refused = msgspec.structs.replace(tiny_descriptor(tiny_artifact()), promotion=Promotion(passed=False))
    draft = Draft(repository.base(), NOW)
    draft.list({"models/tiny/1-int8.json": encode_value(refused)})
    change = draft.finish()
    sign(change, by_id(config.keys))
    with pytest.raises(ConflictError, match="did not pass its promotion gate"):
        submit(config, database, encode_change(change), submitted_by="somebody", now=NOW)
    assert "models/tiny/1-int8.json" not in repository.listed()
    database.close()
