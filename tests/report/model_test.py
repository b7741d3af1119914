"""Models load without running code, or are refused with what to do."""

import json
import pathlib
import zipfile

import keras
import numpy as np
import pytest

from tests import stages
from tf_mixup.report import model as report_model


class Doubling(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


@keras.saving.register_keras_serializable("report_model_test")
class Tripling(keras.layers.Layer):
    def call(self, inputs):
        return 3 * inputs


def save(folder: pathlib.Path, *layers) -> pathlib.Path:
    path = folder / "model.keras"
    keras.Sequential([keras.Input((2,)), *layers]).save(path)
    return path


class TestLoad:
    def test_predicts_as_before(self, tmp_path):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        model.save(tmp_path / "model.keras")
        x = np.ones((4, 2))
        loaded = report_model.load(str(tmp_path / "model.keras"))
        np.testing.assert_array_equal(
            loaded.predict_on_batch(x), model.predict_on_batch(x)
        )

    def test_needs_neither_loss_nor_optimizer(self, tmp_path):
        def own_loss(targets, outputs):
            return keras.ops.mean(outputs)

        path = tmp_path / "model.keras"
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        model.compile("adam", own_loss)
        model.fit(np.ones((4, 2)), np.ones((4, 3)), verbose=0)
        model.save(path)
        assert not report_model.load(path).compiled

    def test_knows_registered_classes(self, tmp_path):
        path = save(tmp_path, Tripling())
        loaded = report_model.load(path)
        assert loaded.predict_on_batch(np.ones((1, 2))).tolist() == [[3, 3]]

    def test_knows_this_librarys_classes(self, tmp_path):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        stages.training_model(model).save(tmp_path / "twin.keras")
        assert len(report_model.load(tmp_path / "twin.keras").inputs) == 3

    def test_refuses_a_lambda_layer(self, tmp_path, monkeypatch):
        path = save(tmp_path, keras.layers.Lambda(lambda x: x))
        never = pytest.fail
        monkeypatch.setattr(keras.saving, "load_model", never)
        with pytest.raises(ValueError, match=r"no Lambda layers.*safe_mode="):
            report_model.load(path)

    def test_refuses_a_lambda_within_a_layer(self, tmp_path):
        inner = keras.Sequential([keras.layers.Lambda(lambda x: x)])
        path = save(tmp_path, inner)
        with pytest.raises(ValueError, match="with a Lambda layer"):
            report_model.load(path)

    def test_refuses_an_unregistered_class(self, tmp_path):
        path = save(tmp_path, Doubling())
        message = "registered. Received: .*`Doubling`.*--imports="
        with pytest.raises(ValueError, match=message):
            report_model.load(path)

    def test_refuses_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            report_model.load(tmp_path / "model.keras")

    @pytest.mark.parametrize("damage", ["no zip", "cut", "no config", "flip"])
    def test_refuses_a_damaged_file(self, tmp_path, damage):
        path = save(tmp_path, keras.layers.Dense(50))
        whole = path.read_bytes()
        if damage == "no zip":
            path.write_bytes(b"weights")
        elif damage == "cut":
            path.write_bytes(whole[: len(whole) // 2])
        elif damage == "no config":
            with zipfile.ZipFile(path, "w") as file:
                file.writestr("other.json", "{}")
        else:
            middle = len(whole) // 2
            flipped = bytes([whole[middle] ^ 255])
            path.write_bytes(whole[:middle] + flipped + whole[middle + 1 :])
        with pytest.raises(ValueError, match=r"whole `.keras` file"):
            report_model.load(path)

    def test_refuses_what_keras_cannot_build(self, tmp_path):
        path = save(tmp_path, keras.layers.Dense(2))
        with zipfile.ZipFile(path) as file:
            config = json.loads(file.read("config.json"))
            weights = file.read("model.weights.h5")
        config["config"]["layers"][1]["config"]["units"] = "many"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("config.json", json.dumps(config))
            file.writestr("model.weights.h5", weights)
        with pytest.raises(ValueError, match="Keras must be able to load"):
            report_model.load(path)

    @pytest.mark.parametrize("name", ["model.h5", "saved_model"])
    def test_refuses_other_formats(self, tmp_path, name):
        path = tmp_path / name
        path.mkdir()
        with pytest.raises(ValueError, match="another format"):
            report_model.load(path)
