"""What a model file holds: manifest, descriptor, archive, block map, acceptance set, reference, golden vectors."""

from functools import cache
from pathlib import Path

from edgeops.artifact.acceptance import decode_acceptance, encode_acceptance, make_acceptance
from edgeops.artifact.blockplan import BlockMap, block_list
from edgeops.artifact.manifest import Manifest, decode_descriptor, decode_manifest, encode_value
from edgeops.artifact.operators import operators
from edgeops.artifact.package import open_artifact, tflite_part
from edgeops.errors import ArtifactError
from edgeops.model.golden import _decode as decode_golden
from edgeops.sketch.reference import decode_reference, encode_reference
from edgeops.sketch.summary import summarize
from tests.fuzz.parser import Parser, scratch, through_file
from tests.golden.tiny import COLUMNS, tiny_artifact, tiny_descriptor, tiny_manifest, tiny_rows, tiny_tflite

_DEEP = b"\x91" * 70_000


@cache
def _artifact() -> bytes:
    return tiny_artifact()


@cache
def _part(name: str) -> bytes:
    path = scratch() / "whole.tflite"
    path.write_bytes(_artifact())
    part: bytes = getattr(open_artifact(path), name)
    return part


@cache
def _small_artifact() -> bytes:
    """As few bytes as an artifact can have, so that most of them are its archive."""
    data = _artifact()
    head = data[:8]
    return data.replace(tflite_part(data), head)


def _open(path: Path) -> object:
    artifact = open_artifact(path)
    assert path.read_bytes().startswith(tflite_part(path.read_bytes()))
    return artifact


def _reference(data: bytes) -> object:
    profile = decode_reference(data)
    # Whatever is accepted can be measured with.
    summarize(profile.summary(), profile)
    profile.wander()
    profile.expected_accuracy()
    if profile.by_class is not None:
        profile.by_class.counts()
    return profile


def _acceptance() -> bytes:
    rows, classes = tiny_rows(6)
    windows = rows.reshape(6, 1, len(COLUMNS))
    return encode_acceptance(
        make_acceptance(tiny_manifest(), windows, classes, floor=0.9, class_floors=(0.5, 0.0, 0.25))
    )


def _block_map() -> bytes:
    blob = bytes(range(200))
    blocks = BlockMap(len(blob), 64, block_list(blob, 64))
    blocks.accept(1, blob[64:128])
    return blocks.to_bytes()


@cache
def _manifest() -> Manifest:
    """Making one loads the model."""
    return tiny_manifest()


PARSERS = (
    Parser(
        name="manifest",
        read=decode_manifest,
        errors=(ArtifactError,),
        write=encode_value,
        seeds=lambda: [encode_value(tiny_manifest()), b'{"x":' + b"[" * 70_000],
        most_bytes=8192,
    ),
    Parser(
        name="descriptor",
        read=decode_descriptor,
        errors=(ArtifactError,),
        write=encode_value,
        seeds=lambda: [encode_value(tiny_descriptor(_artifact()))],
        most_bytes=8192,
    ),
    Parser(
        name="artifact",
        read=through_file("model.tflite", _open),
        errors=(ArtifactError,),
        seeds=lambda: [_artifact()],
        most_bytes=32768,
    ),
    Parser(
        name="operators",
        read=operators,
        errors=(ArtifactError,),
        seeds=lambda: [tiny_tflite(), tiny_tflite("float32")],
        most_bytes=8192,
    ),
    Parser(
        name="block-map",
        read=BlockMap.from_bytes,
        errors=(ArtifactError,),
        write=BlockMap.to_bytes,
        seeds=lambda: [_block_map(), _DEEP],
    ),
    Parser(
        name="acceptance",
        read=decode_acceptance,
        errors=(ArtifactError,),
        write=encode_acceptance,
        seeds=lambda: [_acceptance(), _DEEP],
    ),
    Parser(
        name="reference",
        read=_reference,
        errors=(ArtifactError,),
        write=encode_reference,
        seeds=lambda: [_part("reference"), _DEEP],
        most_bytes=8192,
    ),
    Parser(
        name="golden-vectors",
        read=lambda data: decode_golden(data, _manifest()),
        errors=(ArtifactError,),
        seeds=lambda: [_part("golden"), _DEEP],
    ),
)
