"""Tests of the stage that pastes boxes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import reference
from tests import stages
from tf_mixup import mixing

ROWS, CLASSES, HEIGHT, WIDTH = 22, 5, 7, 10


def make_rows(rows=ROWS):
    """Returns images whose pixels tell their row and place, and labels."""
    pixels = np.arange(rows * HEIGHT * WIDTH, dtype="float32")
    labels = np.random.default_rng(0).integers(0, CLASSES, rows)
    return pixels.reshape(rows, HEIGHT, WIDTH, 1), labels


def make_batches(size=8, rows=ROWS):
    return tf.data.Dataset.from_tensor_slices(make_rows(rows)).batch(size)


def make_cutmix(alpha=1.0, **options):
    return stages.make_stage(
        alpha,
        stage=mixing.CutMix,
        **{"num_classes": CLASSES, "seed": 1} | options,
    )


def read(dataset):
    return [tf.nest.map_structure(np.array, batch) for batch in dataset]


def read_boxes(unmixed, mixed):
    """Returns (partner, box, kept share) of each row, from its pixels."""
    found = []
    size = HEIGHT * WIDTH
    sources = (mixed // size).astype(int)[..., 0]
    # Each pixel is from its own place, of one row or another.
    np.testing.assert_array_equal(mixed % size, unmixed % size)
    for own, row in zip(
        (unmixed // size).astype(int)[:, 0, 0, 0], sources, strict=True
    ):
        pasted = row != own
        if not pasted.any():
            found.append((own, (0, 0, 0, 0), 1.0))
            continue
        ys, xs = np.nonzero(pasted)
        box = ys.min(), xs.min(), ys.max() + 1, xs.max() + 1
        assert pasted[box[0] : box[2], box[1] : box[3]].all()
        (partner,) = np.unique(row[pasted])
        found.append((partner, box, 1 - pasted.mean()))
    return found


def areas_of_boxes(lam):
    """Returns the share of the image that a box has, around each pixel."""
    areas = []
    for row, column in np.ndindex(HEIGHT, WIDTH):
        box = reference.cut_box(lam, HEIGHT, WIDTH, row, column)
        areas.append((box[2] - box[0]) * (box[3] - box[1]) / (HEIGHT * WIDTH))
    return np.array(areas)


class TestBatches:
    @pytest.mark.parametrize("per", ["batch", "example"])
    def test_targets_are_mixed_by_area(self, per):
        stage = make_cutmix(per=per, self_pairs=False)
        for (x0, y0), (x, y) in zip(
            read(make_batches().apply(stage.evaluation)),
            read(make_batches().apply(stage)),
            strict=True,
        ):
            boxes = read_boxes(x0, x)
            first = int(x0.min()) // (HEIGHT * WIDTH)
            for row, (partner, _, kept) in enumerate(boxes):
                expected = kept * y0[row] + (1 - kept) * y0[partner - first]
                np.testing.assert_allclose(y[row], expected, atol=1e-6)
            assert (len({box for _, box, _ in boxes}) == 1) == (per == "batch")

    def test_pixels_of_the_partner_are_one_minus_lam(self):
        x, labels = make_rows()
        stage = make_cutmix(per="example", self_pairs=False)
        for step in range(5):
            replay = stage.replay((x, labels), epoch=0, step=step)
            boxes = read_boxes(x, replay.inputs.numpy())
            kept = np.array([share for *_, share in boxes], "float32")
            np.testing.assert_allclose(replay.lam, kept, atol=1e-7)
            pasted = kept < 1
            partner = np.array([partner for partner, *_ in boxes])
            np.testing.assert_array_equal(
                partner[pasted], replay.partner.numpy()[pasted]
            )

    def test_boxes_are_of_given_partners(self):
        x, labels = make_rows(8)
        stage = make_cutmix(partner="given", per="example")
        rows = tf.data.Dataset.from_tensors((x, labels)).repeat(10)
        for mixed, targets in read(rows.apply(stage)):
            boxes = read_boxes(x[:4], mixed)
            for row, (partner, _, kept) in enumerate(boxes):
                assert partner in (row, row + 4)
                expected = np.zeros(CLASSES)
                expected[labels[row]] += kept
                expected[labels[row + 4]] += 1 - kept
                np.testing.assert_allclose(targets[row], expected, atol=1e-6)

    def test_boxes_follow_the_papers_law(self):
        rows = 500
        batch = np.zeros((rows, HEIGHT, WIDTH, 1)), make_rows(rows)[1]
        options = {"num_classes": CLASSES, "seed": 3, "per": "example"}
        stage = mixing.CutMix(**options)
        area = 1 - stage.replay(batch, epoch=0, step=0).lam.numpy()
        # The same seed draws the same coefficients for both stages.
        mixup = mixing.MixUp(1.0, **options)
        drawn = mixup.replay(batch, epoch=0, step=0).lam.numpy()
        possible = [areas_of_boxes(lam) for lam in drawn]
        for found, choices in zip(area, possible, strict=True):
            assert np.abs(choices - found).min() < 1e-6
        deviation = np.sqrt(np.sum([np.var(each) for each in possible])) / rows
        mean = np.mean([np.mean(each) for each in possible])
        assert abs(area.mean() - mean) < 4 * deviation

    @pytest.mark.parametrize("options", [{"alpha": 0}, {"probability": 0.0}])
    def test_unmixed_batches_are_bit_identical(self, options):
        stage = make_cutmix(**options)
        for (x, y), (x0, y0) in zip(
            read(make_batches().apply(stage)),
            read(make_batches().apply(stage.evaluation)),
            strict=True,
        ):
            np.testing.assert_array_equal(x, x0)
            np.testing.assert_array_equal(y, y0)

    def test_uint8_mean_and_std(self):
        x, labels = make_rows()
        batch = (x % 256).astype("uint8"), labels
        batches = tf.data.Dataset.from_tensors(batch)
        ((plain, _),) = read(batches.apply(make_cutmix()))
        ((scaled, _),) = read(batches.apply(make_cutmix(mean=10.0, std=4.0)))
        assert plain.dtype == np.float32
        np.testing.assert_allclose(scaled, (plain - 10) / 4, atol=1e-4)

    def test_include_clean(self):
        plain, both = make_cutmix(), make_cutmix(include_clean=True)
        for found, clean, mixed in zip(
            read(make_batches().apply(both)),
            read(make_batches().apply(plain.evaluation)),
            read(make_batches().apply(plain)),
            strict=True,
        ):
            for part, *halves in zip(found, clean, mixed, strict=True):
                np.testing.assert_array_equal(part, np.concatenate(halves))

    def test_class_weights_in_expectation(self):
        weights = [1.0, 2.0, 3.0, 4.0, 5.0]
        stage = make_cutmix(per="example", class_weight=weights)
        for _, y, w in make_batches().apply(stage):
            np.testing.assert_allclose(w, y.numpy() @ weights, rtol=1e-6)

    def test_targets_alone_have_the_shares_of_boxes_that_are_not_cut(self):
        alone, both = (
            make_cutmix(mix=mix, per="example") for mix in ("targets", "both")
        )
        clean = read(make_batches().apply(alone.evaluation))
        for (x, y), (own, _), (_, expected) in zip(
            read(make_batches().apply(alone)),
            clean,
            read(make_batches().apply(both)),
            strict=True,
        ):
            np.testing.assert_array_equal(x, own)
            np.testing.assert_array_equal(y, expected)

    def test_nearest_target_is_that_of_the_larger_area(self):
        stage, soft = (
            make_cutmix(mix=mix, per="example") for mix in ("inputs", "both")
        )
        for (_, y), (_, mixed) in zip(
            read(make_batches().apply(stage)),
            read(make_batches().apply(soft)),
            strict=True,
        ):
            np.testing.assert_array_equal(y.argmax(-1), mixed.argmax(-1))
            assert set(np.unique(y)) == {0, 1}


class TestSignals:
    @pytest.mark.parametrize("per", ["batch", "example"])
    def test_an_interval_of_time_is_pasted(self, per):
        steps, channels, size = 50, 3, 40
        # A value tells its example, whatever the step and channel.
        x = np.ones((size, steps, channels)) * np.arange(size)[:, None, None]
        labels = np.arange(size)
        batches = tf.data.Dataset.from_tensors((x.astype("float32"), labels))
        stage = make_cutmix(per=per, num_classes=size, self_pairs=False)
        ((mixed, y),) = read(batches.apply(stage))
        own = mixed[:, :, 0] == labels[:, None]
        np.testing.assert_array_equal(mixed, mixed[:, :, :1] + 0 * mixed)
        np.testing.assert_allclose(y[labels, labels], own.mean(1), atol=1e-6)
        # One interval: its borders are two changes at most.
        assert (np.diff(own.astype(int), axis=1) != 0).sum(1).max() <= 2
        partner = mixed.sum((1, 2)) - (own * labels[:, None]).sum(1) * channels
        pasted = (~own).sum(1)
        found = partner / np.maximum(pasted, 1) / channels
        expected = (y * (1 - np.eye(size))).argmax(1) * (pasted > 0)
        np.testing.assert_allclose(found, expected, atol=1e-4)

    def test_lengths_follow_lam(self):
        x = np.zeros((4000, 64, 1), "float32"), np.zeros(4000, int)
        stage = make_cutmix(per="example")
        kept = stage.replay(x, epoch=0, step=0).lam.numpy()
        drawn = mixing.MixUp(
            1.0, num_classes=CLASSES, seed=1, per="example"
        ).replay(x, epoch=0, step=0)
        # An interval around a uniform center loses a quarter of its length
        # squared at the borders of the signal.
        length = 1 - drawn.lam.numpy()
        expected = 1 - np.mean(length - length**2 / 4)
        assert abs(kept.mean() - expected) < 0.02


class TestInputs:
    def test_channels_first(self, channels_first):
        del channels_first
        x, labels = make_rows()
        first = np.concatenate([x, x, x], axis=3).transpose(0, 3, 1, 2)
        options = {"per": "example", "mean": [1.0, 2, 3]}
        batches = tf.data.Dataset.from_tensors((first, labels))
        ((found, y),) = read(batches.apply(make_cutmix(**options)))
        keras.config.set_image_data_format("channels_last")
        batches = tf.data.Dataset.from_tensors((x, labels))
        ((expected, same),) = read(batches.apply(make_cutmix(per="example")))
        for channel in range(3):
            np.testing.assert_allclose(
                found[:, channel], expected[..., 0] - channel - 1, atol=1e-4
            )
        np.testing.assert_array_equal(y, same)

    def test_other_inputs_are_kept(self):
        x, labels = make_rows()
        inputs = {"image": x, "id": np.arange(ROWS)}
        batches = tf.data.Dataset.from_tensors((inputs, labels))
        stage = make_cutmix(inputs={"id": "keep"})
        ((mixed, y),) = read(batches.apply(stage))
        plain = tf.data.Dataset.from_tensors((x, labels))
        ((expected, same),) = read(plain.apply(make_cutmix()))
        np.testing.assert_array_equal(mixed["image"], expected)
        np.testing.assert_array_equal(mixed["id"], inputs["id"])
        np.testing.assert_array_equal(y, same)

    def test_repr_and_config(self):
        stage = make_cutmix(mean=1.0)
        assert repr(stage) == (
            "CutMix(alpha=1.0, num_classes=5, seed=1, inputs=Inputs(mean=1.0))"
        )
        again = mixing.CutMix(**stage.get_config())
        assert repr(again) == repr(stage)


class TestSeeds:
    def test_parallelism_changes_nothing(self):
        expected = read(make_batches(2).apply(make_cutmix()))
        stage = make_cutmix(num_parallel_calls=1)
        found = read(make_batches(2).apply(stage))
        tf.nest.map_structure(np.testing.assert_array_equal, found, expected)

    def test_epochs_and_steps_differ(self):
        stage = make_cutmix()
        lam = [
            stage.coefficients(make_rows(), epoch=epoch, steps=8)[:, 0]
            for epoch in range(4)
        ]
        assert len({tuple(each.numpy()) for each in lam}) == 4
        assert len(np.unique(lam)) > 10


class TestRefusals:
    @pytest.mark.parametrize(
        "options",
        [{"num_points": 3}, {"places": 1}, {"places": 2}],
    )
    def test_options_of_whole_examples(self, options):
        with pytest.raises(ValueError, match=r"CutMix pastes .* use MixUp"):
            make_cutmix(**options)

    def test_alpha(self):
        with pytest.raises(ValueError, match="alpha=-1"):
            make_cutmix(-1)

    @pytest.mark.parametrize(
        "inputs",
        [
            np.zeros((4, 3)),
            np.zeros((4, 3, 3), "uint8"),
            np.zeros((4, 2, 3, 3, 1)),
            dict.fromkeys("ab", np.zeros((4, 3, 3, 1))),
        ],
    )
    def test_inputs_that_are_no_images(self, inputs):
        batches = tf.data.Dataset.from_tensors((inputs, np.zeros(4, int)))
        with pytest.raises(ValueError, match=r"images \(B, H, W, C\)"):
            batches.apply(make_cutmix())


def test_trains():
    # A row's pixels are its class, so the mean of mixed ones is their target.
    keras.utils.set_random_seed(0)
    labels = np.arange(40) % CLASSES
    images = np.eye(CLASSES, dtype="float32")[labels][:, None, None]
    images = np.tile(images, (1, HEIGHT, WIDTH, 1))
    rows = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    model = keras.Sequential(
        [
            keras.Input((HEIGHT, WIDTH, CLASSES)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(CLASSES),
        ]
    )
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.1), loss, metrics=["accuracy"])
    stage = make_cutmix()
    history = model.fit(
        rows.apply(stage),
        validation_data=rows.apply(stage.evaluation),
        epochs=5,
        verbose=0,
        shuffle=False,
    ).history
    assert history["val_loss"][-1] < history["val_loss"][0]
    assert history["val_accuracy"][-1] == 1


def test_inputs_without_a_rule_stay_in_evaluation():
    data = {"image": np.zeros((4, 6, 6, 1)), "ids": np.zeros((4, 2), "int64")}
    batches = tf.data.Dataset.from_tensor_slices((data, np.arange(4) % 3))
    found, _ = read(batches.batch(2).apply(make_cutmix().evaluation))[0]
    assert found["ids"].dtype == np.int64
