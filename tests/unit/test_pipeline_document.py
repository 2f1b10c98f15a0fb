"""What a pipeline file may say, and how it is told what it may not."""

import pytest

from edgeops.artifact.manifest import Variant
from edgeops.data.rules import read_rules
from edgeops.errors import InputError
from edgeops.pipeline.document import read_pipeline

WHOLE = """
[datasets.gas]
file = "gas.csv"
rules = "gas.rules.toml"

[datasets.rooms]
file = "gas.csv"
[datasets.rooms.rules]
label = "ppm"
task = "regression"
[datasets.rooms.rules.columns.t]
from = "degF"
unit = "degC"

[models.gas-ppm]
dataset = "gas"
epochs = 3
publish = ["int8"]
[models.gas-ppm.options]
window = 4
"""

SMALLEST = f"{WHOLE}\n[models.other]\ndataset = 'gas'\npublish = 'smallest'"


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "gas.csv").write_text("x,y\n1,a\n")
        (tmp_path / "gas.rules.toml").write_text('label = "y"  # of the smell\n')
        file = tmp_path / "edgeops.toml"
        file.write_text(text)
        return file

    return write


def refusal(file):
    with pytest.raises(InputError) as told:
        read_pipeline(file)
    return str(told.value)


def test_a_whole_file_is_read_with_its_rules(write):
    pipeline = read_pipeline(write(WHOLE))
    assert pipeline.rules["gas"] == 'label = "y"  # of the smell\n'
    assert read_rules(pipeline.rules["rooms"]).columns["t"].from_unit == "degF"
    training = pipeline.models["gas-ppm"]
    assert (training.epochs, training.options, training.publish) == (3, {"window": 4}, (Variant.INT8,))


def test_the_smallest_within_budgets_is_chosen_among_all_variants(write):
    told = (
        '\n[models.small]\ndataset = "gas"\nfolds = 5\npublish = "smallest"\nbudgets = {max_size = "1kB", max_p95 = 2}'
    )
    training = read_pipeline(write(WHOLE + told)).models["small"]
    assert (training.built, training.folds) == (tuple(Variant), 5)
    assert training.budgets.given() == {"loss_points": None, "size_bytes": 1000, "p95_latency_ms": 2.0}


def test_variants_that_are_named_are_those_among_which_the_smallest_is(write):
    told = '\n[models.small]\ndataset = "gas"\nvariants = ["float32", "float16"]\npublish = "smallest"'
    assert read_pipeline(write(WHOLE + told)).models["small"].built == (Variant.FLOAT32, Variant.FLOAT16)


def test_a_folder_of_pictures_needs_no_rules(write, tmp_path):
    (tmp_path / "pictures").mkdir()
    pipeline = read_pipeline(write('[datasets.digits]\nfile = "pictures"'))
    assert pipeline.rules["digits"] == ""


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('[datasets.gas]\nfile = "gass.csv"\nrules = "gas.rules.toml"', "#/datasets/gas/file", "there is no"),
        ('[datasets.gas]\nfile = "gas.csv"\nrules = "none.toml"', "#/datasets/gas/rules", "cannot read"),
        ('[datasets.gas]\nfile = "gas.csv"\n[datasets.gas.rules]\nlabl = "y"', "#/datasets/gas/rules", "labl"),
        ('[datasets.gas]\nfile = "gas.csv"', "#/datasets/gas/rules", "needs a label"),
        ('[datasets.G]\nfile = "gas.csv"', "#/datasets/G", "is no name"),
        ("[datasets.gas]\n", "#/datasets/gas", "file is missing"),
        ('datasets = "gas.csv"', "#/datasets", "is a table"),
        ("[dataset.gas]\n", "#/dataset", "did you mean datasets?"),
        (f"{WHOLE}\n[models.other]\ndataset = 'gaz'", "#/models/other/dataset", "did you mean gas?"),
        (f"{WHOLE}\n[models.other]\ndataset = 'gas'\nsed = 1", "#/models/other/sed", "did you mean seed?"),
        (f"{WHOLE}\n[models.other]\ndataset = 'gas'\nepochs = 0", "#/models/other/epochs", ">= 1"),
        (f"{WHOLE}\n[models.other]\ndataset = 'gas'\npublish = ['float16']", "#/models/other/publish", "float16"),
        (f"{WHOLE}\n[models.other]\ndataset = 'gas'\nbudgets = {{}}", "#/models/other/budgets", 'publish = "smallest"'),
        (f"{SMALLEST}\nbudgets = {{max_size = '1 GB'}}", "#/models/other/budgets", "'1 GB' is no size"),
        (f"{SMALLEST}\nbudgets = {{max_los = 1}}", "#/models/other/budgets", "max_los"),
        ("", "#", "no dataset is declared"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_place(write, text, place, words):
    told = refusal(write(text))
    assert f"{place}: " in told
    assert words in told


def test_everything_that_is_wrong_is_told_at_once(write):
    told = refusal(write('[datasets.gas]\nfile = "none.csv"\n[models.m-1]\ndataset = "none"\nseed = -1'))
    assert len(told.splitlines()) == 3


@pytest.mark.parametrize(("text", "words"), [("= 1", "is not TOML"), ("a" * 3_000_000, "is larger than")])
def test_what_is_no_pipeline_file_is_named(write, text, words):
    assert words in refusal(write(text))


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert "cannot read" in refusal(tmp_path / "edgeops.toml")
