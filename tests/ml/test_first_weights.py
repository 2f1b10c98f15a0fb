"""What networks begin with: artifacts repeat only while these stay the same."""

import numpy as np
import pytest

from edgeops.artifact.manifest import Task
from fleet_server.ml.framework import load_tensorflow
from fleet_server.ml.recipes.catalog import RECIPES
from fleet_server.ml.recipes.head import Head
from fleet_server.ml.recipes.names import RecipeName

pytestmark = pytest.mark.slow

SHAPES = {RecipeName.DENSE: (6,), RecipeName.CNN: (8, 8, 1), RecipeName.SIGNALS: (1, 16, 2)}
#: Of layer n of a network of seed s.
SEEDS = {
    RecipeName.DENSE: lambda seed, layer: seed + layer,
    RecipeName.CNN: lambda seed, layer: 1000 * seed + layer,
    RecipeName.SIGNALS: lambda seed, layer: 1000 * seed + layer,
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_layer_begins_with_the_weights_of_a_seed_of_its_own(name: RecipeName) -> None:
    tf = load_tensorflow()
    build = RECIPES[name].network
    assert build is not None
    network = build(tf, SHAPES[name], Head(Task.CLASSIFICATION, 3), 7, None)
    layers = [layer for layer in network.layers if layer.get_weights()]
    for place, layer in enumerate(layers):
        kernel, bias = layer.get_weights()
        kind = tf.keras.initializers.GlorotUniform if layer is layers[-1] else tf.keras.initializers.HeNormal
        assert np.array_equal(kernel, kind(seed=SEEDS[name](7, place))(kernel.shape)), layer.name
        assert not bias.any(), layer.name
