"""What two models' answers to the same inputs prove."""

import pytest

from edgeops.artifact.manifest import Task
from edgeops.protocol.messages import Intent
from edgeops.rollout.health.answers import mix_of
from edgeops.rollout.health.finding import Kind, Sign
from edgeops.rollout.health.wave import Labels, Stated
from edgeops.rollout.policy import HealthPolicy
from tests.unit.health_values import device, found, pairs, wave

UNLABELLED = HealthPolicy(labels=0)
#: 130 of 1,000 inputs on which they differ.
DIFFERING = (500, 70, 60, 370)


def seen(cells=DIFFERING, **fields):
    return wave(device(pairs=pairs(cells=cells)), **fields)


def answers(health, **how):
    return found(Kind.ANSWERS, health, **how)


def regression(*, near=0, far=0, cell=13, task_cells=24):
    """So many pairs closer than a usual error, and so many in a cell beyond."""
    cells = [0] * task_cells
    cells[3], cells[cell] = near, far
    return tuple(cells)


def test_without_an_old_model_there_is_nothing_to_compare():
    told = answers(wave(device(shadowed=False)))
    assert (told.sign, told.words) == (Sign.TOLD, "there is no old model to answer the same inputs")


def test_answers_that_cannot_be_compared_hold_a_model_whose_disagreements_people_would_label():
    incomparable = wave(device(pairs=pairs(cells=(), rows=700)))
    told = answers(incomparable)
    assert told.sign is Sign.OPEN
    assert told.words == "answers of both models to the same inputs cannot be compared (700 pairs)"
    assert answers(incomparable, policy=UNLABELLED).sign is Sign.TOLD


def test_models_that_hardly_differ_need_no_label():
    told = answers(seen((700, 6, 4, 290)))
    assert told.sign is Sign.GOOD
    assert told.words == ("they differ on 10 of 1,000 inputs (1 %), so no more than that can be lost; limit 2.5 points")
    assert (told.value, told.limit) == (0.01, 0.025)


def test_few_pairs_do_not_prove_that_models_hardly_differ():
    assert answers(seen((30, 0, 0, 10))).sign is Sign.OPEN
    assert answers(seen((700, 15, 15, 270)), policy=HealthPolicy(max_loss=0.03)).sign is Sign.OPEN
    assert answers(seen((7_000, 150, 145, 2_705)), policy=HealthPolicy(max_loss=0.03)).sign is Sign.GOOD


def test_half_of_alpha_is_what_may_be_wrong_about_how_often_they_differ():
    assert answers(seen((180, 0, 0, 0)), policy=HealthPolicy(alpha=0.2)).sign is Sign.GOOD
    assert answers(seen((80, 0, 0, 0)), policy=HealthPolicy(alpha=0.2)).sign is Sign.OPEN
    assert answers(seen((100, 0, 0, 0)), policy=HealthPolicy(alpha=0.2)).sign is Sign.GOOD
    assert answers(seen((100, 0, 0, 0)), policy=HealthPolicy(alpha=0.05)).sign is Sign.OPEN


# -- labels ----------------------------------------------------------------------------------


def test_without_a_label_it_is_not_known_who_is_right():
    told = answers(seen(labels=Labels(waiting=12)))
    assert told.sign is Sign.OPEN
    assert told.words == (
        "they differ on 130 of 1,000 inputs (13 %); who is right is not known: 120 more labels may be given, 12 wait"
    )


def test_of_few_disagreements_no_more_can_be_labelled():
    told = answers(seen((160, 20, 10, 10), labels=Labels(new_right=1, old_right=1)))
    assert told.sign is Sign.OPEN
    assert "that is not certain yet: 28 more labels may be given, 0 wait" in told.words
    told = answers(seen((160, 20, 10, 10), labels=Labels(new_right=15, old_right=16, neither=3)))
    assert "0 more labels may be given" in told.words


def test_labels_that_favour_the_new_model_pass_it():
    told = answers(seen(labels=Labels(new_right=50, old_right=20, neither=10)))
    assert told.sign is Sign.GOOD
    assert told.words == (
        "they differ on 130 of 1,000 inputs (13 %); of 80 labels there 50 say that the new one is right, 20 the old "
        "one, 10 neither: 4.9 points of accuracy won; limit 2.5 points"
    )
    assert told.value == pytest.approx(-0.13 * 30 / 80)
    assert told.limit == 0.025


def test_labels_that_favour_the_old_model_stop_the_new_one():
    told = answers(seen(labels=Labels(new_right=10, old_right=80, neither=10)))
    assert told.sign is Sign.BAD
    assert "9.1 points of accuracy lost" in told.words
    assert told.value == pytest.approx(0.13 * 70 / 100)


def test_labels_that_do_not_tell_leave_it_open():
    told = answers(seen(labels=Labels(new_right=10, old_right=14)))
    assert told.sign is Sign.OPEN
    assert told.words.endswith("limit 2.5 points; that is not certain yet: 96 more labels may be given, 0 wait")
    assert told.value == pytest.approx(0.13 * 4 / 24)
    assert told.limit == 0.025


def test_agreements_count_as_inputs_on_which_nothing_was_lost():
    labels = Labels(new_right=4, old_right=16)
    assert answers(seen((9_800, 20, 20, 160), labels=labels)).sign is Sign.GOOD
    assert answers(seen((20, 60, 60, 60), labels=labels)).sign is not Sign.GOOD


def test_more_labels_than_disagreements_were_counted_are_taken_as_they_are():
    told = answers(seen((20, 0, 3, 0), labels=Labels(new_right=20, old_right=20)))
    assert told.value == 0.0
    told = answers(seen((20, 0, 0, 0), labels=Labels(old_right=20)))
    assert told.sign is Sign.BAD


def test_labels_of_devices_before_it_tell_of_one_that_came_late_what_they_tell_of_them():
    few = seen((440, 30, 30, 0), labels=Labels(new_right=58, old_right=57, neither=5, of_others=True))
    told = answers(few)
    assert told.words.startswith(
        "they differ on 60 of 500 inputs (12 %); of 120 labels on devices before it 58 say that the new one is right, "
    )
    # A hundred and twenty labels stand for a thousand inputs of which twelve in a hundred differ.
    assert told.value == pytest.approx(-1 / 1_000)
    own = answers(seen((440, 30, 30, 0), labels=Labels(new_right=58, old_right=57, neither=5)))
    assert own.value == pytest.approx(-1 / 500)


def test_labels_of_other_devices_are_chance_here_however_many_they_are():
    labels = Labels(new_right=10, old_right=100, neither=10, of_others=True)
    told = answers(seen((440, 30, 30, 0), labels=labels), policy=HealthPolicy(alpha=1e-30))
    share, decided, balance = 60 / 500, 110 / 120, 90 / 120
    by_labels = share**2 * (decided - balance**2) / 120
    by_inputs = (share * decided - (share * balance) ** 2) / 500
    error = 196 * (by_labels + by_inputs) ** 0.5
    assert f"between {9 - error:.2g} points and {9 + error:.0f} points" in told.words


@pytest.mark.parametrize("task", [Task.REGRESSION, Task.ANOMALY])
def test_what_nobody_can_label_is_a_persons_to_decide(task):
    told = answers(seen(regression(near=900, far=100) if task is Task.REGRESSION else (450, 50, 50, 450)), task=task)
    assert told.sign is Sign.OPEN
    assert told.words.endswith("(10 %); there are labels for classes alone, so a person decides")


def test_the_last_label_ends_it_for_a_model_that_is_certainly_well_enough():
    told = answers(seen(labels=Labels(new_right=50, old_right=61, neither=9)))
    assert told.sign is Sign.GOOD
    assert told.words.endswith("limit 2.5 points (with 95 % certainty between -1 points and 3.4 points)")
    assert told.value == pytest.approx(0.13 * 11 / 120)


def test_the_last_label_ends_it_for_a_model_that_probably_loses_too_much():
    told = answers(seen(labels=Labels(new_right=43, old_right=72, neither=5)))
    assert told.sign is Sign.BAD
    assert told.value == pytest.approx(0.13 * 29 / 120)
    assert told.limit == 0.025
    assert "certainty" in told.words


def test_models_that_differ_a_lot_cannot_be_told_apart_by_the_last_label():
    told = answers(seen((300, 200, 200, 300), labels=Labels(new_right=57, old_right=61, neither=2)))
    assert told.sign is Sign.OPEN
    assert told.words.endswith("points); the policy asks for too few labels to tell")
    assert (told.value, told.limit) == (pytest.approx(0.4 * 4 / 120), 0.025)


def test_a_few_labels_that_nobody_can_give_are_not_waited_for():
    labels = {"new_right": 40, "old_right": 66, "neither": 2}
    assert answers(seen(labels=Labels(**labels))).sign is Sign.BAD
    assert answers(seen(labels=Labels(**labels, waiting=1))).sign is Sign.OPEN
    assert answers(seen(labels=Labels(new_right=40, old_right=65, neither=2))).sign is Sign.OPEN
    assert answers(seen(labels=Labels(new_right=43, old_right=72, neither=4, waiting=1))).sign is Sign.OPEN
    assert answers(seen(labels=Labels(new_right=43, old_right=72, neither=5, waiting=1))).sign is Sign.BAD


def test_what_is_certain_at_the_end_follows_from_labels_and_inputs():
    told = answers(seen((3_480, 261, 261, 5_998), labels=Labels(new_right=40, old_right=40, neither=40)))
    share, decided = 0.0522, 2 / 3
    error = (share**2 * decided / 120 * (1 - 120 / 522) + share * decided / 10_000) ** 0.5
    assert told.sign is Sign.GOOD
    assert "certainty" not in told.words, "looking would have ended it"
    told = answers(seen((2_480, 1_261, 1_261, 4_998), labels=Labels(new_right=40, old_right=40, neither=40)))
    share = 0.2522
    error = (share**2 * decided / 120 * (1 - 120 / 2_522) + share * decided / 10_000) ** 0.5
    high = f"{100 * 1.96 * error:.2g}"
    assert f"between -{high} points and {high} points" in told.words


def test_one_sided_labels_are_more_certain_than_divided_ones():
    cells, policy = (300, 200, 200, 300), HealthPolicy(max_loss=0.2, alpha=1e-30)
    told = answers(seen(cells, labels=Labels(new_right=20, old_right=80, neither=20)), policy=policy)
    decided, balance = 100 / 120, 60 / 120
    by_labels = 0.4**2 * (decided - balance**2) / 120 * (1 - 120 / 400)
    by_inputs = (0.4 * decided - (0.4 * balance) ** 2) / 1_000
    error = 1.96 * (by_labels + by_inputs) ** 0.5
    assert told.words.endswith(f"between {100 * (0.2 - error):.0f} points and {100 * (0.2 + error):.0f} points)")


# -- what is stated ------------------------------------------------------------------------------


def test_more_disagreement_than_two_such_models_can_have_is_proof_without_a_label():
    stated = Stated(new_accuracy=0.97, old_accuracy=0.97)
    told = answers(seen((400, 100, 100, 400), stated=stated))
    assert told.sign is Sign.BAD
    assert told.words.endswith("two models of 97 % accuracy can differ on 6 % at most")
    assert (told.value, told.limit) == (0.2, 0.025)
    assert answers(seen((460, 40, 40, 460), stated=stated)).sign is Sign.OPEN
    assert answers(seen((400, 100, 100, 400), stated=Stated(new_accuracy=0.97))).sign is Sign.OPEN
    assert answers(seen((400, 100, 100, 400), stated=Stated(old_accuracy=0.90))).sign is Sign.OPEN


def test_what_cannot_be_by_more_than_the_limit_is_proof():
    stated = Stated(old_accuracy=0.97)
    just = (8_000, 500, 500, 1_000)  # surely more than 9 %
    assert answers(seen(just, stated=stated)).sign is Sign.BAD
    assert answers(seen(just, stated=stated), policy=HealthPolicy(max_loss=0.04)).sign is Sign.OPEN


def test_a_model_that_heals_may_differ_as_much_as_it_likes():
    stated = Stated(new_accuracy=0.97, old_accuracy=0.97)
    told = answers(seen((100, 400, 400, 100), stated=stated), intent=Intent.HEAL)
    assert told.sign is Sign.OPEN
    told = answers(seen((100, 400, 400, 100), stated=stated), intent=Intent.HEAL, policy=UNLABELLED)
    assert told.sign is Sign.TOLD
    assert told.words == (
        "they differ on 800 of 1,000 inputs (80 %), as is expected of a model that heals; nobody labels, so who is "
        "right is not known"
    )
    assert told.value == 0.8


def test_where_nobody_labels_models_pass_that_differ_as_little_as_they_state():
    told = answers(seen(stated=Stated(new_accuracy=0.95, old_accuracy=0.93)), policy=UNLABELLED)
    assert told.sign is Sign.OPEN
    assert told.words.endswith("(13 %); nobody labels, stated errors allow 12 %")
    told = answers(seen(stated=Stated(new_accuracy=0.92, old_accuracy=0.93)), policy=UNLABELLED)
    assert told.sign is Sign.GOOD
    assert (told.value, told.limit) == (0.13, pytest.approx(0.15))


def test_where_nobody_labels_and_nothing_is_stated_nothing_is_proven():
    for stated in (Stated(), Stated(new_accuracy=0.9), Stated(old_accuracy=0.9)):
        told = answers(seen(stated=stated), policy=UNLABELLED)
        assert told.sign is Sign.OPEN
        assert told.words.endswith("nobody labels, and the models do not say how accurate they are")


def test_labels_given_although_nobody_was_asked_decide_nothing():
    assert answers(seen(labels=Labels(old_right=100)), policy=UNLABELLED).sign is Sign.OPEN


# -- regressions and alarms -------------------------------------------------------------------------


def test_a_regression_disagrees_where_answers_differ_by_more_than_the_old_model_errs():
    told = answers(seen(regression(near=995, far=5)), task=Task.REGRESSION)
    assert told.sign is Sign.GOOD
    assert told.words.startswith("they differ on 5 of 1,000 inputs (0.5 %)")


def test_a_regression_that_is_further_off_than_both_errors_is_worse():
    far = regression(far=1_000, cell=16)  # 2.8 to 4 usual errors
    told = answers(seen(far), task=Task.REGRESSION)
    assert told.sign is Sign.BAD
    assert told.words.endswith(
        "the answers differ by 2.8 usual errors of the old model at least, 2 is what equals could"
    )
    assert answers(seen(regression(far=1_000, cell=14)), task=Task.REGRESSION).sign is Sign.OPEN
    assert answers(seen(regression(far=1_000, cell=15)), task=Task.REGRESSION).sign is Sign.OPEN


def test_where_nobody_labels_a_regression_may_differ_by_both_stated_errors():
    stated = Stated(new_error=3.0, old_error=2.0)
    near = seen(regression(near=500, far=500, cell=15), stated=stated)
    told = answers(near, task=Task.REGRESSION, policy=UNLABELLED)
    assert told.sign is Sign.GOOD
    assert told.words.endswith(
        "nobody labels, by 1.4 usual errors of the old model on average, stated errors allow 2.5"
    )
    assert (told.value, told.limit) == (pytest.approx(0.5 * (2**1.5 + 2**-4.5), rel=1e-6), 2.5)
    far = seen(regression(near=100, far=900, cell=15), stated=stated)
    assert answers(far, task=Task.REGRESSION, policy=UNLABELLED).sign is Sign.OPEN
    for unknown in (Stated(new_error=3.0), Stated(old_error=2.0), Stated(new_error=3.0, old_error=0.0)):
        one = answers(seen(regression(near=500, far=500), stated=unknown), task=Task.REGRESSION, policy=UNLABELLED)
        assert "do not say how accurate" in one.words


def test_the_furthest_cell_has_an_end_too():
    stated = Stated(new_error=1.0, old_error=1.0)
    one = answers(
        seen(regression(near=995, far=5, cell=23), stated=stated),
        task=Task.REGRESSION,
        policy=HealthPolicy(labels=0, max_loss=0.001),
    )
    assert one.value == pytest.approx(0.005 * 64 + 0.995 * 2**-4.5, rel=1e-6)


def test_alarms_are_judged_like_two_classes():
    told = answers(seen((900, 4, 6, 90)), task=Task.ANOMALY)
    assert told.sign is Sign.GOOD
    assert told.words.startswith("they differ on 10 of 1,000 inputs")


def test_a_square_of_cells_tells_both_mixes():
    assert mix_of(pairs(cells=(1, 2, 3, 4, 5, 6, 7, 8, 9))) == ((6, 15, 24), (12, 15, 18))
