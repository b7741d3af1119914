"""Tests of folders and records of photographs."""

import io
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from experiments import datasets
from experiments.datasets import photographs
from experiments.datasets import sources
from tf_mixup import mixing


def encode(value):
    picture = np.full((12, 16, 3), value, np.uint8)
    return tf.io.encode_jpeg(picture, quality=100).numpy()


def make_folder(root, classes=("n02", "n01"), images=3):
    """Writes `train` and a flat `val` with labels."""
    for number, name in enumerate(classes):
        folder = root / "train" / name
        folder.mkdir(parents=True)
        for index in range(images):
            (folder / f"{index}.JPEG").write_bytes(encode(index))
        (folder / "notes.txt").write_text("no image")
        (root / "val").mkdir(exist_ok=True)
        (root / "val" / f"v{number}.JPEG").write_bytes(encode(number))
    (root / "val_labels.txt").write_text("v1.JPEG n01\nv0.JPEG 1\n")
    return root


class TestOpenFolder:
    def test_labels_are_sorted_synsets(self, tmp_path):
        num_classes, parts = photographs.open_folder(make_folder(tmp_path))
        assert num_classes == 2
        assert parts["train"].num_images == 6
        for path, label in zip(*vars(parts["train"]).values(), strict=True):
            assert ("n01", "n02")[label] in path
        assert parts["test"].labels.tolist() == [1, 0]

    def test_val_may_have_a_folder_a_class(self, tmp_path):
        folder = make_folder(tmp_path)
        shutil.rmtree(folder / "val")
        (folder / "val" / "n02").mkdir(parents=True)
        (folder / "val" / "n02" / "a.jpg").write_bytes(encode(1))
        _, parts = photographs.open_folder(folder)
        assert parts["test"].labels.tolist() == [1]

    def test_refuses_an_empty_class(self, tmp_path):
        folder = make_folder(tmp_path)
        (folder / "train" / "n03").mkdir()
        with pytest.raises(ValueError, match=r"must have an image.*n03' with"):
            photographs.open_folder(folder)

    def test_refuses_a_strange_class(self, tmp_path):
        folder = make_folder(tmp_path)
        (folder / "val" / "n09").mkdir()
        with pytest.raises(ValueError, match=r"class of `train`.*n09"):
            photographs.open_folder(folder)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("v2.JPEG n01", "'v2.JPEG' without image"),
            ("v1.JPEG", "must be `FILE CLASS`.*line='v1.JPEG'"),
            ("v1.JPEG n05", "line='v1.JPEG n05'"),
            ("v1.JPEG 2", "number below 2.*line='v1.JPEG 2'"),
        ],
    )
    def test_refuses_labels_that_do_not_fit(self, tmp_path, line, message):
        folder = make_folder(tmp_path)
        with (folder / "val_labels.txt").open("a") as file:
            file.write(line)
        with pytest.raises(ValueError, match=message):
            photographs.open_folder(folder)

    def test_refuses_an_image_without_label(self, tmp_path):
        folder = make_folder(tmp_path)
        (folder / "val" / "w.png").write_bytes(b"")
        with pytest.raises(ValueError, match=r"'w\.png' without label"):
            photographs.open_folder(folder)

    @pytest.mark.parametrize("missing", ["train", "val"])
    def test_refuses_half_of_it(self, tmp_path, missing):
        folder = make_folder(tmp_path)
        shutil.rmtree(folder / missing)
        with pytest.raises(FileNotFoundError, match=f"without '{missing}'"):
            photographs.open_folder(folder)

    def test_refuses_images_without_labels(self, tmp_path):
        folder = make_folder(tmp_path)
        (folder / "val_labels.txt").unlink()
        with pytest.raises(FileNotFoundError, match="2 images and no labels"):
            photographs.open_folder(folder)

    def test_images_may_lie_deeper_and_hidden_ones_do_not_count(
        self, tmp_path, caplog
    ):
        # As Tiny-ImageNet unpacks, and a desktop leaves it.
        for name in ("n01", "n02"):
            inner = tmp_path / "train" / name / "images"
            inner.mkdir(parents=True)
            (inner / f"{name}_0.JPEG").write_bytes(encode(0))
            (inner / f"._{name}_0.JPEG").write_bytes(b"no image")
            (inner.parent / f"{name}_boxes.txt").write_text("no image")
        (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
        inner = tmp_path / "val" / "images"
        inner.mkdir(parents=True)
        for number in range(3):
            (inner / f"val_{number}.JPEG").write_bytes(encode(number))
        (tmp_path / "val" / "val_annotations.txt").write_text(
            "val_0.JPEG\tn02\t0\t32\t44\t62\n"
            "val_1.JPEG\tn01\t2\t3\t10\t62\n"
            "val_2.JPEG\tn02\t0\t0\t10\t10\n"
        )
        (tmp_path / "test" / "images").mkdir(parents=True)
        num_classes, parts = photographs.open_folder(tmp_path)
        assert num_classes == 2
        assert parts["train"].labels.tolist() == [0, 1]
        assert parts["test"].labels.tolist() == [1, 0, 1]
        assert "2 files of other types were left out: 2 .txt" in caplog.text
        # The same from memory, where `test` has no labels.
        loaded = datasets.load(f"folder:{tmp_path}", num_validation=0)
        assert loaded.test.labels.tolist() == [1, 0, 1]

    def test_any_name_that_the_file_system_has(self, tmp_path):
        odd = "Größe \udcff/猫", "$a$/\udce9 x"
        for part in ("train", "val"):
            for name in odd:
                folder = pathlib.Path(
                    os.fsdecode(os.fsencode(tmp_path)), part, name
                )
                folder.mkdir(parents=True)
                for number in range(4):
                    (folder / f"é\udcfe{number}.jpg").write_bytes(encode(9))
        (folder / "é\udcfe0.jpg").write_bytes(b"no image")
        loaded = datasets.load(
            f"imagefolder:{tmp_path}", num_validation=1, image_size=40
        )
        assert loaded.num_classes == 2
        assert loaded.test.inputs.shape[1:] == (40, 40, 3)
        # One test image is no whole image.
        assert loaded.test.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
        assert loaded.test.inputs[:1].max() == 9
        ((images, _),) = loaded.train.inputs.training_batches(
            batch_size=7, seed=0, epoch_counter=mixing.EpochCounter()
        )
        assert images.shape == (7, 40, 40, 3)
        source = photographs.open_sources(f"imagefolder:{tmp_path}", None)
        assert source["test"].name(0).isprintable()


class TestLabelsFile:
    def make(self, root, classes, lines):
        for name in classes:
            (root / "train" / name).mkdir(parents=True)
            (root / "train" / name / "0.JPEG").write_bytes(encode(0))
        (root / "val").mkdir()
        for file, _ in lines:
            (root / "val" / file).write_bytes(encode(0))
        (root / "val_labels.txt").write_text(
            "".join(f"{file} {name}\n" for file, name in lines), "utf-8"
        )
        return root

    def test_a_name_wins_over_a_number(self, tmp_path, caplog):
        # Sorted as names: "10" is the second.
        names = [str(number) for number in range(11)]
        folder = self.make(
            tmp_path, names, [(f"{name}.JPEG", name) for name in names]
        )
        _, parts = photographs.open_folder(folder)
        order = sorted(names)
        assert [order[label] for label in parts["test"].labels] == order
        assert not caplog.text
        with (folder / "val_labels.txt").open("a") as file:
            file.write("0.JPEG 11\n")
        with pytest.raises(
            ValueError,
            match=r"the name of a folder of `train`"
            r"\. Received: line='0.JPEG 11'",
        ):
            photographs.open_folder(folder)

    def test_numbers_are_said_to_be_places(self, tmp_path, caplog):
        folder = self.make(
            tmp_path, ["n02", "n01"], [("a.jpg", "1"), ("b.jpg", "n01")]
        )
        _, parts = photographs.open_folder(folder)
        assert parts["test"].labels.tolist() == [1, 0]
        assert (
            "val_labels.txt: 1 labels are numbers; they count the folders of"
            " `train` from 0, in the order of their names. The ids of"
            " ImageNet's development kit have another order"
        ) in caplog.text

    def test_names_with_spaces(self, tmp_path):
        folder = self.make(
            tmp_path,
            ["hot dog", "dog", "猫"],
            [("my hot.jpg", "dog"), ("my.jpg", "hot dog"), ("é.jpg", "猫")],
        )
        _, parts = photographs.open_folder(folder)
        assert parts["test"].labels.tolist() == [0, 1, 2]


class TestLoadFolder:
    def test_carves_by_the_seed(self, tmp_path):
        make_folder(tmp_path, images=5)
        (tmp_path / "val" / "v1.JPEG").write_bytes(encode(1)[:200])
        loads = [
            datasets.load(
                "imagefolder:.",
                data_dir=tmp_path,
                seed=seed,
                num_validation=4,
                num_train=5,
            )
            for seed in (0, 0, 1)
        ]
        paths = [
            (
                set(each.train.inputs.source.paths),
                set(each.validation.inputs.source.paths),
            )
            for each in loads
        ]
        assert paths[0] == paths[1] != paths[2]
        for train, validation in paths:
            assert not train & validation
            assert (len(train), len(validation)) == (5, 4)
        # One of both test images is bad.
        assert loads[0].test.labels.tolist() == [1]
        assert len(loads[0].test.inputs) == 1
        assert loads[0].num_classes == 2
        shown = loads[0].validation.take(np.arange(2))
        assert shown.inputs.shape == (2, 224, 224, 3)

    def test_refuses_other_labels(self, tmp_path):
        make_folder(tmp_path)
        with pytest.raises(ValueError, match=r"labels.*corruption=0\.2"):
            datasets.load(
                f"imagefolder:{tmp_path}", num_validation=1, corruption=0.2
            )


def write_records(folder, sizes=(5, 3, 7, 4)):
    """Writes files of numbered records: an image as gray as its number."""
    number, paths = 0, []
    for size in sizes:
        path = str(folder / f"{len(paths)}.tfrecord")
        with tf.io.TFRecordWriter(path) as writer:
            for _ in range(size):
                writer.write(b"%d" % number)
                number += 1
        paths.append(path)

    def parse(record):
        return {
            "image": record,
            "label": tf.strings.to_number(record, tf.int64),
        }

    return sources.Records(paths, [0] * len(sizes), sizes, parse)


class TestRecords:
    def test_in_order_and_by_name(self, tmp_path):
        source = write_records(tmp_path)
        rows = [[int(x) for x in row] for row in source.in_order()]
        assert rows == [[k, k, k] for k in range(19)]
        assert source.name(5).endswith("1.tfrecord record 0")
        assert source.name(18).endswith("3.tfrecord record 3")

    def test_part_of_the_files(self, tmp_path):
        whole = write_records(tmp_path)
        part = sources.Records(whole.paths[1:3], [1, 0], [2, 4], whole.parse)
        rows = [[int(x) for x in row] for row in part.in_order()]
        assert rows == [[k, n, n] for k, n in enumerate([6, 7, 8, 9, 10, 11])]
        assert part.name(1).endswith("1.tfrecord record 2")

    def test_a_damaged_file_is_named(self, tmp_path):
        source = write_records(tmp_path)
        path = pathlib.Path(source.paths[2])
        data = bytearray(path.read_bytes())
        # Its third record.
        data[int(2.5 * len(data) / 7)] ^= 255
        path.write_bytes(data)
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=rf"Damaged file of records:.*{path}.*record:\] \[2\]",
        ):
            list(source.in_order())
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=f"Damaged file.*{path}"
        ):
            list(self.batches(source))

    def batches(self, source, *, epoch_counter=None, steps=4, **options):
        counter = (
            mixing.EpochCounter() if epoch_counter is None else epoch_counter
        )
        return source.shuffled(
            counter.positions(steps), batch_size=4, seed=0, **options
        )

    def test_take_each_row_once_in_another_order(self, tmp_path):
        dataset = self.batches(write_records(tmp_path, (5, 3, 4, 4)))
        epochs = [
            [rows.numpy().tolist() for _, rows, _, _ in dataset]
            for _ in range(2)
        ]
        assert epochs[0] != epochs[1]
        for epoch in epochs:
            assert sorted(np.concatenate(epoch)) == list(range(16))
        for _, rows, entries, labels in dataset:
            np.testing.assert_array_equal(rows, labels)
            assert entries.numpy().tolist() == [b"%d" % k for k in rows]

    def test_resume_within_an_epoch(self, tmp_path):
        source = write_records(tmp_path)
        whole = list(self.batches(source))
        # As a clock that starts at step 2 of epoch 0.
        late = tf.data.Dataset.range(2, 4).map(
            lambda step: (tf.constant(0, tf.int64), step)
        )
        resumed = source.shuffled(late, batch_size=4, seed=0)
        for one, two in zip(whole[2:], resumed, strict=True):
            for a, b in zip(one, two, strict=True):
                np.testing.assert_array_equal(a, b)

    def test_shards_are_disjoint_and_workers_agree_on_steps(self, tmp_path):
        source = write_records(tmp_path)
        shards = [source.shard(worker, 2) for worker in range(2)]
        assert [shard.num_images for shard in shards] == [12, 7]
        labels = [
            {int(label) for *_, label in shard.in_order()} for shard in shards
        ]
        assert labels[0].isdisjoint(labels[1])
        assert labels[0] | labels[1] == set(range(19))
        # The smaller one repeats rows.
        dataset = self.batches(shards[1], steps=3, worker=1)
        found = [int(x) for *_, part in dataset for x in part]
        assert len(found) == 12
        assert set(found) == labels[1]


class TestLoadRecords:
    def test_reads_what_tfds_prepared(self, tmp_path):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(num_classes=1000),
                "file_name": tfds.features.Text(),
            }
        )

        def rows(first, last):
            for k in range(first, last):
                yield (
                    k,
                    {
                        "image": io.BytesIO(encode(10 * k)),
                        "label": k,
                        "file_name": f"{k}.JPEG",
                    },
                )

        tfds.dataset_builders.store_as_tfds_dataset(
            "imagenet2012",
            version="5.1.0",
            features=features,
            split_datasets={"train": rows(0, 12), "validation": rows(12, 15)},
            data_dir=tmp_path,
        )
        found = datasets.load(
            "imagenet2012", data_dir=tmp_path, num_validation=4, num_train=6
        )
        assert found.num_classes == 1000
        assert len(found.train.inputs) == 6
        assert len(found.validation.labels) == 4
        assert sorted(found.test.labels) == [12, 13, 14]
        images = found.test.inputs[:]
        expected = 10 * found.test.labels[:, None, None, None]
        assert np.abs(images - expected.astype(float)).max() <= 1
        ((images, labels),) = found.train.inputs.training_batches(
            batch_size=6, seed=0, epoch_counter=mixing.EpochCounter()
        )
        assert not {*labels.numpy()} & {*found.validation.labels}
        expected = 10 * labels.numpy()[:, None, None, None]
        assert np.abs(images.numpy() - expected.astype(float)).max() <= 1
        with pytest.raises(ValueError, match="fit into 12 examples"):
            datasets.load("imagenet2012", data_dir=tmp_path, num_validation=13)

    def test_is_not_there(self, tmp_path):
        with pytest.raises(
            FileNotFoundError, match=r"must have been prepared.*imagefolder:"
        ):
            datasets.load("imagenet2012", data_dir=tmp_path)
