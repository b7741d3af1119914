"""Tests of the one reader: every form, the same examples or a refusal."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_mixup._data import examples as examples_lib

SIZE = 22
INPUTS = np.random.default_rng(0).normal(size=(SIZE, 3, 2)).astype("float32")
LABELS = np.random.default_rng(1).integers(0, 5, SIZE)
WEIGHTS = np.linspace(0, 1, SIZE)


class Batches(keras.utils.PyDataset):
    """A PyDataset of batches of eight, with `__len__`."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return slices()[index]


class Counted(keras.utils.PyDataset):
    """A PyDataset of batches of eight, with `num_batches`."""

    def __init__(self, num_batches=3):
        super().__init__()
        self._num_batches = num_batches

    @property
    def num_batches(self):
        return self._num_batches

    def __getitem__(self, index):
        return slices()[index % 3]


class Frame:
    """What pandas' objects offer that the reader uses."""

    def __init__(self, values):
        self._values = values
        self.shape = values.shape

    def __len__(self):
        return len(self._values)

    def __iter__(self):
        raise AssertionError("pandas iterates over the names of columns")

    def to_numpy(self):
        return self._values


class Loader:
    """What PyTorch's loaders offer: re-iterable, with a length."""

    def __len__(self):
        return 3

    def __iter__(self):
        return iter(slices())


def slices(size=8, columns=(INPUTS, LABELS)):
    return [
        tuple(column[start : start + size] for column in columns)
        for start in range(0, SIZE, size)
    ]


def to_dataset(*columns, size=8):
    columns = columns[0] if len(columns) == 1 else columns
    return tf.data.Dataset.from_tensor_slices(columns).batch(size)


def image_dataset():
    columns = {"image": INPUTS, "label": LABELS, "id": LABELS}
    return to_dataset(columns)


def of_unknown_rank():
    spec = tf.TensorSpec(None, "float32"), tf.TensorSpec(None, "int64")
    return tf.data.Dataset.from_generator(slices, output_signature=spec)


def of_weights():
    return to_dataset(INPUTS, LABELS, WEIGHTS)


FORMS = {
    "dataset": lambda: to_dataset(INPUTS, LABELS),
    "weights": of_weights,
    "unknown cardinality": lambda: to_dataset(INPUTS, LABELS).filter(
        lambda *_: True
    ),
    "unknown rank": of_unknown_rank,
    "tfds": image_dataset,
    "tfds elements": lambda: list(image_dataset().as_numpy_iterator()),
    "arrays": lambda: (INPUTS, LABELS),
    "tensors": lambda: (tf.constant(INPUTS), tf.constant(LABELS)),
    "weighted arrays": lambda: (INPUTS, LABELS, WEIGHTS),
    "labels in a list": lambda: (INPUTS, LABELS.tolist()),
    "labels in a column": lambda: (INPUTS, LABELS[:, None]),
    "labels of objects": lambda: (INPUTS, LABELS.astype(object)),
    "images in a list": lambda: (list(INPUTS), LABELS),
    "images and labels in lists": lambda: (list(INPUTS), LABELS.tolist()),
    "nested lists": lambda: (INPUTS.tolist(), LABELS.tolist()),
    "targets in lists": lambda: (list(INPUTS), list(np.eye(5)[LABELS])),
    "images in a list, labels in a tensor": lambda: (
        [tf.constant(each) for each in INPUTS],
        tf.constant(LABELS),
    ),
    "dictionary": lambda: {"image": INPUTS, "label": LABELS},
    "medmnist": lambda: {"test_images": INPUTS, "test_labels": LABELS[:, None]},
    "npz of Keras": lambda: {"x_test": INPUTS, "y_test": LABELS},
    "pandas": lambda: (Frame(INPUTS), Frame(LABELS)),
    "PyDataset": Batches,
    "PyDataset with num_batches": Counted,
    "generator function": lambda: slices,
    "generator": lambda: iter(slices()),
    "lists in a generator": lambda: (list(each) for each in slices()),
    "list of batches": slices,
    "loader": Loader,
}


def read(data, **options):
    return examples_lib.read(data, name="calibration", **options)


def gather(batches):
    """Returns all inputs, and labels as ids."""
    batches = [tuple(batch) for batch in batches]
    inputs = np.concatenate([batch[0] for batch in batches])
    labels = np.concatenate([batch[1] for batch in batches])
    if labels.shape[1:] == (5,):
        labels = labels.argmax(-1)
    return inputs, labels.reshape(-1)


def refused(data, match, **options):
    with pytest.raises(ValueError, match=match):
        list(read(data, **options).batches())


@pytest.mark.parametrize("form", FORMS)
class TestForms:
    def test_give_the_same_batches(self, form):
        examples = read(FORMS[form](), labeled=True, batch_size=8)
        batches = list(examples.batches())
        inputs, labels = gather(batches)
        np.testing.assert_array_equal(inputs, INPUTS)
        np.testing.assert_array_equal(labels, LABELS)
        assert labels.dtype.kind in "iu"
        assert [batch.size for batch in batches] == [8, 8, 6]
        if "weight" in form:
            weights = np.concatenate([batch.weights for batch in batches])
            np.testing.assert_array_equal(weights, WEIGHTS)

    def test_give_the_same_dataset(self, form):
        examples = read(FORMS[form](), batch_size=8)
        dataset = examples.dataset()
        assert int(dataset.cardinality()) == examples.num_batches == 3
        for _ in range(2):
            inputs, labels = gather(dataset.as_numpy_iterator())
            np.testing.assert_array_equal(inputs, INPUTS)
            np.testing.assert_array_equal(labels, LABELS)

    def test_are_read_again(self, form):
        examples = read(FORMS[form](), batch_size=8)
        if form in ("generator", "lists in a generator"):
            list(examples.batches())
            with pytest.raises(ValueError, match=r"more than once.*generator"):
                list(examples.batches())
        else:
            first, second = (gather(examples.batches()) for _ in range(2))
            np.testing.assert_array_equal(first[0], second[0])

    @pytest.mark.parametrize("max_examples", [13, 100])
    def test_are_cut_exactly(self, form, max_examples):
        examples = read(FORMS[form](), max_examples=max_examples, batch_size=8)
        size = min(max_examples, SIZE)
        dataset = examples.dataset()
        assert sum(len(parts[0]) for parts in dataset) == size
        assert int(dataset.cardinality()) == -(-size // 8)

    def test_leave_labels_out(self, form):
        examples = read(FORMS[form](), labeled=False, batch_size=8)
        for batch in examples.batches():
            assert batch.labels is None
            # Of no weight means left out, also where labels are.
            assert (batch.weights is not None) == ("weight" in form)
        # No longer an iterator that was read.
        (inputs,) = read(FORMS[form](), labeled=False).dataset().element_spec
        assert inputs.shape[1:] == (3, 2)


class TestPandas:
    def test_frames_and_series(self):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(INPUTS.reshape(SIZE, -1))
        (batch,) = read((frame, pandas.Series(LABELS, dtype=object))).batches()
        np.testing.assert_array_equal(batch.inputs, INPUTS.reshape(SIZE, -1))
        np.testing.assert_array_equal(batch.labels, LABELS)


class TestInputsAlone:
    @pytest.mark.parametrize(
        "data",
        [
            INPUTS,
            list(INPUTS),
            INPUTS.tolist(),
            Frame(INPUTS),
            to_dataset(INPUTS),
            (INPUTS,),
            slices(columns=(INPUTS,)),
        ],
        ids=lambda data: type(data).__name__,
    )
    def test_are_read(self, data):
        batches = list(read(data).batches())
        inputs = np.concatenate([batch.inputs for batch in batches])
        np.testing.assert_allclose(inputs, INPUTS)
        assert batches[0].labels is None

    @pytest.mark.parametrize(
        "data", [INPUTS, list(INPUTS), to_dataset(INPUTS), (INPUTS,)]
    )
    def test_are_refused_where_labels_are_needed(self, data):
        refused(
            data, r"come with their labels.*\(inputs, labels\)", labeled=True
        )

    def test_may_be_text(self):
        words = ["good", "bad"]
        for data in (words, np.array(words, object), to_dataset(words)):
            (batch,) = read((data, [1, 0]) if data is words else data).batches()
            assert [
                np.char.decode(np.bytes_(each)) for each in batch.inputs
            ] == (words)
        ((inputs,),) = read(words).dataset()
        assert inputs.dtype == tf.string

    def test_half_precision(self):
        (batch,) = read(tf.cast(INPUTS, "bfloat16")).batches()
        ((inputs,),) = read(tf.cast(INPUTS, "bfloat16")).dataset()
        assert batch.inputs.dtype.name == inputs.dtype.name == "bfloat16"


class TestNestedInputs:
    NESTED = {"image": INPUTS, "label": INPUTS[:, 0]}

    @pytest.mark.parametrize(
        "data",
        [
            (NESTED, LABELS),
            to_dataset(NESTED, LABELS),
            lambda: iter([(TestNestedInputs.NESTED, LABELS)]),
        ],
        ids=["arrays", "dataset", "function"],
    )
    def test_inside_a_tuple_stay_as_they_are(self, data):
        inputs, labels = next(iter(read(data, batch_size=8).dataset()))
        assert set(inputs) == {"image", "label"}
        assert labels.dtype == "int64"

    @pytest.mark.parametrize(
        ("keys", "inputs", "labels"),
        [
            (["image", "id", "file_name", "label"], "image", "label"),
            (["image", "coarse_label", "label"], "image", "label"),
            (["input_ids", "attention_mask", "labels"], None, "labels"),
            (["test_images", "test_labels"], "test_images", "test_labels"),
            (["x_train", "y_train"], "x_train", "y_train"),
            (["embedding", "idx", "target"], "embedding", "target"),
            (["a", "b"], None, None),
            (["image", "label", "target"], None, None),
        ],
    )
    def test_keys_decide(self, keys, inputs, labels):
        columns = {key: np.full(4, n) for n, key in enumerate(keys)}
        (batch,) = read(columns).batches()
        if labels is None:
            assert set(batch.inputs) == set(keys)
            assert batch.labels is None
            return
        assert batch.labels[0] == keys.index(labels)
        if inputs is None:
            assert set(batch.inputs) == {"input_ids", "attention_mask"}
        else:
            assert batch.inputs[0] == keys.index(inputs)

    def test_weights_of_a_dictionary(self):
        columns = {"x": INPUTS, "y": LABELS, "sample_weight": WEIGHTS}
        (batch,) = read(columns).batches()
        np.testing.assert_array_equal(batch.weights, WEIGHTS)

    def test_the_model_decides_which_keys_are_inputs(self):
        inputs = {name: keras.Input((), name=name) for name in ("x", "y")}
        model = keras.Model(inputs, keras.layers.Add()(list(inputs.values())))
        columns = {"x": WEIGHTS, "y": WEIGHTS, "label": LABELS}
        (batch,) = read(columns, model=model).batches()
        assert set(batch.inputs) == {"x", "y"}
        np.testing.assert_array_equal(batch.labels, LABELS)

    def test_the_model_decides_what_a_list_is(self):
        inputs = [keras.Input((2,)), keras.Input((2,))]
        model = keras.Model(inputs, keras.layers.Add()(inputs))
        columns = [INPUTS[:, 0], INPUTS[:, 1]]
        (batch,) = read(columns, model=model).batches()
        assert [each.shape for each in batch.inputs] == [(SIZE, 2)] * 2
        single = keras.Sequential([keras.Input((SIZE, 2))])
        (batch,) = read(columns, model=single).batches()
        assert batch.inputs.shape == (2, SIZE, 2)

    def test_lists_of_inputs_beside_labels(self):
        columns = [INPUTS[:, 0], INPUTS[:, :, 0]]
        (batch,) = read((columns, LABELS)).batches()
        assert [each.shape[1:] for each in batch.inputs] == [(2,), (3,)]

    def test_labels_of_several_outputs(self):
        labels = {"a": LABELS, "b": LABELS.tolist()}
        (batch,) = read((INPUTS, labels)).batches()
        np.testing.assert_array_equal(batch.labels["a"], batch.labels["b"])


class TestRefusals:
    def test_images_of_several_shapes(self):
        images = [np.zeros((4, 4)), np.zeros((4, 5)), np.zeros((3, 5))]
        for data in (images, (images, [0, 1, 2])):
            refused(data, r"\(4, 4\), \(4, 5\).*[Rr]esize.*np\.stack")

    def test_lists_of_several_lengths(self):
        refused([[1, 2], [3]], r"one shape.*np\.stack")

    @pytest.mark.parametrize(
        ("data", "match"),
        [
            (to_dataset(INPUTS, LABELS).repeat(), r"endless.*\.take\(n\)"),
            (Counted(num_batches=None), "endless PyDataset.*__len__"),
        ],
    )
    def test_endless_data_at_once(self, data, match):
        with pytest.raises(ValueError, match=match):
            read(data)
        assert sum(
            batch.size for batch in read(data, max_examples=50).batches()
        )

    @pytest.mark.parametrize("kind", ["generator", "dataset", "function"])
    def test_data_that_do_not_end(self, kind, monkeypatch):
        monkeypatch.setattr(examples_lib, "MOST_OF_UNKNOWN_LENGTH", 100)

        def endless():
            while True:
                yield INPUTS, LABELS

        data = {
            "generator": endless(),
            "dataset": to_dataset(INPUTS).repeat().filter(lambda _: True),
            "function": endless,
        }[kind]
        refused(data, r"endless after 2\*\*20 examples.*more than 100")
        assert examples_lib.read(INPUTS, name="x").num_batches == 1

    @pytest.mark.parametrize(
        "data",
        [
            to_dataset(INPUTS, LABELS).unbatch(),
            to_dataset(INPUTS, np.eye(5)[LABELS]).unbatch(),
            of_unknown_rank().unbatch(),
            to_dataset(LABELS).unbatch(),
        ],
        ids=["ids", "one-hot", "unknown rank", "numbers"],
    )
    def test_datasets_of_single_examples(self, data):
        refused(data, r"batches.*dataset\.batch\(128\)")

    def test_single_examples_from_elsewhere(self):
        pairs = list(zip(INPUTS, LABELS, strict=True))
        refused(pairs, r"shape \(3, 2\) and shape \(\)\. Yield batches")
        refused(iter(pairs), "Yield batches of examples")

    @pytest.mark.parametrize(
        "data",
        [
            INPUTS[:0],
            (INPUTS[:0], LABELS[:0]),
            to_dataset(INPUTS).take(0),
            iter([]),
            [],
            lambda: iter([]),
        ],
        ids=["array", "pair", "dataset", "generator", "list", "function"],
    )
    def test_no_examples(self, data):
        refused(data, r"must be examples in `calibration`")
        if not hasattr(data, "__next__"):
            with pytest.raises(ValueError, match="must be examples"):
                read(data).dataset()

    @pytest.mark.parametrize(
        "data",
        [
            (INPUTS, LABELS[1:]),
            (INPUTS, LABELS, WEIGHTS[1:]),
            ({"a": INPUTS, "b": INPUTS[1:]}, LABELS),
            iter([(INPUTS, LABELS[1:])]),
        ],
    )
    def test_parts_of_unequal_length(self, data):
        refused(data, "same number of examples.*22.*21.*Give as many")

    def test_four_parts(self):
        refused((INPUTS, LABELS, WEIGHTS, WEIGHTS), "4 parts.*in a dictionary")

    def test_optional_inputs_that_are_not_given(self):
        refused(({"a": INPUTS, "b": None}, LABELS), "must be given.*the model")

    @pytest.mark.parametrize("data", [None, 3.5, "images", b"images", object()])
    def test_what_holds_no_examples(self, data):
        refused(data, f"a {type(data).__name__}.*batched")

    @pytest.mark.parametrize("name", ["batch_size", "max_examples"])
    @pytest.mark.parametrize("value", [0, -5, 1.5])
    def test_numbers_out_of_range(self, name, value):
        with pytest.raises(ValueError, match=f"`{name}` must be an integer"):
            read(INPUTS, **{name: value})

    @pytest.mark.parametrize(
        "labels", [["cat", "dog"] * 11, np.array(["cat", "dog"] * 11, object)]
    )
    def test_labels_of_text(self, labels):
        refused((INPUTS, labels), "must be numbers.*num_oov_indices=0")
        with pytest.raises(ValueError, match="num_oov_indices=0"):
            read(to_dataset(INPUTS, labels)).dataset()

    def test_ragged_and_sparse(self):
        ragged = tf.ragged.constant([[1, 2], [3]])
        refused(ragged, r"dense.*RaggedTensor.*to_tensor\(\)")
        refused(to_dataset(ragged), r"dense.*RaggedTensorSpec.*to_tensor\(\)")
        sparse = tf.sparse.from_dense(np.eye(3))
        refused((sparse, [0, 1, 2]), r"dense.*SparseTensor.*to_dense")

    def test_batches_of_several_structures(self):
        data = [{"a": LABELS}, {"b": LABELS}]
        with pytest.raises(ValueError, match="one structure and one rank"):
            read(data).dataset()

    def test_damaged_files(self):
        data = to_dataset(INPUTS).map(
            lambda x: tf.debugging.check_numerics(x / 0, "damaged")
        )
        refused(data, "must be readable.*damaged.*Look for damaged files")

    def test_a_py_dataset_without_length(self):
        class Unknown(keras.utils.PyDataset):
            def __getitem__(self, index):
                return INPUTS

        refused(Unknown(), "number of batches.*Unknown without.*__len__")


class TestChecks:
    def test_unknown_ranks_pass(self):
        examples_lib.check_batched(of_unknown_rank().element_spec, name="x")


class TestProgress:
    @pytest.mark.parametrize("form", ["dataset", "generator"])
    def test_is_shown_where_it_is_asked_for(self, form, capsys):
        list(read(FORMS[form]()).batches())
        assert capsys.readouterr().out == ""
        list(read(FORMS[form]()).batches(verbose="auto"))
        assert "3/" in capsys.readouterr().out

    def test_names_itself(self):
        text = repr(read(INPUTS))
        assert text == "<Examples `calibration` from a set of arrays>"
