"""What the API tells of runs and benchmarks has the fields of the values that it is made of."""

import pytest

from device_agent.benchmark import Measured
from edgeops.api.shapes.benchmarks import BenchmarkResult
from edgeops.api.shapes.runs import EnvironmentChange, Epoch, RunEnvironment
from edgeops.learning.environment import Environment
from edgeops.learning.reproduction import Change
from edgeops.protocol.messages import Benchmarked
from fleet_server.ml import epoch

#: Told beside the result, or of the whole benchmark.
ELSEWHERE = {"benchmark", "digest", "detail"}
#: Said of the device, not measured by its child.
FACTS = {"benchmark", "digest", "arch", "runtime", "runtime_version", "board"}


@pytest.mark.parametrize(
    ("shape", "value", "apart"),
    [
        (RunEnvironment, Environment, set()),
        (Epoch, epoch.Epoch, set()),
        (EnvironmentChange, Change, set()),
        (BenchmarkResult, Benchmarked, ELSEWHERE),
    ],
)
def test_a_shape_has_the_fields_of_its_value(shape, value, apart):
    assert set(shape.model_fields) == set(value.__struct_fields__) - apart


def test_the_child_measures_what_a_device_reports():
    assert set(Measured.__struct_fields__) == set(Benchmarked.__struct_fields__) - FACTS
