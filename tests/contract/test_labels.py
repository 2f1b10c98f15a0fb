"""Labels through the API and the command line: what is good is taken, what is not is named, nothing is lost."""

import csv
import io
import json

import pytest

from edgeops import limits
from edgeops.api.roles import Role
from edgeops.errors import InputError, NotFoundError
from tests.contract.loop_rig import LoopRig
from tests.contract.rig import assert_problem


@pytest.fixture
def rig(tmp_path):
    rig = LoopRig(tmp_path)
    yield rig
    rig.close()


# -- the queue ------------------------------------------------------------------------------


def test_the_queue_says_what_a_person_needs_to_label(rig):
    retraining, items = rig.queue(labels=4)
    assert [one.position for one in items] == [0, 1, 2, 3]
    first = items[0]
    assert (first.model, first.asker, first.deployment, first.state) == ("tiny", retraining, "bench", "open")
    assert first.answer in {"red", "green", "blue"}
    assert first.confidence == 0.75
    assert rig.request("GET", first.readings, role=Role.VIEWER).json()["id"] == first.sample_id


def test_a_labelled_sample_leaves_the_queue(rig):
    _, items = rig.queue()
    rig.operator.add_labels({items[0].sample_id: "red"})
    assert [one.sample_id for one in rig.operator.label_queue("tiny")] == [one.sample_id for one in items[1:]]
    (kept,) = rig.operator.label_queue("tiny", state="labelled")
    assert kept.closed_at == rig.now


def test_the_queue_as_a_file_comes_back_filled_in(rig):
    _, items = rig.queue()
    rows = list(csv.DictReader(io.StringIO(rig.operator.label_queue_csv("tiny").decode())))
    assert [row["sample_id"] for row in rows] == [one.sample_id for one in items]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows({**row, "label": "green"} for row in rows[:3])
    writer.writerow(rows[3])
    taken = rig.operator.import_labels(text.getvalue().encode(), model="tiny")
    assert (taken.accepted, taken.unknown, taken.refused) == (3, (), ())
    assert len(list(rig.operator.label_queue("tiny"))) == 1
    assert {one.source for one in rig.operator.labels("tiny")} == {"csv"}


# -- what is said ---------------------------------------------------------------------------


def test_the_good_labels_are_taken_and_each_other_one_is_named(rig):
    good, wrong, twice, fine = rig.add_samples(count=4)
    body = [
        {"sample_id": good, "label": "red"},
        {"sample_id": wrong, "label": "pink"},
        {"sample_id": "nobody", "label": "red"},
        {"sample_id": twice, "label": "red"},
        {"sample_id": twice, "label": "blue"},
        {"sample_id": fine, "label": "blue", "remark": "sure"},
    ]
    answer = rig.request("POST", "/api/v1/labels", role=Role.OPERATOR, json={"labels": body})
    assert answer.status_code == 200
    assert answer.json() == {
        "accepted": 2,
        "unknown": ["nobody"],
        "refused": [
            {"sample_id": twice, "reason": "labelled 'red' and 'blue' in one request; send one"},
            {"sample_id": wrong, "reason": "'pink' is none of the classes blue, green, red"},
        ],
        "disputed": [],
    }
    kept = {one.sample_id: one for one in rig.operator.labels("tiny")}
    assert set(kept) == {good, fine}
    assert (kept[fine].label, kept[fine].source, kept[fine].author, kept[fine].remark) == (
        "blue", "api", "a operator", "sure",
    )  # fmt: skip


def test_authors_who_disagree_are_told_and_a_correction_ends_it(rig):
    (sample,) = rig.add_samples(count=1)
    assert rig.operator.add_labels({sample: "red"}).disputed == ()
    assert rig.second.add_labels({sample: "blue"}).disputed == (sample,)
    assert rig.second.add_labels({sample: "red"}).disputed == ()
    assert [one.label for one in rig.operator.labels("tiny")] == ["red", "blue", "red"]


def test_a_bought_label_names_the_retraining_that_asked_for_it(rig):
    retraining, items = rig.queue()
    (other,) = rig.add_samples(count=1)
    rig.operator.add_labels({items[0].sample_id: "red", other: "red"}, source="person")
    kept = {one.sample_id: one for one in rig.operator.labels("tiny")}
    assert kept[items[0].sample_id].asker == retraining
    assert kept[other].asker is None
    assert kept[other].source == "person"


def test_many_labels_come_at_once(rig):
    names = rig.add_samples(count=450)
    assert rig.operator.add_labels(dict.fromkeys(names, "red")).accepted == 450
    assert len(list(rig.operator.labels("tiny"))) == 450


def test_more_labels_than_a_request_may_have_are_refused_as_a_whole(rig):
    lines = "".join(f"s-{number},red\n" for number in range(limits.MAX_LABELS_PER_REQUEST + 1))
    with pytest.raises(InputError, match="at most 10000 at a time"):
        rig.operator.import_labels(b"sample_id,label\n" + lines.encode())


def test_a_file_that_is_no_text_is_told(rig):
    with pytest.raises(InputError, match=r"^not UTF-8 text.*save it as UTF-8$"):
        rig.operator.import_labels(b"\xff\xfe\x00")


def test_a_file_for_one_model_brings_labels_to_no_other(rig):
    (sample,) = rig.add_samples(count=1)
    with pytest.raises(NotFoundError, match="no model 'gas'"):
        rig.operator.import_labels(f"sample_id,label\n{sample},red\n".encode(), model="gas")


def test_text_from_devices_commands_no_spreadsheet(rig):
    from fleet_server.api.labels import _harmless

    assert _harmless("=HYPERLINK()") == "'=HYPERLINK()"
    assert _harmless("row-17") == "row-17"


def test_a_viewer_sees_and_says_nothing(rig):
    (sample,) = rig.add_samples(count=1)
    body = {"labels": [{"sample_id": sample, "label": "red"}]}
    assert_problem(rig.request("POST", "/api/v1/labels", role=Role.VIEWER, json=body), 403)


# -- feedback -------------------------------------------------------------------------------


def test_feedback_is_joined_by_input_and_speaks_for_the_device(rig):
    (sample, _) = rig.add_samples(count=2)
    said = rig.operator.feedback("tiny", device_id="edge-1", deployment="bench", input_id="0", label="green")
    assert (said.sample_id, said.source, said.author, said.device_id) == (sample, "feedback", "edge-1", "edge-1")


def test_feedback_of_an_input_that_nobody_kept_is_told(rig):
    with pytest.raises(NotFoundError, match="only nominated inputs are kept"):
        rig.operator.feedback("tiny", device_id="edge-1", deployment="bench", input_id="77", label="green")
    rig.add_samples(count=1)
    with pytest.raises(InputError, match="'pink' is none of the classes"):
        rig.operator.feedback("tiny", device_id="edge-1", deployment="bench", input_id="0", label="pink")


# -- the command line -----------------------------------------------------------------------


def test_a_person_sees_what_the_model_said_and_labels_it(rig, capsys):
    _, items = rig.queue()
    assert rig.edgeops("label", "queue", "tiny") == 0
    shown = capsys.readouterr()
    for one in items:
        (line,) = [line for line in shown.out.splitlines() if one.sample_id in line]
        assert one.device_id in line
        assert f" {one.input_id} " in line
        assert one.answer in line
        assert "0.75" in line
    assert f"edgeops label add {items[0].sample_id}=LABEL" in shown.err
    assert rig.edgeops("label", "add", f"{items[0].sample_id}=red", f"{items[1].sample_id}=blue") == 0
    assert capsys.readouterr().out == "2 accepted, 0 not, 0 disputed\n"
    assert rig.edgeops("label", "list", "tiny", "--json") == 0
    assert {one["source"] for one in json.loads(capsys.readouterr().out)} == {"person"}


def test_a_file_is_written_filled_in_and_imported(rig, capsys, tmp_path):
    rig.queue()
    assert rig.edgeops("label", "queue", "tiny", "--csv") == 0
    header, *lines = capsys.readouterr().out.splitlines()
    filled = [line.replace(",,", ",red,", 1) for line in lines[:2]]
    file = tmp_path / "labels.csv"
    file.write_text("\n".join([header, *filled, f"{lines[2].split(',')[0]},pink", "nobody,red"]))
    assert rig.edgeops("label", "import", "tiny", str(file)) == 1
    told = capsys.readouterr()
    assert told.out == "2 accepted, 2 not, 0 disputed\n"
    assert "nobody  no sample has this id" in told.err
    assert "'pink' is none of the classes" in told.err


def test_an_empty_queue_says_so(rig, capsys):
    assert rig.edgeops("label", "queue", "tiny") == 0
    assert capsys.readouterr().out == "no sample waits for a label\n"


@pytest.mark.parametrize("words", [["s-1"], ["s-1="], ["=red"], ["s-1=red", "s-1=blue"]])
def test_what_is_no_label_is_refused_before_it_is_sent(rig, capsys, words):
    assert rig.edgeops("label", "add", *words) == 1
    assert "error:" in capsys.readouterr().err
