"""Tests of loading, splitting, corrupting and converting data sets."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments import datasets
from experiments.datasets import images
from experiments.datasets import splits


def rows(size, num_classes=4):
    """Returns arrays whose single pixel is the row's number."""
    return splits.Arrays(
        np.arange(size, dtype=np.uint8).reshape(size, 1, 1, 1),
        (np.arange(size) % num_classes).astype(np.int32),
    )


def clean_splits(size, num_classes=10, num_validation=0):
    labels = (np.arange(size + num_validation) % num_classes).astype(np.int32)
    pixels = np.zeros((len(labels), 1, 1, 1), np.uint8)
    return splits.Splits(
        name="made",
        train=splits.Arrays(pixels[:size], labels[:size]),
        validation=splits.Arrays(pixels[size:], labels[size:]),
        test=splits.Arrays(pixels[:5], labels[:5]),
        num_classes=num_classes,
        mean=(0.0,),
        std=(1.0,),
        true_labels=labels[:size],
        corrupted=np.zeros(size, bool),
    )


class Unprepared:
    """A TFDS builder of four rows that must first be prepared."""

    prepared = False

    def download_and_prepare(self):
        self.prepared = True

    def is_prepared(self):
        return self.prepared

    def as_dataset(self, split, batch_size):
        del split, batch_size
        return {
            "image": tf.zeros((4, 2, 2, 1), tf.uint8),
            "label": tf.range(4, dtype=tf.int64),
        }


@pytest.fixture
def image_folder(tmp_path):
    """Makes train/{ant,bee} and test/bee of 6x6 images."""
    for split, name, count in [
        *(("train", "bee", 2), ("train", "ant", 3), ("test", "bee", 2)),
    ]:
        (tmp_path / split / name).mkdir(parents=True)
        for index in range(count):
            keras.utils.save_img(
                tmp_path / split / name / f"{index}.png",
                np.full((6, 6, 3), 10 * index + len(split)),
                scale=False,
            )
    return tmp_path


@pytest.fixture
def unlike_images(image_folder):
    """Makes one of them 8x10."""
    path = image_folder / "test" / "bee" / "0.png"
    keras.utils.save_img(path, np.zeros((8, 10, 3)), scale=False)
    return image_folder


class TestCarve:
    def test_rows_are_shared_out_once(self):
        train, validation = splits.carve(rows(50), seed=0)
        assert len(validation.labels) == 5
        both = np.concatenate([train.inputs, validation.inputs]).ravel()
        np.testing.assert_array_equal(np.sort(both), np.arange(50))

    def test_labels_stay_with_their_images(self):
        for part in splits.carve(rows(50), num_validation=20, seed=1):
            np.testing.assert_array_equal(part.labels, part.inputs.ravel() % 4)

    def test_the_seed_decides(self):
        one, same, other = (
            splits.carve(rows(50), seed=seed)[0].inputs for seed in (3, 3, 4)
        )
        np.testing.assert_array_equal(one, same)
        assert np.any(one != other)

    def test_subsets_are_nested_and_leave_validation_alone(self):
        small, validation = splits.carve(
            rows(50), num_validation=10, num_train=7, seed=0
        )
        large, same = splits.carve(rows(50), num_validation=10, seed=0)
        np.testing.assert_array_equal(small.inputs, large.inputs[:7])
        np.testing.assert_array_equal(validation.inputs, same.inputs)

    def test_no_validation(self):
        train, validation = splits.carve(rows(5), num_validation=0, seed=0)
        assert (len(train.labels), len(validation.labels)) == (5, 0)

    @pytest.mark.parametrize(("validation", "train"), [(6, 5), (-1, 3)])
    def test_refuses_more_rows_than_there_are(self, validation, train):
        with pytest.raises(ValueError, match="must fit into 10 examples"):
            splits.carve(
                rows(10), num_validation=validation, num_train=train, seed=0
            )


class TestCorrupt:
    @pytest.mark.parametrize("probability", [0.2, 0.5, 0.8])
    def test_wrong_labels_are_nine_tenths_of_the_redrawn(self, probability):
        noisy = splits.corrupt(clean_splits(20_000), probability, seed=0)
        wrong = noisy.train.labels != noisy.true_labels
        # Deviation of a share is at most 1 / (2 sqrt(20,000)) = 0.0035.
        assert abs(noisy.corrupted.mean() - probability) < 5 * 0.0035
        assert abs(wrong.mean() - 0.9 * probability) < 5 * 0.0035
        assert not np.any(wrong & ~noisy.corrupted)

    def test_redrawn_labels_are_uniform(self):
        noisy = splits.corrupt(clean_splits(20_000), 1.0, seed=0)
        counts = np.bincount(noisy.train.labels, minlength=10)
        # Deviation sqrt(20,000 * 0.1 * 0.9) = 42.
        assert np.all(np.abs(counts - 2_000) < 5 * 42)
        assert noisy.corrupted.all()

    def test_only_training_labels_change(self):
        clean = clean_splits(100, num_validation=50)
        noisy = splits.corrupt(clean, 0.9, seed=0)
        for part in ("validation", "test"):
            np.testing.assert_array_equal(
                getattr(noisy, part).labels, getattr(clean, part).labels
            )
        np.testing.assert_array_equal(noisy.true_labels, clean.train.labels)
        assert noisy.train.labels.dtype == np.int32

    def test_validation_on_request_with_the_same_training_draw(self):
        clean = clean_splits(100, num_validation=50)
        for kind in ("uniform", "class_map"):
            alone = splits.corrupt(clean, 0.9, seed=0, kind=kind)
            both = splits.corrupt(
                clean, 0.9, seed=0, kind=kind, validation=True
            )
            np.testing.assert_array_equal(alone.train.labels, both.train.labels)
            assert np.any(both.validation.labels != clean.validation.labels)

    def test_class_map_sends_each_class_to_one_other(self):
        clean = clean_splits(1_000, num_validation=500)
        noisy = splits.corrupt(
            clean, 0.5, seed=0, kind="class_map", validation=True
        )
        pairs = set()
        for before, after in [
            (clean.train.labels, noisy.train.labels),
            (clean.validation.labels, noisy.validation.labels),
        ]:
            moved = before != after
            pairs |= set(zip(before[moved], after[moved], strict=True))
        assert len(pairs) == 10
        wrong = noisy.train.labels != noisy.true_labels
        np.testing.assert_array_equal(wrong, noisy.corrupted)

    def test_more_noise_corrupts_more_of_the_same_rows(self):
        little, much = (
            splits.corrupt(clean_splits(500), p, seed=0).corrupted
            for p in (0.2, 0.6)
        )
        assert not np.any(little & ~much)

    def test_refuses_a_percentage(self):
        with pytest.raises(ValueError, match="for 20 % noise"):
            splits.corrupt(clean_splits(5), 20, seed=0)

    def test_refuses_an_unknown_kind(self):
        with pytest.raises(ValueError, match="Received: kind='flip'"):
            splits.corrupt(clean_splits(5), 0.5, seed=0, kind="flip")


class TestDigits:
    def test_splits(self):
        digits = datasets.load("digits", seed=0)
        sizes = [
            len(part.labels)
            for part in (digits.train, digits.validation, digits.test)
        ]
        # 1,797 digits: a fifth to test, a tenth of the rest to validation.
        assert sizes == [1_295, 143, 359]
        assert digits.train.inputs.shape[1:] == (8, 8, 1)
        assert digits.train.inputs.dtype == np.uint8
        assert digits.train.inputs.max() == 255
        assert digits.train.labels.dtype == np.int32
        assert digits.num_classes == 10
        assert not digits.corrupted.any()

    def test_the_test_set_does_not_depend_on_the_seed(self):
        one, other = (datasets.load("digits", seed=seed) for seed in (0, 1))
        np.testing.assert_array_equal(one.test.inputs, other.test.inputs)
        assert np.any(one.train.inputs != other.train.inputs)

    def test_statistics_are_those_of_the_pixels(self):
        digits = datasets.load("digits", num_validation=0)
        np.testing.assert_allclose(digits.mean, digits.train.inputs.mean())
        np.testing.assert_allclose(digits.std, digits.train.inputs.std())

    def test_corruption_of_a_subset(self):
        digits = datasets.load("digits", corruption=0.5, num_train=200)
        assert digits.train.inputs.shape == (200, 8, 8, 1)
        assert 60 < digits.corrupted.sum() < 140


class TestTfds:
    @pytest.mark.parametrize(
        ("name", "shape", "size"),
        [
            ("fashion_mnist", (28, 28, 1), 60_000),
            pytest.param(
                *("cifar10", (32, 32, 3), 50_000), marks=pytest.mark.slow
            ),
        ],
    )
    def test_real_sets_and_their_printed_statistics(
        self, data_dir, name, shape, size
    ):
        loaded = datasets.load(
            name, data_dir=data_dir / "tfds", num_validation=0
        )
        assert loaded.train.inputs.shape == (size, *shape)
        assert loaded.test.inputs.shape == (10_000, *shape)
        told = datasets.make_placeholder(name).train
        assert told.inputs.shape[1:] == shape
        assert np.bincount(loaded.test.labels).tolist() == [1_000] * 10
        # Every fifth image is enough for two digits of 255.
        pixels = loaded.train.inputs[::5].reshape(-1, shape[-1])
        np.testing.assert_allclose(pixels.mean(axis=0), loaded.mean, atol=0.5)
        np.testing.assert_allclose(pixels.std(axis=0), loaded.std, atol=0.5)

    def test_a_missing_set_names_the_command(self, tmp_path):
        with pytest.raises(
            FileNotFoundError,
            match="--dataset=cifar10 --data_dir=DIR --download",
        ):
            datasets.load("cifar10", data_dir=tmp_path)

    def test_download_prepares_before_reading(self, monkeypatch):
        tfds = pytest.importorskip("tensorflow_datasets")
        monkeypatch.setattr(
            tfds, "builder", lambda name, data_dir: Unprepared()
        )
        with pytest.raises(FileNotFoundError):
            datasets.load("mnist")
        loaded = datasets.load("mnist", download=True, num_validation=1)
        assert loaded.train.inputs.shape == (3, 2, 2, 1)
        assert loaded.train.labels.dtype == np.int32
        # The printed constants, whatever the pixels: 255 * 0.1307.
        np.testing.assert_allclose(loaded.mean, [33.3285])

    def test_an_unknown_name_is_refused(self):
        with pytest.raises(ValueError, match="Received: name='cifar'"):
            datasets.load("cifar")


class TestFolder:
    def test_train_and_test_folders(self, image_folder):
        loaded = datasets.load(f"folder:{image_folder}", num_validation=0)
        assert loaded.num_classes == 2
        assert loaded.train.inputs.shape == (5, 6, 6, 3)
        # ant is class 0; grey levels are 10 * index + len("train").
        pairs = zip(
            loaded.train.labels, loaded.train.inputs[:, 0, 0, 0], strict=True
        )
        assert sorted(pairs) == [(0, 5), (0, 15), (0, 25), (1, 5), (1, 15)]
        assert loaded.test.labels.tolist() == [1, 1]
        assert loaded.test.inputs[:, 0, 0, 0].tolist() == [4, 14]

    def test_a_fifth_is_held_out_without_test_folder(self, image_folder):
        loaded = datasets.load(
            "folder:train", data_dir=image_folder, num_validation=1
        )
        sizes = [
            len(part.labels)
            for part in (loaded.train, loaded.validation, loaded.test)
        ]
        assert sizes == [3, 1, 1]

    def test_hidden_files_and_other_types(self, image_folder, caplog):
        for name in (".ipynb_checkpoints", ".git"):
            (image_folder / "train" / name).mkdir()
        ant = image_folder / "train" / "ant"
        (ant / ".ipynb_checkpoints").mkdir()
        shutil.copy(ant / "0.png", ant / ".ipynb_checkpoints" / "0-copy.png")
        for name in ("._0.png", "Thumbs.db", "a.tif", "b.TIF", "notes"):
            (ant / name).write_bytes(b"no image")
        shutil.copy(ant / "0.png", ant / "UPPER.PNG")
        loaded = datasets.load(f"folder:{image_folder}", num_validation=0)
        assert np.bincount(loaded.train.labels).tolist() == [4, 2]
        (record,) = caplog.records
        assert record.getMessage().endswith(
            "3 files of other types were left out: 2 .tif, 1 without suffix."
        )
        found = datasets.load_ood(
            "folder:train", data_dir=image_folder, input_shape=(6, 6, 3)
        )
        assert len(found) == 6

    @pytest.mark.parametrize("suffix", [".bmp", ".gif", ".webp", ".jpg"])
    def test_types_that_are_decoded(self, image_folder, suffix):
        path = image_folder / "test" / "bee" / f"x{suffix}"
        keras.utils.save_img(path, np.full((6, 6, 3), 99), scale=False)
        loaded = datasets.load(f"folder:{image_folder}")
        assert loaded.test.inputs[2, 0, 0, 0] == pytest.approx(99, abs=2)

    def test_names_a_damaged_image(self, image_folder):
        path = image_folder / "train" / "ant" / "1 é.png"
        path.write_bytes(b"no image")
        with pytest.raises(ValueError, match=r"whole JPEG.*1 é\.png'\. Delete"):
            datasets.load(f"folder:{image_folder}")

    def test_an_image_has_one_class(self, image_folder):
        shutil.rmtree(image_folder / "test")
        (image_folder / "val").mkdir()
        for name in ("ant", "bee"):
            source = next((image_folder / "train" / name).iterdir())
            shutil.copy(source, image_folder / "val" / f"{name}.png")
        file = image_folder / "val_labels.txt"
        lines = "ant.png ant\nbee.png bee\nbee.png bee\n"
        file.write_text(lines)
        loaded = datasets.load(f"folder:{image_folder}")
        assert loaded.test.labels.tolist() == [0, 1]
        file.write_text(lines + "bee.png ant\n")
        with pytest.raises(
            ValueError, match=r"must have one class.*'bee' and 'ant'. Delete"
        ):
            datasets.load(f"folder:{image_folder}")

    def test_a_folder_has_a_name(self):
        with pytest.raises(ValueError, match=r"follows the colon.*folder:\."):
            datasets.load("folder:")

    def test_a_class_may_have_no_test_image(self, image_folder):
        (image_folder / "test" / "ant").mkdir()
        loaded = datasets.load(f"folder:{image_folder}")
        assert loaded.num_classes == 2
        assert loaded.test.labels.tolist() == [1, 1]

    def test_a_split_folder_without_test_is_no_class(self, image_folder):
        (image_folder / "test").rename(image_folder / "val")
        loaded = datasets.load(f"folder:{image_folder}")
        assert loaded.test.labels.tolist() == [1, 1]
        shutil.rmtree(image_folder / "val")
        with pytest.raises(
            FileNotFoundError, match=r"`test` or `val` beside.*Name '.*train',"
        ):
            datasets.load(f"folder:{image_folder}")

    def test_crops_photographs_alone(self):
        with pytest.raises(ValueError, match="`image_size` is for photograph"):
            datasets.load("digits", image_size=32)

    def test_refuses_sizes_that_differ(self, unlike_images):
        with pytest.raises(ValueError, match=r"2 sizes .*imagefolder:PATH"):
            datasets.load(f"folder:{unlike_images}")

    def test_refuses_a_test_class_without_training(self, image_folder):
        (image_folder / "test" / "cat").mkdir()
        with pytest.raises(ValueError, match=r"test classes \['cat'\]"):
            datasets.load(f"folder:{image_folder}")

    def test_refuses_a_folder_without_classes(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="one folder a class"):
            datasets.load(f"folder:{tmp_path}")

    def test_refuses_a_class_without_images(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(
            FileNotFoundError, match=r"Received: .* without any"
        ):
            datasets.load(f"folder:{tmp_path}")


class TestConvertImages:
    def test_gray_is_repeated(self):
        gray = np.array([[[[7], [9]]]], np.uint8)
        np.testing.assert_array_equal(
            images.convert_images(gray, (1, 2, 3)),
            [[[[7, 7, 7], [9, 9, 9]]]],
        )

    def test_luma_by_hand(self):
        # 0.299 * 10 + 0.587 * 20 + 0.114 * 30 = 2.99 + 11.74 + 3.42 = 18.15.
        colour = np.array([[[[10, 20, 30]]]], np.uint8)
        assert images.convert_images(colour, (1, 1, 1)).item() == 18

    def test_white_stays_white(self):
        white = np.full((2, 4, 4, 3), 255, np.uint8)
        for shape in [(4, 4, 1), (7, 7, 3), (2, 2, 1)]:
            assert np.all(images.convert_images(white, shape) == 255)

    def test_halving_averages(self):
        rng = np.random.default_rng(0)
        big = rng.integers(0, 256, (1, 64, 64, 1), dtype=np.uint8)
        small = images.convert_images(big, (32, 32, 1))
        assert small.dtype == np.uint8
        np.testing.assert_allclose(small.mean(), big.mean(), atol=1)
        assert small.std() < 0.7 * big.std()

    def test_pieces_join(self):
        many = np.arange(2_500, dtype=np.uint16).astype(np.uint8)
        converted = images.convert_images(many.reshape(-1, 1, 1, 1), (1, 1, 3))
        np.testing.assert_array_equal(converted[:, 0, 0, 1], many)

    def test_what_fits_is_not_copied(self):
        fits = np.zeros((2, 4, 4, 5), np.uint8)
        assert images.convert_images(fits, (4, 4, 5)) is fits

    def test_refuses_other_channels(self):
        with pytest.raises(ValueError, match="Only images of 1 and 3 chan"):
            images.convert_images(np.zeros((1, 4, 4, 2)), (4, 4, 3))


class TestLoadOod:
    def test_npz_by_path_relative_to_data_dir(self, tmp_path):
        gray = np.arange(16, dtype=np.uint8).reshape(4, 2, 2)
        np.savez(tmp_path / "gray.npz", image=gray)
        found = datasets.load_ood(
            "gray.npz", input_shape=(2, 2, 3), data_dir=tmp_path
        )
        np.testing.assert_array_equal(found[..., 1], gray)

    def test_named_set_gives_its_test_images(self):
        found = datasets.load_ood("digits", input_shape=(8, 8, 1))
        np.testing.assert_array_equal(
            found, datasets.load("digits").test.inputs
        )

    def test_rows_are_drawn_by_seed(self):
        one, same, other = (
            datasets.load_ood(
                "digits", input_shape=(8, 8, 1), num_examples=20, seed=seed
            )
            for seed in (0, 0, 1)
        )
        assert len(one) == 20
        np.testing.assert_array_equal(one, same)
        assert np.any(one != other)

    def test_folder_of_unlike_sizes(self, unlike_images):
        found = datasets.load_ood(
            f"folder:{unlike_images}", input_shape=(4, 4, 1)
        )
        assert found.shape == (7, 4, 4, 1)

    def test_reads_only_the_images_that_are_drawn(
        self, unlike_images, monkeypatch
    ):
        name, shape = f"folder:{unlike_images}", (4, 4, 1)
        whole = datasets.load_ood(name, input_shape=shape)
        read, given = images.read_files, []
        monkeypatch.setattr(
            images,
            "read_files",
            lambda paths, **options: (
                given.extend(paths) or read(paths, **options)
            ),
        )
        found = datasets.load_ood(name, input_shape=shape, num_examples=3)
        assert len(given) == len(set(given)) == len(found) == 3
        for image in found:
            assert (image == whole).all(axis=(1, 2, 3)).any()

    def test_real_photographs_and_digits(self, data_dir):
        for name, size in [
            ("ood/mnist_test.npz", 10_000),
            ("folder:imagenet_sample", 58),
        ]:
            found = datasets.load_ood(
                name, input_shape=(32, 32, 3), data_dir=data_dir
            )
            assert found.shape == (size, 32, 32, 3)
            assert found.std() > 30

    def test_refuses_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="absolute or relative"):
            datasets.load_ood(
                "no.npz", input_shape=(8, 8, 1), data_dir=tmp_path
            )

    @pytest.mark.parametrize(
        "arrays",
        [{"x": np.zeros(3, np.uint8)}, {"image": np.zeros((1, 2, 2, 1))}],
    )
    def test_refuses_a_file_without_uint8_images(self, tmp_path, arrays):
        np.savez(tmp_path / "odd.npz", **arrays)
        with pytest.raises(ValueError, match="must hold a uint8 array `im"):
            datasets.load_ood(
                "odd.npz", input_shape=(8, 8, 1), data_dir=tmp_path
            )
