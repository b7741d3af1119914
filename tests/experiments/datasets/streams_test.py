"""Tests of photographs that are decoded as they are needed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments.datasets import jpegs
from experiments.datasets import sources
from experiments.datasets import streams
from tf_mixup import mixing

ROWS = 14
SIDE = 8


def write_images(folder, bad=(), rows=ROWS):
    """Writes gray squares, of 10 k in row k; a black corner tells flips."""
    paths = []
    for row in range(rows):
        picture = np.full((24, 32, 3), 10 * row + 20, np.uint8)
        contents = tf.io.encode_jpeg(picture, quality=100).numpy()
        path = folder / f"{row:02}.JPEG"
        path.write_bytes(contents[:300] if row in bad else contents)
        paths.append(str(path))
    return sources.Files(np.array(paths), np.arange(rows, dtype=np.int32))


def make(source, *, epoch_counter=None, batch_size=4, seed=0, **options):
    stream = streams.Stream(source, side=SIDE)
    batches = stream.training_batches(
        batch_size=batch_size,
        seed=seed,
        epoch_counter=mixing.EpochCounter()
        if epoch_counter is None
        else epoch_counter,
        **options,
    )
    return stream, batches


def labels_of(batches):
    return np.concatenate([labels for _, labels in batches]).tolist()


def check_images(images, labels):
    """Each image is as gray as its label says."""
    expected = 10 * np.asarray(labels)[:, None, None, None] + 20
    assert np.abs(images.numpy() - expected.astype(float)).max() <= 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("whole"))


class TestTrainingBatches:
    def test_are_full_and_go_with_their_labels(self, whole):
        _, batches = make(whole)
        assert int(batches.cardinality()) == 3
        assert batches.element_spec[0].shape == (4, SIDE, SIDE, 3)
        count = 0
        for images, labels in batches:
            check_images(images, labels)
            count += 1
        assert count == 3

    def test_take_each_row_once(self, whole):
        _, batches = make(whole, batch_size=7)
        assert sorted(labels_of(batches)) == list(range(ROWS))

    def test_resume_gives_the_same_batches(self, whole):
        _, batches = make(whole)
        epochs = [list(batches.as_numpy_iterator()) for _ in range(3)]
        clock = mixing.EpochCounter()
        _, resumed = make(whole, epoch_counter=clock)
        clock.start_training(3)
        clock.start_epoch(2)
        for one, two in zip(epochs[2], resumed, strict=True):
            np.testing.assert_array_equal(one[0], two[0])
            np.testing.assert_array_equal(one[1], two[1])
        assert (epochs[0][0][1] != epochs[1][0][1]).any()

    def test_do_not_depend_on_parallelism(self, whole, monkeypatch):
        _, batches = make(whole)
        parallel = list(batches.as_numpy_iterator())
        monkeypatch.setattr(streams.os, "cpu_count", lambda: 1)
        monkeypatch.setattr(streams, "_BATCHES_AT_A_TIME", 1)
        _, batches = make(whole)
        for one, two in zip(parallel, batches, strict=True):
            np.testing.assert_array_equal(one[0], two[0])

    def test_seeds_and_workers_differ(self, whole):
        (_, one), (_, two), (_, three) = (
            make(whole),
            make(whole, seed=1),
            make(whole, batch_size=2, worker=1, workers=2),
        )
        found = {str(labels_of(each)) for each in (one, two, three)}
        assert len(found) == 3

    def test_shards_are_disjoint_and_complete(self, whole):
        found = []
        for worker in range(3):
            shard = whole.shard(worker, 3)
            _, batches = make(whole, batch_size=2, worker=worker, workers=3)
            assert shard.num_images in (4, 5)
            found += shard.labels.tolist()
            assert len(batches) == ROWS // 6
            assert set(labels_of(batches)) <= set(shard.labels)
        assert sorted(found) == list(range(ROWS))

    def test_without_augmentation_are_central(self, whole):
        stream, batches = make(whole, augmentation="none")
        for images, labels in batches:
            np.testing.assert_array_equal(images, stream[labels.numpy()])

    def test_crops_follow_the_draws_of_the_step(self, tmp_path):
        picture = np.arange(32 * 32 * 3).reshape(32, 32, 3) % 251
        contents = tf.io.encode_png(picture.astype(np.uint8))
        path = tmp_path / "a.png"
        path.write_bytes(contents.numpy())
        source = sources.Files(np.array([str(path)]), np.array([5]))
        _, batches = make(source, batch_size=1)
        ((images, labels),) = batches
        seeds = source.shuffled(
            mixing.EpochCounter().positions(1), batch_size=1, seed=0
        )
        ((step_seed, _, _, _),) = seeds
        crops = jpegs.draw_crops(1, step_seed)
        expected = jpegs.decode_square(
            contents,
            lambda shape: jpegs.choose_window(
                shape, crops.sides[0], crops.places[0]
            ),
            SIDE,
            crops.flips[0],
        )
        np.testing.assert_array_equal(images[0], expected)
        assert labels.numpy().tolist() == [5]

    def test_refuses_more_than_there_are(self, whole):
        with pytest.raises(ValueError, match="must not be larger"):
            make(whole, batch_size=15)

    def test_refuses_to_pad_photographs(self, whole):
        with pytest.raises(ValueError, match=r"cropped before.*'standard'"):
            make(whole, augmentation="standard")


class TestBadRows:
    def test_the_next_good_row_of_the_batch_replaces_them(self, tmp_path):
        source = write_images(tmp_path, bad=(3, 8))
        stream, batches = make(source, batch_size=7)
        intended = source.shuffled(
            mixing.EpochCounter().positions(2), batch_size=7, seed=0
        )
        for (images, labels), (_, rows, _, _) in zip(
            batches, intended, strict=True
        ):
            check_images(images, labels)
            rows = rows.numpy().tolist()
            for place, label in enumerate(labels.numpy().tolist()):
                around = rows[place:] + rows[:place]
                expected = next(row for row in around if row not in (3, 8))
                assert label == expected
        assert stream.watcher.bad == {3, 8}

    def test_a_missing_file_is_bad(self, tmp_path):
        source = write_images(tmp_path)
        (tmp_path / "05.JPEG").unlink()
        stream, batches = make(source, batch_size=7)
        assert 5 not in labels_of(batches)
        assert stream.watcher.bad == {5}

    def test_are_logged_once(self, tmp_path, caplog):
        source = write_images(tmp_path, bad=(3,))
        _, batches = make(source, batch_size=14)
        labels_of(batches), labels_of(batches)
        assert len([x for x in caplog.messages if "03.JPEG is no" in x]) == 1

    def test_many_stop_the_run(self, tmp_path):
        source = write_images(tmp_path, bad=(1, 2, 3))
        stream, batches = make(source, batch_size=7)
        network = keras.Sequential(
            [keras.layers.Flatten(), keras.layers.Dense(ROWS)]
        )
        network.compile("sgd", keras.losses.SparseCategoricalCrossentropy())
        stop = stream.watcher
        with pytest.raises(
            ValueError,
            match=r"At most 1 of 14 training.*Received: [23] that.*verify",
        ):
            network.fit(
                batches, epochs=2, verbose=0, shuffle=False, callbacks=[stop]
            )

    def test_a_batch_without_a_good_row_is_told(self, tmp_path):
        source = write_images(tmp_path, bad=range(ROWS))
        stream, batches = make(source, batch_size=7)
        assert len(labels_of(batches)) == ROWS
        assert stream.watcher.bad == set(range(ROWS))
        with pytest.raises(ValueError, match=r"00\.JPEG, "):
            stream.watcher.check()


class TestEvaluationBatches:
    @pytest.mark.parametrize("bad", [(), (0, 6)])
    def test_leave_out_bad_rows(self, tmp_path, bad):
        source = write_images(tmp_path, bad=bad)
        reasons, labels = streams.find_unreadable(source)
        good = [row for row in range(ROWS) if row not in bad]
        assert tuple(reasons) == bad
        assert all("Invalid JPEG" in str(error) for error in reasons.values())
        np.testing.assert_array_equal(labels, good)
        stream = streams.Stream(source, side=SIDE, left_out=tuple(reasons))
        assert len(stream) == stream.shape[0] == len(good)
        batches = stream.evaluation_batches(5)
        assert int(batches.cardinality()) == 3
        assert labels_of(batches) == good
        for images, labels in batches:
            check_images(images, labels)

    def test_rows_are_those_of_an_array(self, tmp_path):
        source = write_images(tmp_path, bad=(2,))
        stream = streams.Stream(source, side=SIDE, left_out=(2,))
        images = np.concatenate([x for x, _ in stream.evaluation_batches(9)])
        assert images.shape == stream.shape
        rows = np.array([12, 0, 2, 2])
        np.testing.assert_array_equal(stream[rows], images[rows])
        np.testing.assert_array_equal(stream[3:6], images[3:6])
        assert stream[:0].shape == (0, SIDE, SIDE, 3)
