"""The join of published answers and truth."""

from edgeops.local.score import Answer, Score, score_device, total

NEW, OLD = "sha256:new", "sha256:old"
TRUTH = {"0": "zero", "1": "one", "2": "two", "3": "three"}


def answer(input_id, label, *, device="camera-1", digest=NEW) -> Answer:
    return Answer(device=device, digest=digest, input_id=input_id, label=label)


def test_every_row_answered_right_is_all_of_them():
    answers = [answer(input_id, label) for input_id, label in TRUTH.items()]
    score = score_device("camera-1", list(TRUTH), TRUTH, committed=NEW, answers=answers)
    assert score == Score(rows=4, joined=4, correct=4)
    assert (score.accuracy, score.coverage) == (1.0, 1.0)


def test_a_row_without_an_answer_is_missing_and_never_wrong():
    score = score_device("camera-1", ["0", "1"], TRUTH, committed=NEW, answers=[answer("0", "zero")])
    assert score == Score(rows=2, joined=1, correct=1)
    assert (score.accuracy, score.coverage) == (1.0, 0.5)


def test_answers_of_another_device_or_model_do_not_count():
    answers = [answer("0", "zero", device="camera-2"), answer("1", "one", digest=OLD), answer("2", "two")]
    score = score_device("camera-1", ["0", "1", "2"], TRUTH, committed=NEW, answers=answers)
    assert score == Score(rows=3, joined=1, correct=1)


def test_answers_to_rows_of_another_share_do_not_count():
    score = score_device("camera-1", ["0"], TRUTH, committed=NEW, answers=[answer("0", "nine"), answer("1", "one")])
    assert score == Score(rows=1, joined=1, correct=0)


def test_a_device_that_committed_nothing_has_all_its_rows_missing():
    score = score_device("camera-1", ["0", "1"], TRUTH, committed=None, answers=[answer("0", "zero")])
    assert score == Score(rows=2, joined=0, correct=0)
    assert score.accuracy is None


def test_an_answer_published_twice_counts_once():
    answers = [answer("0", "zero"), answer("0", "zero")]
    assert score_device("camera-1", ["0"], TRUTH, committed=NEW, answers=answers).joined == 1


def test_a_stopped_device_pulls_the_total_below_all_rows():
    whole = total([Score(rows=10, joined=10, correct=9), Score(rows=10, joined=0, correct=0)])
    assert whole == Score(rows=20, joined=10, correct=9)
    assert whole.coverage == 0.5
