"""What a trial tells of why it got no input."""

from device_agent.trial import Trial


def test_a_trial_that_starves_says_why_until_an_input_comes():
    trial = Trial(0.0)
    trial.starve("line 12: 'ERR' is not a number")
    assert trial.detail == "line 12: 'ERR' is not a number"
    trial.count(ok=True, latency_us=1, detail="", now=1.0)
    assert trial.detail == ""


def test_an_error_of_the_model_says_more_than_a_source_that_fails_after_it():
    trial = Trial(0.0)
    trial.count(ok=False, latency_us=0, detail="the interpreter broke", now=1.0)
    trial.starve("the sensor is away")
    assert trial.detail == "the interpreter broke"
