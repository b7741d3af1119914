"""Names of outputs, and the labels that belong to them."""

import keras
import numpy as np
import pytest

from tf_mixup._models import named_outputs


def model_of(outputs):
    inputs = keras.Input((2,))
    return keras.Model(inputs, outputs(inputs))


def dense(name):
    return keras.layers.Dense(1, name=name)


class TestByName:
    @pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], dict])
    def test_one_output_has_no_name(self, wrap):
        outputs = {"a": np.ones(3)} if wrap is dict else wrap(np.ones(3))
        named = named_outputs.by_name(outputs, keras.Model())
        assert list(named) == [""]
        np.testing.assert_array_equal(named[""], np.ones(3))

    def test_several_have_their_keys_or_the_models_names(self):
        model = model_of(lambda x: [dense("v")(x), dense("u")(x)])
        named = named_outputs.by_name([1, 2], model)
        assert named == {"v": 1, "u": 2}
        assert named_outputs.by_name({"b": 1, "a": 2}, model) == {
            "b": 1,
            "a": 2,
        }
        assert named_outputs.by_name((1, 2), keras.Model()) == {
            "0": 1,
            "1": 2,
        }


class TestOfOutputs:
    @pytest.mark.parametrize(
        ("parts", "names", "expected"),
        [
            (1, [""], {"": 1}),
            ({"a": 1}, [""], {"": 1}),
            ({"b": 1}, ["a", "b"], {"b": 1}),
            ([1, 2], ["a", "b"], {"a": 1, "b": 2}),
            (None, ["a", "b"], {}),
        ],
    )
    def test_finds_what_belongs_to_each(self, parts, names, expected):
        found = named_outputs.of_outputs(parts, names, what="labels")
        assert found == expected

    def test_weights_may_be_shared(self):
        found = named_outputs.of_outputs(
            1, ["a", "b"], what="weights", shared=True
        )
        assert found == {"a": 1, "b": 1}

    @pytest.mark.parametrize("parts", [1, [1, 2, 3], {"c": 1}])
    def test_refuses_what_belongs_to_none(self, parts):
        with pytest.raises(
            ValueError,
            match=r"needs its own labels\. Received: labels .* outputs \['a', "
            r"'b'\]\. Give a dictionary with the labels of each output",
        ):
            named_outputs.of_outputs(parts, ["a", "b"], what="labels")
