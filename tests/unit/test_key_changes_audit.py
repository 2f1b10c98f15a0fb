"""What the audit trail says of a change of keys is what it did to today's state, whatever the file says it was made of."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime

from edgeops.trust.change import encode_change, sign
from edgeops.trust.draft import Draft
from edgeops.trust.repository import Repository
from edgeops.trust.signers import by_id
from fleet_server.config import ServerConfig
from fleet_server.db import audit
from fleet_server.key_changes import submit
from fleet_server.setup import init
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
