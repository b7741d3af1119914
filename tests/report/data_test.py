"""Data by name: what is read, what is done to it, what is refused."""

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from tf_mixup.report import data as report_data
from tf_mixup.report.data import Preparation


def stack(dataset):
    """Returns all columns of a batched dataset."""
    columns = zip(*dataset.as_numpy_iterator(), strict=True)
    return [np.concatenate(column) for column in columns]


@pytest.fixture
def folder(tmp_path):
    """Makes dark/*.png and bright/*.png of 6x8 pixels, three each."""
    for name, value in (("dark", 10), ("bright", 200)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            pixels = np.full((6, 8, 3), value + number, np.uint8)
            keras.utils.save_img(
                tmp_path / "photos" / name / f"{number}.png",
                pixels,
                scale=False,
            )
    return tmp_path / "photos"


class TestPreparation:
    def test_nothing(self):
        row = tf.constant([1, 2], tf.uint8)
        assert Preparation().apply(row) is row
        assert Preparation().describe().startswith("none")

    @pytest.mark.parametrize(
        ("scale", "expected"), [("0-1", [0, 0.2, 1]), ("-1-1", [-1, -0.6, 1])]
    )
    def test_scales(self, scale, expected):
        row = tf.constant([0, 51, 255], tf.uint8)
        scaled = Preparation(scale=scale).apply(row)
        np.testing.assert_allclose(scaled, expected, atol=1e-6)

    def test_standardises_after_scaling(self):
        row = tf.constant([[0, 255], [255, 0]], tf.uint8)
        preparation = Preparation(scale="0-1", mean=(0.5, 0.25), std=(0.5,))
        np.testing.assert_allclose(
            preparation.apply(row), [[-1, 1.5], [1, -0.5]]
        )
        assert preparation.describe() == (
            "x / 255; minus mean [0.5, 0.25]; divided by deviation [0.5]"
        )

    def test_fits_images(self):
        row = tf.fill((4, 6), tf.constant(9, tf.uint8))
        preparation = Preparation(image_size=(2, 3), channels=3)
        image = preparation.apply(row)
        assert image.shape == (2, 3, 3)
        np.testing.assert_array_equal(image, np.full((2, 3, 3), 9))
        assert "resized to 2 x 3" in preparation.describe()

    def test_leaves_images_that_fit(self):
        row = tf.zeros((4, 4, 1), tf.uint8)
        image = Preparation(image_size=(4, 4), channels=1).apply(row)
        assert image.dtype == tf.uint8

    def test_makes_colours_grey(self):
        row = tf.constant([[[0, 255, 0]]], tf.uint8)
        grey = Preparation(channels=1).apply(row)
        np.testing.assert_allclose(grey, [[[0.587 * 255]]], atol=1)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"scale": "0-255"}, "`scale` must be one of"),
            ({"std": (0.5, 0.0)}, "`std` must be a finite number above 0"),
            ({"std": (np.nan,)}, "`std` must be a finite number above 0"),
            ({"mean": np.nan}, "`mean` must be a finite number"),
            ({"std": 1e-45}, "`std` must be a number that float32 can hold"),
            ({"channels": 2}, "`channels` must be 1, 3 or None"),
            ({"image_size": (0, 3)}, "`image_size` must be an integer, at lea"),
            ({"image_size": (3,)}, "must be a height and a width"),
        ],
    )
    def test_refuses_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            Preparation(**options)

    def test_refuses_rows_that_do_not_fit(self):
        with pytest.raises(ValueError, match=r"each channel.*2 numbers"):
            Preparation(mean=(1.0, 2.0)).apply(tf.zeros((4, 4, 3)))
        with pytest.raises(ValueError, match="takes images"):
            Preparation(image_size=(2, 2)).apply(tf.zeros(5))


class TestPrepareFor:
    def test_takes_the_models_size(self):
        model = keras.Sequential(
            [keras.Input((8, 6, 3)), keras.layers.Flatten()]
        )
        found = report_data.prepare_for(model, scale="0-1")
        assert found.image_size == (8, 6)
        assert found.channels == 3
        assert found.scale == "0-1"

    def test_leaves_what_is_open(self):
        model = keras.Sequential(
            [keras.Input((None, None, 1)), keras.layers.Conv2D(1, 1)]
        )
        assert report_data.prepare_for(model).image_size is None
        found = report_data.prepare_for(model, image_size=(5, 5))
        assert found.image_size == (5, 5)
        table = keras.Sequential([keras.Input((7,)), keras.layers.Dense(1)])
        assert report_data.prepare_for(table) == Preparation()


class TestParseName:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("svhn=tfds:svhn:test", ("svhn", "tfds:svhn:test")),
            ("tfds:svhn:test", ("svhn", "tfds:svhn:test")),
            ("folder:there/photos", ("photos", "folder:there/photos")),
            ("there/a=b.npz", ("a=b", "there/a=b.npz")),
        ],
    )
    def test_splits(self, text, expected):
        assert report_data.parse_name(text) == expected

    def test_each_set_has_a_name_of_its_own(self):
        specs = ["tfds:svhn_cropped:test", "tfds:svhn_cropped:train"]
        with pytest.raises(ValueError, match="'svhn_cropped'") as caught:
            report_data.parse_names(specs)
        assert f"--ood=NAME={specs[1]}" in str(caught.value)
        named = report_data.parse_names([specs[0], f"seen={specs[1]}"])
        assert named == {"svhn_cropped": specs[0], "seen": specs[1]}


class TestNpz:
    @pytest.mark.parametrize(
        ("inputs", "labels"),
        [("x", "y"), ("image", "label"), ("test_images", "test_labels")],
    )
    def test_reads_arrays(self, tmp_path, inputs, labels):
        x, y = np.arange(10.0).reshape(5, 2), np.arange(5)
        np.savez(tmp_path / "rows.npz", **{inputs: x, labels: y})
        path = str(tmp_path / "rows.npz")
        source = report_data.load(path, Preparation(), batch_size=2)
        for found, expected in zip(stack(source.dataset), (x, y), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert source.about == "rows.npz"
        (only,) = stack(
            report_data.load(path, Preparation(), labeled=False).dataset
        )
        np.testing.assert_array_equal(only, x)

    def test_reads_the_test_set_of_medmnist(self, tmp_path):
        # As in MedMNIST's own files: three splits, labels (N, 1).
        arrays = {
            f"{split}_{kind}": np.full((size, *shape), size, np.uint8)
            for split, size in (("train", 5), ("val", 4), ("test", 3))
            for kind, shape in (("images", (2, 2)), ("labels", (1,)))
        }
        np.savez(tmp_path / "pathmnist.npz", **arrays)
        source = report_data.load(
            str(tmp_path / "pathmnist.npz"), Preparation(channels=1)
        )
        x, y = stack(source.dataset)
        assert x.shape == (3, 2, 2, 1)
        np.testing.assert_array_equal(y, [[3]] * 3)

    @pytest.mark.parametrize("name", ["max_examples", "batch_size", "seed"])
    def test_refuses_negative_numbers(self, name):
        with pytest.raises(ValueError, match=f"`{name}` must be an integer"):
            report_data.load("rows.npz", Preparation(), **{name: -5})

    def test_draws_rows_by_chance(self, tmp_path):
        np.savez(tmp_path / "rows.npz", x=np.arange(100), y=np.arange(100))

        def draw(seed):
            source = report_data.load(
                str(tmp_path / "rows.npz"),
                Preparation(),
                max_examples=10,
                seed=seed,
            )
            x, y = stack(source.dataset)
            np.testing.assert_array_equal(x, y)
            assert source.about == "rows.npz, at most 10 examples"
            return x.tolist()

        assert draw(0) == draw(0) != draw(1)
        assert len(set(draw(0))) == 10
        assert max(draw(0)) > 50

    def test_refuses_files(self, tmp_path):
        path = tmp_path / "rows.npz"

        def load(labeled=True):
            return report_data.load(str(path), Preparation(), labeled=labeled)

        with pytest.raises(FileNotFoundError, match="does not exist"):
            load()
        path.write_bytes(b"PK\x03\x04 and no more")
        with pytest.raises(ValueError, match=r"whole `.npz` file"):
            load()
        np.savez(path, x=np.array([{}], object), y=[0])
        with pytest.raises(ValueError, match="without arrays of objects"):
            load()
        np.savez(path, x=np.zeros(3), z=np.zeros(3))
        with pytest.raises(ValueError, match=r"arrays \['x', 'z'\]"):
            load()
        assert len(stack(load(labeled=False).dataset)[0]) == 3
        np.savez(path, x=np.zeros(3), y=np.zeros(4))
        with pytest.raises(ValueError, match="as many labels"):
            load()


class TestFolder:
    def test_reads_classes_in_order_of_their_names(self, folder):
        source = report_data.load(
            f"folder:{folder}", Preparation(image_size=(3, 4), channels=3)
        )
        x, y = stack(source.dataset)
        assert x.shape == (6, 3, 4, 3)
        assert source.class_names == ["bright", "dark"]
        np.testing.assert_array_equal(y, np.where(x[:, 0, 0, 0] > 100, 0, 1))
        assert source.about == "photos"

    def test_rows_without_labels_lie_at_any_depth(self, folder):
        source = report_data.load(
            f"folder:{folder.parent}",
            Preparation(image_size=(6, 8), channels=1, scale="0-1"),
            labeled=False,
            max_examples=4,
        )
        (x,) = stack(source.dataset)
        assert x.shape == (4, 6, 8, 1)
        assert x.max() <= 1
        assert source.class_names is None

    def test_leaves_out_what_is_no_image(self, folder):
        (folder / ".ipynb_checkpoints").mkdir()
        (folder / ".ipynb_checkpoints" / "0.png").write_bytes(b"no image")
        (folder / "dark" / "._0.png").write_bytes(b"no image")
        for name in ("a.tif", "b.tif", "README"):
            (folder / "dark" / name).write_bytes(b"no image")
        source = report_data.load(
            f"folder:{folder}", Preparation(image_size=(3, 4))
        )
        assert source.class_names == ["bright", "dark"]
        assert len(stack(source.dataset)[0]) == 6
        assert source.about == (
            "photos (3 files of other types were left out: 2 .tif,"
            " 1 without suffix)"
        )

    @pytest.mark.parametrize("channels", [1, 3])
    def test_reads_gif_and_names_of_any_language(self, folder, channels):
        PIL.Image.fromarray(np.full((6, 8), 70, np.uint8)).save(
            folder / "dark" / "käse.gif"
        )
        (folder / "dark").rename(folder / "dunkel-ß")
        source = report_data.load(
            f"folder:{folder}",
            Preparation(image_size=(3, 4), channels=channels),
        )
        x, _ = stack(source.dataset)
        assert source.class_names == ["bright", "dunkel-ß"]
        assert x.shape == (7, 3, 4, channels)
        assert 70 in np.rint(x)

    @pytest.mark.parametrize("labeled", [True, False])
    def test_names_a_damaged_image(self, folder, labeled):
        (folder / "dark" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
        source = report_data.load(
            f"folder:{folder}",
            Preparation(image_size=(3, 4)),
            labeled=labeled,
        )
        with pytest.raises(tf.errors.OpError, match=r"dark/bad\.png"):
            stack(source.dataset)

    def test_refuses_folders(self, folder, tmp_path):
        sized = Preparation(image_size=(4, 4))

        def load(path, preparation=sized, labeled=True):
            report_data.load(f"folder:{path}", preparation, labeled=labeled)

        with pytest.raises(FileNotFoundError, match="which is none"):
            load(tmp_path / "nowhere")
        with pytest.raises(ValueError, match="--image_size"):
            load(folder, Preparation())
        with pytest.raises(ValueError, match=r"without folders.*PATH/CLASS"):
            load(folder / "dark")
        (tmp_path / "empty" / "dark").mkdir(parents=True)
        for labeled in (True, False):
            with pytest.raises(ValueError, match="must hold images"):
                load(tmp_path / "empty", labeled=labeled)


class TestTfds:
    def test_reads_real_data(self, data_dir):
        source = report_data.load(
            "tfds:fashion_mnist:test",
            Preparation(image_size=(28, 28), channels=1),
            data_dir=str(data_dir / "tfds"),
            max_examples=5,
        )
        x, y = stack(source.dataset)
        assert x.shape == (5, 28, 28, 1)
        assert x.dtype == np.uint8
        assert len(source.class_names) == 10
        assert y.shape == (5,)
        assert source.about == "tfds:fashion_mnist:test, at most 5 examples"

    def test_split_is_test_unless_said(self, data_dir):
        source = report_data.load(
            "tfds:fashion_mnist",
            Preparation(),
            labeled=False,
            data_dir=str(data_dir / "tfds"),
        )
        assert source.dataset.unbatch().reduce(0, lambda n, *_: n + 1) == 10_000

    def test_refuses_what_is_not_there(self, data_dir, tmp_path):
        with pytest.raises(FileNotFoundError, match="must have been prepared"):
            report_data.load(
                "tfds:mnist", Preparation(), data_dir=str(tmp_path)
            )
        with pytest.raises(ValueError, match="Unknown split"):
            report_data.load(
                "tfds:iris:test",
                Preparation(),
                data_dir=str(data_dir / "tfds"),
            )

    def test_refuses_an_unknown_name(self, tmp_path):
        with pytest.raises(ValueError, match="must know the set"):
            report_data.load(
                "tfds:no_such_set", Preparation(), data_dir=str(tmp_path)
            )


def test_refuses_another_form():
    with pytest.raises(ValueError, match=r"folder:PATH` or a `.npz` file"):
        report_data.load("photos.zip", Preparation())
