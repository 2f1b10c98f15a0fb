"""`edgeops key` and `edgeops model sign` against a real API, a real job desk and the files of its data folder."""

import json

import pytest

from edgeops.artifact.acceptance import acceptance_path, decode_acceptance
from edgeops.exits import Exit
from edgeops.trust.repository import Repository
from fleet_server.blobs import Blobs
from tests.contract.trained import DATASET, MODEL
from tests.delegating import delegate
from tests.golden.tiny import LABELS
from tests.integration.key_rig import AUTO, SIGNED, Site

pytestmark = pytest.mark.processes


@pytest.fixture
def site(tmp_path, capsys):
    site = Site(tmp_path, capsys)
    yield site
    site.close()


def test_a_delegation_comes_with_an_acceptance_set_from_frozen_rows_and_floors_below_todays_model(site):
    site.run("publish", "tiny@1")
    answer = site.answer("key", "delegate", MODEL, "--yes")

    shown = answer["acceptance"]
    assert (shown["dataset"], shown["version"]) == (DATASET, 1)
    assert shown["inputs"] == 120, "the fifth of 600 rows that was held out"
    assert shown["floor"] == pytest.approx(shown["accuracy"] - 0.05)
    assert [one["label"] for one in shown["classes"]] == list(LABELS)
    assert all(one["floor"] == pytest.approx(one["accuracy"] - 0.15) for one in shown["classes"])
    assert site.repository.delegations()[MODEL].key_id == answer["delegation"]["key_id"]
    listed = site.repository.listed()[acceptance_path(MODEL)]
    file = site.config.targets / f"models/tiny/{listed.sha256}.acceptance"
    signed = decode_acceptance(file.read_bytes())
    assert len(signed) == 120
    assert signed.floors.overall == pytest.approx(shown["floor"])


def test_the_acceptance_set_is_shown_to_a_person(site):
    shown = site.run("key", "delegate", MODEL, "--yes", "--version", "1", "--floor", "0.8", "--class-floor", "0.5")
    assert "120 evaluation rows of tiny-rows" in shown.out
    assert "80.0%" in shown.out
    for label in LABELS:
        assert label in shown.out
    assert "edgeops key undelegate tiny" in shown.err


def test_a_dry_run_signs_nothing(site):
    assert site.answer("key", "delegate", MODEL, "--version", "1", "--dry-run")["delegation"] is None
    assert site.repository.delegations() == {}
    assert acceptance_path(MODEL) not in site.repository.listed()


def test_nobody_signs_unasked(site):
    shown = site.run("key", "delegate", MODEL, "--version", "1", code=Exit.USAGE)
    assert "--yes" in shown.err
    assert "120 evaluation rows" in shown.out, "what the question is about"
    assert site.repository.delegations() == {}


def test_a_floor_that_todays_model_does_not_reach_is_refused(site):
    shown = site.run("key", "delegate", MODEL, "--yes", "--version", "1", "--class-floor", "1.0", code=Exit.FAILED)
    assert "the model of today would fail" in shown.err
    assert site.repository.delegations() == {}


def test_before_a_version_is_published_no_model_of_today_exists(site):
    shown = site.run("key", "delegate", MODEL, "--yes", code=Exit.CONFLICT)
    assert "edgeops publish tiny@VERSION" in shown.err


def test_undelegating_names_what_is_listed_no_longer(site):
    site.run("key", "delegate", MODEL, "--yes", "--version", "1")
    site.repository.publish({AUTO: b"{}"}, site.rig.now)
    assert site.answer("key", "undelegate", MODEL)["unlisted"] == [acceptance_path(MODEL), AUTO]
    assert acceptance_path(MODEL) not in site.repository.listed()
    assert "no delegation" in site.run("key", "undelegate", MODEL, code=Exit.NOT_FOUND).err


def test_after_the_keys_moved_a_version_waits_until_a_person_signs_it(site):
    moved = site.answer("key", "move-offline", str(site.stick))
    assert moved["moved"] == [str(site.stick / "root.pem"), str(site.stick / "targets.pem")]
    assert "edgeops model sign tiny@1 --keys DIR" in site.run("publish", "tiny@1").err
    assert site.standing == "awaiting-signature"
    assert "awaiting signature" in site.run("model", "show", "tiny@1").out
    assert SIGNED not in site.repository.listed()

    site.run("model", "sign", "tiny@1", "--keys", str(site.stick))

    assert site.standing == "published"
    assert SIGNED in site.repository.listed()
    assert {path.name for path in site.stick.iterdir()} == {"root.pem", "targets.pem", "root.json"}


def test_who_signs_what_a_retraining_waits_for_is_told_that_it_goes_on(site):
    site.await_signature()
    told = site.run("model", "sign", "tiny@1").err
    assert "edgeops retrain show retrain-1 --follow" in told
    assert "rollout create" not in told


def test_after_the_keys_moved_a_delegation_is_signed_with_them_and_its_key_stays_on_the_server(site):
    site.run("key", "move-offline", str(site.stick))
    refused = site.run("key", "delegate", MODEL, "--yes", "--version", "1", code=Exit.USAGE)
    assert "name the folder that the keys were moved to with --keys" in refused.err
    site.run("key", "delegate", MODEL, "--yes", "--version", "1", "--keys", str(site.stick))
    assert (site.config.keys / "auto-tiny.pem").exists()
    assert site.repository.can_sign(AUTO, site.rig.now)


def test_the_list_of_keys_says_where_each_lies_and_until_when(site):
    site.run("key", "delegate", MODEL, "--yes", "--version", "1")
    site.run("key", "move-offline", str(site.stick))
    keys = site.answer("key", "list")
    where = {key["model"] or key["role"]: key["private"] for key in keys}
    here = str(site.config.keys)
    assert where == {
        "root": "offline",
        "targets": "offline",
        "snapshot": here,
        "timestamp": here,
        MODEL: here,
        "fleet": here,
    }
    assert all(key["expires_at"] for key in keys if key["role"] != "fleet")
    shown = site.run("key", "list").out
    assert "auto" in shown
    assert "epoch 1" in shown


def test_moving_the_keys_again_is_harmless_and_to_another_place_is_refused(site, tmp_path):
    site.run("key", "move-offline", str(site.stick))
    site.run("key", "move-offline", str(site.stick))
    refused = site.run("key", "move-offline", str(tmp_path / "other"), code=Exit.USAGE)
    assert "name the folder that the keys were moved to" in refused.err
    inside = site.run("key", "move-offline", str(site.config.data / "offline"), code=Exit.USAGE)
    assert "neither" in inside.err or "the server's own folder" in inside.err


def test_the_keys_of_another_fleet_do_not_move_in(site, tmp_path):
    Repository.create(tmp_path / "other", site.stick, site.rig.now)
    refused = site.run("key", "move-offline", str(site.stick), code=Exit.CONFLICT)
    assert "is another key than" in refused.err
    assert (site.config.keys / "targets.pem").exists()


def test_a_folder_without_the_key_is_told(site, tmp_path):
    site.run("key", "move-offline", str(site.stick))
    shown = site.run("model", "sign", "tiny@1", "--keys", str(tmp_path), code=Exit.USAGE)
    assert "name the folder that the keys were moved to" in shown.err


def test_a_file_that_is_not_what_its_descriptor_says_is_not_signed(site):
    path = Blobs(site.config).path(site.descriptor.digest)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    shown = site.run("model", "sign", "tiny@1", code=Exit.FAILED)
    assert "do not sign it" in shown.err
    assert SIGNED not in site.repository.listed()


def test_a_version_is_withdrawn_with_the_offline_key(site):
    site.run("publish", "tiny@1")
    site.run("key", "move-offline", str(site.stick))
    refused = site.run("model", "withdraw", "tiny@1", code=Exit.FAILED)
    assert "edgeops model withdraw tiny@1 --keys DIR" in refused.err
    site.run("model", "withdraw", "tiny@1", "--keys", str(site.stick))
    assert site.standing == "withdrawn"
    assert SIGNED not in site.repository.listed()


def test_files_and_descriptors_come_through_the_api(site):
    client = site.rig.client()
    assert client.artifact(MODEL, 1, "int8") == Blobs(site.config).path(site.descriptor.digest).read_bytes()
    assert json.loads(client.descriptor(MODEL, 1, "int8"))["digest"] == site.descriptor.digest


def test_delegated_metadata_is_served_over_http_whatever_the_models_name(site):
    longest = "m" * 63
    delegate(site.repository, longest, site.rig.now)
    answer = site.rig.http.get(f"/tuf/metadata/1.auto-{longest}.json")
    assert answer.status_code == 200
    assert answer.content == (site.config.metadata / f"1.auto-{longest}.json").read_bytes()
