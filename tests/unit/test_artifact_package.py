"""The artifact file: repeatable bytes, and refusal of everything that `package` did not write."""

import io
import subprocess
import sys
import zipfile

import pytest

from edgeops import limits
from edgeops.artifact.manifest import decode_manifest
from edgeops.artifact.package import describe, open_artifact, package, tflite_part
from edgeops.digest import digest_bytes
from edgeops.errors import ArtifactError
from tests.golden.tiny import LABELS, tiny_artifact, tiny_descriptor, tiny_manifest, tiny_tflite

MEMBERS = ["manifest.json", "reference", "golden", "labels.txt", "MODEL_CARD.md"]


@pytest.fixture(scope="module")
def artifact():
    return tiny_artifact()


@pytest.fixture
def opened(tmp_path):
    def _open(data):
        path = tmp_path / "model.tflite"
        path.write_bytes(data)
        return open_artifact(path)

    return _open


def test_the_same_input_gives_the_same_bytes_and_so_the_same_digest(artifact):
    assert tiny_artifact() == artifact
    assert tiny_artifact(version=2) != artifact


def test_the_bytes_around_the_members_never_change():
    data = package(b"\x1c\x00\x00\x00TFL3" + bytes(20), tiny_manifest(), reference=b"", golden=b"gold", card="# C\n")
    archive = data[data.index(b"PK") :]
    at = archive.index(b"golden")
    assert archive[at - 30 : at + 10].hex() == (
        "504b030414000000000000002100511da9470400000004000000060000" + "00676f6c64656e" + "676f6c64"
    )
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert {info.date_time for info in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in opened.infolist()} == {zipfile.ZIP_STORED}


def test_zip_tools_read_what_is_appended(artifact, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(artifact)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == MEMBERS
        assert decode_manifest(archive.read("manifest.json")).name == "tiny"
    listed = subprocess.run([sys.executable, "-m", "zipfile", "-l", path], capture_output=True, text=True, check=True)
    assert "MODEL_CARD.md" in listed.stdout


def test_an_artifact_opens_to_what_was_packaged(artifact, opened):
    found = opened(artifact)
    assert found.manifest == tiny_manifest()
    assert found.labels == LABELS
    assert found.card.startswith("# tiny 1")
    assert found.reference
    assert found.golden


def test_the_model_part_is_the_converters_file(artifact):
    assert tflite_part(artifact) == tiny_tflite()


@pytest.mark.parametrize("cut", [1, 10, 100, 1000, 3000])
def test_a_truncated_artifact_is_refused(artifact, opened, cut):
    with pytest.raises(ArtifactError, match=r"model\.tflite"):
        opened(artifact[:-cut])


@pytest.mark.parametrize("cut", [1, 10, 1000])
def test_an_artifact_that_lost_its_beginning_is_refused(artifact, opened, cut):
    with pytest.raises(ArtifactError):
        opened(artifact[cut:])


@pytest.mark.parametrize("data", [b"", b"garbage", bytes(10_000), b"PK\x05\x06" * 100, tiny_tflite()])
def test_garbage_is_refused(opened, data):
    with pytest.raises(ArtifactError, match=r"model\.tflite"):
        opened(data)


def test_bytes_after_the_end_are_refused(artifact, opened):
    with pytest.raises(ArtifactError):
        opened(artifact + b"\n")


def test_any_flipped_byte_is_refused(artifact, opened):
    for at in range(0, len(artifact), 37):
        damaged = bytearray(artifact)
        damaged[at] ^= 0x10
        with pytest.raises(ArtifactError):
            opened(bytes(damaged))


def test_a_swapped_model_is_refused(artifact, opened):
    other = bytearray(tiny_tflite())
    other[-1] ^= 1
    with pytest.raises(ArtifactError, match="do not belong together"):
        opened(bytes(other) + artifact[len(other) :])


def test_a_swapped_member_is_refused(artifact, opened):
    with zipfile.ZipFile(io.BytesIO(artifact)) as archive:
        comment = archive.comment
        members = {name: archive.read(name) for name in archive.namelist()}
    members["golden"] = b"other"
    file = io.BytesIO(tiny_tflite())
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = comment
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(ArtifactError):
        opened(file.getvalue())


def test_a_zip_bomb_is_refused_before_anything_is_inflated(artifact, opened):
    with zipfile.ZipFile(io.BytesIO(artifact)) as archive:
        comment = archive.comment
    file = io.BytesIO(tiny_tflite())
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment
        for name in MEMBERS:
            archive.writestr(name, bytes(8 * limits.MAX_ARTIFACT_PART_BYTES))
    assert len(file.getvalue()) < limits.MAX_ARTIFACT_PART_BYTES
    with pytest.raises(ArtifactError):
        opened(file.getvalue())


def test_a_member_that_claims_more_than_its_limit_is_named(artifact, opened):
    claims = bytearray(artifact)
    at = artifact.rindex(b"MODEL_CARD.md") - 46 + 20
    claims[at : at + 4] = (2**31).to_bytes(4, "little")
    with pytest.raises(ArtifactError, match=r"MODEL_CARD\.md of at most 4194304"):
        opened(bytes(claims))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"cannot read the artifact .*nowhere\.tflite"):
        open_artifact(tmp_path / "nowhere.tflite")


def test_only_a_bare_tflite_is_packaged(artifact):
    with pytest.raises(ArtifactError, match="TFL3"):
        package(b"something else", tiny_manifest(), reference=b"", golden=b"", card="")
    with pytest.raises(ArtifactError, match="already ends in a zip"):
        package(artifact, tiny_manifest(), reference=b"", golden=b"", card="")


def test_a_part_beyond_its_limit_is_not_packaged():
    large = bytes(limits.MAX_ARTIFACT_PART_BYTES + 1)
    with pytest.raises(ArtifactError, match="golden has 4194305 bytes"):
        package(tiny_tflite(), tiny_manifest(), reference=b"", golden=large, card="")


def test_a_descriptor_names_size_digest_and_blocks(artifact):
    descriptor = tiny_descriptor(artifact)
    assert descriptor.digest == digest_bytes(artifact)
    assert descriptor.size_bytes == len(artifact)
    assert descriptor.block_bytes == limits.BLOCK_BYTES
    assert descriptor == describe(
        artifact,
        descriptor.manifest,
        run=descriptor.run,
        built_at=descriptor.built_at,
        host=descriptor.host,
        latency_p50_ms=descriptor.latency_p50_ms,
        latency_p95_ms=descriptor.latency_p95_ms,
        memory_bytes=descriptor.memory_bytes,
        promotion=descriptor.promotion,
    )
