"""Two logical CPU devices for every test, and the real data if it is there."""

import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import tensorflow as tf

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

REAL_DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Splits the CPU in two, which TensorFlow allows before it starts only."""
    if getattr(config.option, "numprocesses", None):
        return  # xdist's controller runs no test and stays light.
    from experiments.distributed import strategy

    strategy.split_cpu(2)


@pytest.fixture
def data_dir() -> pathlib.Path:
    """Returns the folder of real data sets; skips where there is none."""
    if not REAL_DATA.is_dir():
        pytest.skip("needs the real data sets beside the project")
    return REAL_DATA


@pytest.fixture
def channels_first() -> Iterator[None]:
    """Puts the channels of images before their height, as Keras' setting."""
    import keras

    kept = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(kept)


@pytest.fixture
def two_replicas() -> "tf.distribute.MirroredStrategy":
    """Returns a strategy of two replicas on the two logical CPUs."""
    import keras
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        pytest.skip("strategies are TensorFlow's")

    # The default joins CPUs by keys that begin anew with each strategy.
    return tf.distribute.MirroredStrategy(
        ["/cpu:0", "/cpu:1"],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )
