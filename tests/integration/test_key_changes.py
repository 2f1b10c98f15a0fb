"""What people do with changes at a terminal: their own keys replaced, files signed and refused."""

import json
from pathlib import Path

import pytest

from edgeops.digest import digest_file
from edgeops.exits import Exit
from edgeops.protocol.keys import read_private_key
from fleet_server.blobs import Blobs
from tests.contract.trained import MODEL
from tests.integration.key_rig import SIGNED, Listener, Site

FILE = "tiny-1.change"


@pytest.fixture
def site(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    site = Site(tmp_path, capsys)
    yield site
    site.close()


def keys_of(site, role):
    return {key.public_hex for key in site.trusted if key.role == role}


def test_ones_own_keys_are_replaced_and_the_ones_before_are_put_aside(site, tmp_path):
    device = Listener(tmp_path / "device", site)
    before = device.listed()
    site.run("key", "move-offline", str(site.stick))
    old = (site.stick / "root.pem").read_bytes()

    told = site.run("key", "rotate", "root", "targets", "--keys", str(site.stick)).err

    assert "root.old.pem and signs nothing any more" in told
    assert (site.stick / "root.old.pem").read_bytes() == old
    for role in ("root", "targets"):
        assert keys_of(site, role) == {read_private_key(site.stick / f"{role}.pem").public.hex}
    assert not list(site.stick.glob("*.next.pem"))
    assert device.listed() == before
    site.run("key", "renew", "--keys", str(site.stick))


def test_keys_that_still_lie_on_the_server_are_replaced_there(site):
    site.run("key", "rotate", "root", "targets", "snapshot", "timestamp", "fleet")
    assert {path.name for path in site.config.keys.glob("*.pem") if not path.name.startswith("ca-")} == {
        "root.pem",
        "targets.pem",
        "snapshot.pem",
        "timestamp.pem",
        "fleet-2.pem",
    }
    site.run("publish", "tiny@1")
    assert site.standing == "published"


def test_a_model_is_requested_signed_elsewhere_and_submitted(site):
    site.run("key", "move-offline", str(site.stick))
    artifact = Blobs(site.config).path(site.descriptor.digest)
    asked = site.answer("model", "request", "tiny@1", "--out", FILE)
    assert asked["missing"] == {"targets": 1}
    unsigned = site.run("key", "submit", FILE, code=Exit.CONFLICT).err
    assert "targets has 0 of 1 signatures" in unsigned
    assert (
        "nobody can be asked"
        in site.run("model", "sign", "--offline", FILE, "--keys", str(site.stick), code=Exit.USAGE).err
    )

    wrong = ["--artifact", str(site.stick / "root.json")]
    sign = ["model", "sign", "--offline", FILE, "--keys", str(site.stick), "--yes"]
    assert "not a file that this lists" in site.run(*sign, *wrong, code=Exit.FAILED).err
    shown = site.run(*sign, "--artifact", str(artifact)).err

    assert digest_file(artifact) in shown
    assert "edgeops key submit" in shown
    assert SIGNED not in site.repository.listed()
    site.run("key", "submit", FILE)
    assert "published before" in site.run("key", "submit", FILE).err
    assert site.standing == "published"
    assert "nothing is to be signed" in site.run("model", "request", "tiny@1", code=Exit.CONFLICT).err


def test_whoever_is_asked_to_sign_a_model_signs_nothing_else(site, tmp_path):
    site.run("key", "move-offline", str(site.stick))
    site.run("key", "delegate", MODEL, "--version", "1", "--yes", "--out", "more.change")
    sign = ["--keys", str(site.stick), "--yes"]
    refused = site.run("model", "sign", "--offline", "more.change", *sign, code=Exit.FAILED).err
    assert "more than to list models" in refused
    shown = site.run("key", "sign", "more.change", *sign).err
    assert "+ delegation of tiny to key" in shown
    assert "+ models/tiny/acceptance: 120 inputs" in shown


def test_keys_that_may_not_sign_a_file_are_told(site, tmp_path):
    site.run("key", "move-offline", str(site.stick))
    site.run("model", "request", "tiny@1", "--out", FILE)
    stranger = tmp_path / "stranger"
    site.run("key", "make", "targets", str(stranger), data=False)
    assert (stranger / "targets.pub").read_text().strip() == read_private_key(stranger / "targets.pem").public.hex
    assert "is there already" in site.run("model", "request", "tiny@1", "--out", FILE, code=Exit.CONFLICT).err
    refused = site.run("key", "sign", FILE, "--keys", str(stranger), "--yes", code=Exit.USAGE).err
    assert "may sign this: it needs targets by" in refused
    assert (
        "no root.pem or targets.pem"
        in site.run("key", "sign", FILE, "--keys", str(tmp_path), "--yes", code=Exit.USAGE).err
    )
    assert (
        "one folder is one person's"
        in site.run("key", "make", "targets", str(stranger), data=False, code=Exit.CONFLICT).err
    )


def test_a_state_that_another_server_made_up_is_not_signed(site, tmp_path, capsys):
    """The folder of keys knows what it saw."""
    site.run("key", "move-offline", str(site.stick))
    other = Site(tmp_path / "other", capsys)
    try:
        other.run("model", "request", "tiny@1", "--out", FILE)
    finally:
        other.close()
    refused = site.run("key", "sign", FILE, "--keys", str(site.stick), "--yes", code=Exit.FAILED).err
    assert "than was seen here before" in refused
    change = json.loads(Path(FILE).read_text())
    assert change["targets"]["signatures"], "of the other server's own key alone"
