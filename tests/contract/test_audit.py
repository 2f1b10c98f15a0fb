"""The audit trail through the API and the command line."""

import json
import shutil

import pytest

from edgeops.api.roles import Role
from edgeops.cli.app import run
from edgeops.exits import Exit
from fleet_server import trail
from fleet_server.freshness import Freshness
from tests.contract.rig import ApiRig, assert_problem


@pytest.fixture
def rig(tmp_path):
    rig = ApiRig(tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def edgeops(rig, capsys):
    def call(*line, code=Exit.OK):
        assert run([*line, "--url", rig.url, "--token", rig.tokens[Role.VIEWER]]) == code
        return capsys.readouterr().out

    return call


def tamper(rig, statement):
    with rig.database.write() as connection:
        connection.exec_driver_sql(statement)


def anchor(rig):
    Freshness(rig.config, rig.database).keep(rig.now)


def keep(rig, folder):
    """What any device has in its state folder."""
    folder.mkdir()
    shutil.copy(rig.config.metadata / "1.root.json", folder / "root.json")
    shutil.copy(rig.config.metadata / "timestamp.json", folder / "timestamp.json")
    return folder


def test_decisions_are_listed_newest_first_in_pages(rig):
    rig.client().create_token("zoe", Role.VIEWER)
    first = rig.request("GET", "/api/v1/audit?limit=2", role=Role.VIEWER).json()
    assert (first["items"][0]["actor"], first["items"][0]["action"]) == ("a admin", "token.created")
    ids = [one.id for one in rig.client(Role.VIEWER).audit.entries()]
    assert ids == sorted(ids, reverse=True)
    assert first["next"]


def test_an_export_is_checked_without_the_server(rig, edgeops, tmp_path, capsys):
    file = tmp_path / "trail.ndjson"
    file.write_bytes(b"".join(rig.client(Role.VIEWER).audit.export()))
    assert run(["audit", "verify", "--export", str(file)]) == Exit.OK
    assert "the chain holds" in capsys.readouterr().out


def test_a_changed_entry_is_named_by_the_server(rig, edgeops):
    tamper(rig, "UPDATE audit SET actor = 'nobody' WHERE id = 3")
    told = json.loads(edgeops("audit", "verify", "--json", code=Exit.FAILED))
    assert (told["sound"], told["broken_at"]) == (False, 3)


def test_a_cut_tail_is_seen_against_the_signed_head_even_by_the_server_itself(rig, edgeops):
    anchor(rig)
    assert json.loads(edgeops("audit", "verify", "--json"))["sound"]
    tamper(rig, "DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)")
    assert "the tail was cut off" in edgeops("audit", "verify", code=Exit.FAILED)


def test_a_server_does_not_sign_over_a_cut_trail_and_names_what_it_signed_last(rig, edgeops):
    anchor(rig)
    signed = json.loads(edgeops("audit", "verify", "--json"))
    tamper(rig, "DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)")
    anchor(rig)
    rig.client().create_token("later", Role.VIEWER)
    rig.client().create_token("even later", Role.VIEWER)
    anchor(rig)
    assert signed["head"] in edgeops("audit", "verify", code=Exit.FAILED)
    told = json.loads(edgeops("audit", "verify", "--json", code=Exit.FAILED))
    assert (told["signed_entries"], told["signed_head"]) == (signed["entries"], signed["head"])


def test_a_kept_timestamp_convicts_a_server_that_cut_its_trail_and_signed_anew(rig, tmp_path, capsys):
    anchor(rig)
    witness = keep(rig, tmp_path / "kept")
    tamper(rig, "DELETE FROM audit WHERE id > (SELECT max(id) - 2 FROM audit)")
    trail.accept(rig.config, rig.database, remark="I say so", now=rig.now)
    assert rig.client(Role.VIEWER).audit.verify().sound, "the server says that all is well"
    file = tmp_path / "trail.ndjson"
    file.write_bytes(b"".join(rig.client(Role.VIEWER).audit.export()))
    assert run(["audit", "verify", "--export", str(file), "--metadata", str(witness)]) == Exit.FAILED
    assert "the tail was cut off" in capsys.readouterr().out


def test_a_kept_timestamp_vouches_for_a_trail_that_went_on(rig, tmp_path):
    anchor(rig)
    witness = keep(rig, tmp_path / "kept")
    rig.client().create_token("later", Role.VIEWER)
    file = tmp_path / "trail.ndjson"
    file.write_bytes(b"".join(rig.client(Role.VIEWER).audit.export()))
    assert run(["audit", "verify", "--export", str(file), "--metadata", str(witness)]) == Exit.OK


def test_a_file_that_is_no_export_is_refused_by_its_line(tmp_path, capsys):
    (tmp_path / "x").write_text("{}\n")
    assert run(["audit", "verify", "--export", str(tmp_path / "x")]) == Exit.FAILED
    assert "line 1" in capsys.readouterr().err


def test_nobody_reads_the_trail_without_a_token(rig):
    assert_problem(rig.request("GET", "/api/v1/audit/export"), 401)
