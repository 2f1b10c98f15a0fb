"""The one place that loads TensorFlow: settings first, import second, deterministic operations third.

It costs seconds and half a gigabyte, so it happens when the first training comes, or when a worker was
started warm. Nothing of ours is decided here.
"""

import logging
import os
import warnings
from importlib import metadata
from typing import Any

from edgeops.errors import PlatformError

#: One thread: the order of additions, and so the last bits of a weight, do not depend on the machine's cores.
THREADS = 1
_LIBRARIES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "ai-edge-litert")
_SETTINGS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
    # Other kernels on other processors would give other sums.
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "KERAS_BACKEND": "tensorflow",
}


def load_tensorflow() -> Any:
    """The module `tensorflow`, ready for repeatable work; later calls cost nothing.

    Raises:
        PlatformError: it is not installed.
    """
    os.environ.update(_SETTINGS)
    # The converter warns on every use that inputs have no statistics; full integer needs none.
    warnings.filterwarnings("ignore", module=r"tensorflow\.|keras\.|google\.")
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        raise PlatformError(
            f"training needs TensorFlow ({error}); pip install 'edgeops[train]' and try again"
        ) from error
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    tf.get_logger().setLevel("ERROR")
    if tf.config.threading.get_intra_op_parallelism_threads() != THREADS:
        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(THREADS)
        tf.config.experimental.enable_op_determinism()
    return tf


def library_versions() -> dict[str, str]:
    """Of all that a file's bytes depend on, by name."""
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
