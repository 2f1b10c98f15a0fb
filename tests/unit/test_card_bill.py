"""A bill of materials follows CycloneDX 1.6, names everything by its digest, and no person."""

import json
import re
from datetime import UTC, datetime

import msgspec
import pytest

from edgeops.artifact.manifest import Override, Promotion
from edgeops.card.bill import write_bill
from tests.unit.card_facts import DATASET, SNAPSHOT, facts_of

#: Of the specification: properties that a component and its parts may have, as far as a bill has them.
COMPONENT = {
    "type", "mime-type", "bom-ref", "name", "version", "scope", "hashes", "purl", "pedigree", "components", "modelCard",
    "data", "properties",
}  # fmt: skip
TYPES = {"machine-learning-model", "data", "library", "file", "application"}


def bill_of(facts):
    return json.loads(write_bill(facts))


def components(one):
    """A component, its parts and its ancestors."""
    yield one
    for part in (*one.get("components", ()), *one.get("pedigree", {}).get("ancestors", ())):
        yield from components(part)


def every(bill):
    for one in (bill["metadata"]["component"], *bill["components"]):
        yield from components(one)


def test_a_bill_is_a_cyclonedx_document():
    bill = bill_of(facts_of())
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(
        r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", bill["serialNumber"]
    )
    assert bill["metadata"]["timestamp"] == "2026-03-01T12:00:00Z"
    for one in every(bill):
        assert set(one) <= COMPONENT
        assert one["type"] in TYPES
        assert one["name"]
        for hashed in one.get("hashes", ()):
            assert (hashed["alg"], len(hashed["content"])) == ("SHA-256", 64)
        assert all(set(own) == {"name", "value"} and isinstance(own["value"], str) for own in one.get("properties", ()))


def test_what_is_referred_to_is_there_and_every_reference_is_of_one_thing():
    bill = bill_of(facts_of())
    references = [one["bom-ref"] for one in every(bill) if "bom-ref" in one]
    assert len(set(references)) == len(references)
    [parameters] = [
        one["modelCard"]["modelParameters"] for one in every(bill) if "modelParameters" in one.get("modelCard", {})
    ]
    named = [one["ref"] for one in parameters["datasets"]]
    for edge in bill["dependencies"]:
        named += [edge["ref"], *edge["dependsOn"]]
    assert set(named) <= set(references)
    assert SNAPSHOT in named


def test_files_data_and_libraries_are_named_by_digest_and_version():
    facts = facts_of()
    bill = bill_of(facts)
    files = bill["metadata"]["component"]["components"]
    assert ["sha256:" + one["hashes"][0]["content"] for one in files] == [one.digest for one in facts.files]
    data, *libraries = bill["components"]
    assert (data["name"], "sha256:" + data["hashes"][0]["content"]) == (DATASET, SNAPSHOT)
    assert [one["purl"] for one in libraries] == ["pkg:pypi/numpy@2.4.0", "pkg:pypi/tensorflow-cpu@2.21.0%2Blocal"]


def test_figures_have_their_intervals():
    [card] = [one["modelCard"] for one in bill_of(facts_of())["metadata"]["component"]["components"]]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {
            "type": "accuracy",
            "value": "0.99",
            "slice": "rows held back",
            "confidenceInterval": {"lowerBound": "0.97", "upperBound": "0.995"},
        },
        {"type": "macro-f1", "value": "0.98", "slice": "rows held back"},
    ]


def test_the_same_version_has_the_same_bytes_and_another_one_another_serial_number():
    bill = write_bill(facts_of())
    assert bill == write_bill(facts_of())
    assert json.loads(bill)["serialNumber"] != bill_of(facts_of(version=4))["serialNumber"]


def test_the_time_zone_of_the_server_changes_nothing():
    elsewhere = datetime.fromisoformat("2026-03-01T13:00:00+01:00")
    assert elsewhere == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert write_bill(facts_of(created_at=elsewhere)) == write_bill(facts_of())


@pytest.mark.parametrize("who", ["anna", "bob", "build-host", "because I say so"])
def test_nobody_is_in_it(who):
    override = Override(by="anna", at="2026-03-01T12:00:00Z", remark="because I say so")
    facts = facts_of(promotion=Promotion(passed=False, override=override), where=("person=bob",), host="build-host")
    assert who not in write_bill(facts).decode()


def test_a_model_that_was_brought_names_its_file_and_claims_no_way_of_learning():
    facts = facts_of()
    brought = "sha256:" + "b" * 64
    files = tuple(
        msgspec.structs.replace(
            one,
            manifest=msgspec.structs.replace(
                one.manifest, lineage=msgspec.structs.replace(one.manifest.lineage, brought=brought)
            ),
        )
        for one in facts.files
    )
    model = bill_of(facts_of(files=files))["metadata"]["component"]
    assert model["pedigree"]["ancestors"][0]["hashes"] == [{"alg": "SHA-256", "content": "b" * 64}]
    assert "approach" not in model["modelCard"]["modelParameters"]
    assert "what it learnt from is not known" in model["modelCard"]["considerations"]["technicalLimitations"][0]
