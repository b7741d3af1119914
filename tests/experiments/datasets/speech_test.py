"""Tests of recordings: wav files, resampling, labels, splits."""

import doctest
import io
import logging
import wave
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from scipy.io import wavfile

from experiments import datasets
from experiments.datasets import cards
from experiments.datasets import speech

RATE = speech.RATE


def tone(frequency, rate=RATE, seconds=1.0, amplitude=0.5):
    times = np.arange(round(rate * seconds)) / rate
    return amplitude * np.sin(2 * np.pi * frequency * times)


def to_wav(samples, rate=RATE):
    """Returns the bytes of a wav file; floats become 16-bit integers."""
    samples = np.asarray(samples)
    if samples.dtype == np.float64:
        samples = np.rint(samples * 32767).astype(np.int16)
    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def write_digits(folder, digits=3, speakers=("ann", "bob"), count=5):
    """Writes recordings that all differ; returns their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for digit in range(digits):
        for speaker in speakers:
            for index in range(count):
                number = "abc".index(speaker[0])
                frequency = 200 + 100 * digit + 10 * number + index
                (folder / f"{digit}_{speaker}_{index}.wav").write_bytes(
                    to_wav(tone(frequency, seconds=0.05))
                )
    return folder


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def peak_frequency(row):
    """Returns the strongest frequency of one second, in Hz."""
    return int(np.abs(np.fft.rfft(row)).argmax())


def rows_of(arrays):
    return {row.tobytes() for row in arrays.inputs}


class TestDecode:
    @pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100])
    def test_a_tone_keeps_its_frequency_and_loudness(self, rate):
        row = speech.decode(to_wav(tone(440, rate), rate))
        assert row.shape == (RATE,)
        assert row.dtype == np.float32
        assert peak_frequency(row) == 440
        inside = slice(1_000, -1_000)
        np.testing.assert_allclose(row[inside], tone(440)[inside], atol=2e-3)

    @pytest.mark.parametrize(
        ("samples", "expected"),
        [
            (np.array([0, 128, 192], np.uint8), [-1, 0, 0.5]),
            (np.array([-(2**15), 0, 2**14], np.int16), [-1, 0, 0.5]),
            (np.array([-(2**31), 0, 2**30], np.int32), [-1, 0, 0.5]),
            (np.array([-1, 0, 0.5], np.float32), [-1, 0, 0.5]),
            (np.array([-1.5, 0, 0.5], np.float32), [-1, 0, 0.5]),
        ],
    )
    def test_types_by_hand(self, samples, expected):
        row = speech.decode(to_wav(samples))
        np.testing.assert_allclose(row[:3], expected)
        assert not row[3:].any()

    def test_24_bits_by_hand(self):
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(3)
            writer.setframerate(RATE)
            writer.writeframes(b"\x00\x00\x80" + b"\x00\x00\x00\x00\x00\x40")
        np.testing.assert_allclose(
            speech.decode(file.getvalue())[:3], [-1, 0, 0.5]
        )

    def test_channels_are_averaged(self):
        stereo = np.array([[16384, 0], [0, -16384]], np.int16)
        np.testing.assert_allclose(
            speech.decode(to_wav(stereo))[:2], [0.25, -0.25]
        )

    def test_long_ones_are_cut(self):
        long = np.concatenate([tone(300), tone(500)])
        row = speech.decode(to_wav(long))
        assert peak_frequency(row) == 300

    def test_resampling_does_not_leave_the_range(self):
        square = np.where(tone(100, 8_000) > 0, 32767, -32768)
        row = speech.decode(to_wav(square.astype(np.int16), 8_000))
        assert np.abs(row).max() == 1

    def test_other_chunks_do_no_harm(self):
        data = to_wav(tone(440))
        extra = b"odd " + (4).to_bytes(4, "little") + b"note"
        size = (len(data) + len(extra) - 8).to_bytes(4, "little")
        changed = b"RIFF" + size + data[8:] + extra
        np.testing.assert_array_equal(
            speech.decode(changed), speech.decode(data)
        )

    @pytest.mark.parametrize("size", [0, 20, 30, 44, 100, -1])
    def test_half_a_file_is_refused(self, size):
        with pytest.raises(ValueError, match="not a whole wav file"):
            speech.decode(to_wav(tone(440))[:size])

    def test_damaged_headers_are_refused_or_read(self):
        data = to_wav(tone(440, seconds=0.01))
        rng = np.random.default_rng(0)
        refused = 0
        for _ in range(300):
            damaged = bytearray(data)
            for place in rng.integers(44, size=2):
                damaged[place] = rng.integers(256)
            try:
                row = speech.decode(bytes(damaged))
            except ValueError:
                refused += 1
            else:
                assert row.shape == (RATE,)
        assert refused > 200

    @pytest.mark.parametrize(
        ("samples", "rate"),
        [
            (np.zeros(0, np.int16), RATE),
            (np.array([0, np.nan], np.float32), RATE),
            (np.zeros(9, np.int16), 10),
            (np.zeros(9, np.int16), 50_000_003),
        ],
    )
    def test_what_is_no_recording_is_refused(self, samples, rate):
        with pytest.raises(ValueError, match=r"no samples|a rate of"):
            speech.decode(to_wav(samples, rate))

    def test_examples_run(self):
        assert doctest.testmod(speech).failed == 0


class TestReadRecordings:
    def test_labels_and_speakers_by_names(self, tmp_path):
        data = to_wav(tone(440, seconds=0.01))
        (tmp_path / "yes").mkdir()
        (tmp_path / "_background_noise_").mkdir()
        for name in (
            "7_theo_3.wav",
            "7_3.WAV",
            "yes/0a_nohash_0.wav",
            "yes/1.wav",
            "_background_noise_/pink_noise.wav",
            "notes_a_b.txt",
        ):
            (tmp_path / name).write_bytes(data)
        found = [each[:3] for each in speech.read_recordings(tmp_path)]
        assert found == [
            ("7_3.WAV", "7", ""),
            ("7_theo_3.wav", "7", "theo"),
            ("yes/0a_nohash_0.wav", "yes", "0a"),
            ("yes/1.wav", "yes", ""),
        ]

    def test_a_zip_is_a_folder(self, tmp_path):
        folder = write_digits(tmp_path / "digits", digits=2, count=1)
        (folder / "yes").mkdir()
        (folder / "yes" / "ann_0.wav").write_bytes(to_wav(tone(440)))
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*.wav")
        }
        packed = write_zip(tmp_path / "digits.zip", files)
        for one, other in zip(
            speech.read_recordings(folder),
            speech.read_recordings(zipfile.Path(packed)),
            strict=True,
        ):
            assert one[:3] == other[:3]
            np.testing.assert_array_equal(one.wave, other.wave)

    def test_bad_files_are_counted_and_named(self, tmp_path, caplog):
        write_digits(tmp_path, digits=2, speakers=("ann",), count=1)
        (tmp_path / "2_ann_0.wav").write_bytes(b"")
        (tmp_path / "3_ann_0.wav").write_bytes(b"RIFF, or so")
        (tmp_path / "nolabel.wav").write_bytes(to_wav(tone(440)))
        (tmp_path / "_a_0.wav").write_bytes(to_wav(tone(440)))
        with caplog.at_level(logging.WARNING):
            found = speech.read_recordings(tmp_path)
        assert [each.label for each in found] == ["0", "1"]
        assert "4 of 6 recordings" in caplog.text
        for name in ("2_ann_0", "3_ann_0", "nolabel", "_a_0"):
            assert f"{name}.wav" in caplog.text

    @pytest.mark.parametrize("packed", [False, True])
    def test_hidden_and_other_files(self, tmp_path, caplog, packed):
        data = to_wav(tone(440, seconds=0.01))
        files = {
            f"{folder}{name}": data
            for name in ("yés_a_0.wav", "no/ann_0.wav", "no/bob/ann_1.WAV")
            for folder in ("", ".git/", "__MACOSX/")
        }
        files |= dict.fromkeys(
            ("._yes_a_0.wav", "no/.x/a_0.wav", ".cache/a_b_1.wav"), data
        )
        files |= dict.fromkeys(("no/a_1.mp3", "no/a_2.ogg", "no/NOTES"), b"x")
        files |= dict.fromkeys(("testing_list.txt", "no/Thumbs.db"), b"x")
        root = zipfile.Path(write_zip(tmp_path / "a.zip", files))
        if not packed:
            root.root.extractall(tmp_path / "a")
            root = tmp_path / "a"
        found = [each[:3] for each in speech.read_recordings(root)]
        assert found == [
            ("no/ann_0.wav", "no", "ann"),
            ("no/bob/ann_1.WAV", "no", "ann"),
            ("yés_a_0.wav", "yés", "a"),
        ]
        (record,) = caplog.records
        assert record.getMessage().endswith(
            "3 files of other types were left out: 1 without suffix, 1 .mp3,"
            " 1 .ogg."
        )

    def test_a_damaged_member_of_a_zip_is_left_out(self, tmp_path, caplog):
        data = to_wav(tone(440, seconds=0.01))
        path = write_zip(
            tmp_path / "a.zip", {"0_ann_0.wav": data, "1_ann_0.wav": data}
        )
        packed = bytearray(path.read_bytes())
        packed[packed.index(data) + 60] ^= 1
        path.write_bytes(packed)
        found = speech.read_recordings(zipfile.Path(path))
        assert [each.label for each in found] == ["1"]
        assert "0_ann_0.wav" in caplog.text

    def test_whole_sets_are_silent(self, tmp_path, caplog):
        speech.read_recordings(write_digits(tmp_path, digits=1))
        assert not caplog.text


class TestLoad:
    def test_a_fifth_of_each_class_is_tested(self, tmp_path):
        write_digits(tmp_path / "digits")
        loaded = datasets.load(
            "speech:digits", data_dir=tmp_path, num_validation=4, seed=1
        )
        sizes = [
            len(getattr(loaded, part).labels)
            for part in ("train", "validation", "test")
        ]
        assert sizes == [20, 4, 6]
        assert np.bincount(loaded.test.labels).tolist() == [2, 2, 2]
        assert loaded.train.inputs.shape == (20, RATE)
        assert loaded.train.inputs.dtype == np.float32
        assert loaded.train.labels.dtype == np.int32
        assert loaded.num_classes == 3
        # 200 Hz and more are digit 0, 300 and more are digit 1.
        for part in (loaded.train, loaded.validation, loaded.test):
            for row, label in zip(*part, strict=True):
                # Of 50 ms a spectrum is 20 Hz wide.
                peak = peak_frequency(row)
                assert abs(peak - (207 + 100 * label)) < 30
        parts = (loaded.train, loaded.validation, loaded.test)
        assert len(set.union(*map(rows_of, parts))) == 30

    def test_the_seed_draws_the_test_rows(self, tmp_path):
        name = f"speech:{write_digits(tmp_path)}"
        one, same, other = (
            rows_of(speech.load(name, seed=seed).test) for seed in (0, 0, 1)
        )
        assert one == same
        assert one != other

    def test_paths_are_joined(self, tmp_path):
        write_digits(tmp_path / "a", speakers=("ann",))
        folder = write_digits(tmp_path / "b", speakers=("bob",))
        write_zip(
            tmp_path / "b.zip",
            {path.name: path.read_bytes() for path in folder.iterdir()},
        )
        joined = speech.load("speech:a+b.zip", data_dir=tmp_path)
        whole = speech.load(f"speech:{write_digits(tmp_path / 'c')}")
        parts = ("train", "validation", "test")
        assert set.union(
            *(rows_of(getattr(joined, part)) for part in parts)
        ) == set.union(*(rows_of(getattr(whole, part)) for part in parts))

    def test_each_seed_leaves_a_speaker_out(self, tmp_path):
        write_digits(tmp_path, speakers=("bob", "ann", "cat"), count=2)
        spoken = {"ann": set(), "bob": set(), "cat": set()}
        for each in speech.read_recordings(tmp_path):
            spoken[each.speaker].add(each.wave.tobytes())
        for seed, speaker in enumerate(("ann", "bob", "cat", "ann")):
            loaded = speech.load(f"speech:{tmp_path}@speaker", seed=seed)
            assert rows_of(loaded.test) == spoken[speaker]
            assert not rows_of(loaded.train) & spoken[speaker]
            assert not rows_of(loaded.validation) & spoken[speaker]

    def test_lists_decide_as_in_speech_commands(self, tmp_path):
        for label, frequency in (("no", 300), ("yes", 500)):
            (tmp_path / label).mkdir()
            for index in range(6):
                (tmp_path / label / f"0a_nohash_{index}.wav").write_bytes(
                    to_wav(tone(frequency + index, seconds=0.1))
                )
        (tmp_path / "testing_list.txt").write_text(
            "no/0a_nohash_0.wav\nyes/0a_nohash_0.wav\nyes/0a_nohash_1.wav\n"
        )
        (tmp_path / "validation_list.txt").write_text(
            "no/0a_nohash_5.wav\nyes/0a_nohash_5.wav\n"
        )
        loaded = speech.load(f"speech:{tmp_path}")
        assert loaded.test.labels.tolist() == [0, 1, 1]
        assert sorted(loaded.validation.labels) == [0, 1]
        assert len(loaded.train.labels) == 7
        fewer = speech.load(f"speech:{tmp_path}", num_validation=1, num_train=3)
        assert len(fewer.validation.labels) == 1
        assert len(fewer.train.labels) == 3
        (tmp_path / "testing_list.txt").write_text("no/other.wav\n")
        with pytest.raises(ValueError, match=r"for test\. Correct testing_"):
            speech.load(f"speech:{tmp_path}")


class TestTfds:
    def test_splits_are_the_official_ones(self, monkeypatch):
        tfds = pytest.importorskip("tensorflow_datasets")
        rows = {
            "train": [([8192] * 20_000, 0), ([16384], 1), ([-32768], 2)],
            "validation": [([0, 1], 1), ([0, 2], 2)],
            "test": [([3], 1)],
        }

        class Builder:
            prepared = False

            def download_and_prepare(self):
                self.prepared = True

            def is_prepared(self):
                return self.prepared

            def as_dataset(self, split, batch_size):
                assert batch_size is None
                return tf.data.Dataset.from_generator(
                    lambda: (
                        {"audio": audio, "label": label}
                        for audio, label in rows[split]
                    ),
                    output_signature={
                        "audio": tf.TensorSpec([None], tf.int16),
                        "label": tf.TensorSpec([], tf.int64),
                    },
                )

        monkeypatch.setattr(tfds, "builder", lambda name, data_dir: Builder())
        with pytest.raises(FileNotFoundError, match="--dataset=speech_comm"):
            datasets.load("speech_commands")
        loaded = datasets.load("speech_commands", download=True)
        assert loaded.num_classes == 3
        assert sorted(loaded.train.labels) == [0, 1, 2]
        assert sorted(loaded.validation.labels) == [1, 2]
        assert loaded.test.labels.tolist() == [1]
        by_label = dict(zip(*loaded.train[::-1], strict=True))
        np.testing.assert_array_equal(by_label[0], np.full(RATE, 0.25))
        assert by_label[1][:2].tolist() == [0.5, 0]
        assert by_label[2][0] == -1


class TestRefusals:
    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"does not exist\. Give"):
            datasets.load("speech:away", data_dir=tmp_path)

    def test_a_damaged_zip(self, tmp_path):
        (tmp_path / "a.zip").write_bytes(b"no zip")
        with pytest.raises(ValueError, match=r"a whole \.zip.*a\.zip"):
            speech.load("speech:a.zip", data_dir=tmp_path)

    def test_nothing_usable(self, tmp_path):
        (tmp_path / "0_ann_0.wav").write_bytes(b"")
        with pytest.raises(
            ValueError, match=r"two classes at least. Received: 0 .* of \[\]"
        ):
            speech.load(f"speech:{tmp_path}")

    def test_one_class(self, tmp_path):
        write_digits(tmp_path, digits=1)
        with pytest.raises(ValueError, match=r"of \['0'\].*Name files LABEL"):
            speech.load(f"speech:{tmp_path}")

    def test_too_few_of_a_class(self, tmp_path):
        write_digits(tmp_path, speakers=("ann",))
        (tmp_path / "1_ann_0.wav").unlink()
        with pytest.raises(ValueError, match=r"5 recordings.*4 of '1'"):
            speech.load(f"speech:{tmp_path}")

    @pytest.mark.parametrize("name", ["0_ann_9.wav", "0_9.wav"])
    def test_no_other_speaker(self, tmp_path, name):
        write_digits(tmp_path, speakers=("ann",))
        (tmp_path / name).write_bytes(to_wav(tone(440)))
        with pytest.raises(ValueError, match=r"one of several.*@speaker out"):
            speech.load(f"speech:{tmp_path}@speaker")

    @pytest.mark.parametrize("name", ["speech_commands", "speech:a"])
    def test_recordings_are_not_images_out_of_distribution(self, name):
        with pytest.raises(ValueError, match=f"Received: name='{name}'"):
            datasets.load_ood(name, input_shape=(8, 8, 1))


class TestRealDigits:
    def test_sizes(self, data_dir):
        loaded = datasets.load(
            cards.SPOKEN_DIGITS, data_dir=data_dir / "tfds", num_validation=60
        )
        sizes = [
            len(getattr(loaded, part).labels)
            for part in ("train", "validation", "test")
        ]
        assert sizes == [420, 60, 120]
        assert np.bincount(loaded.test.labels).tolist() == [12] * 10
        told = datasets.make_placeholder(cards.SPOKEN_DIGITS)
        assert told.num_classes == loaded.num_classes
        assert told.train.inputs.shape[1:] == loaded.train.inputs.shape[1:]
        # 8 kHz have nothing above 4 kHz.
        spectrum = np.abs(np.fft.rfft(loaded.test.inputs[0]))
        assert spectrum[4_200:].max() < 0.01 * spectrum.max()

    def test_each_of_six_speakers_is_left_out_in_turn(self, data_dir, caplog):
        seen = set()
        for seed in range(6):
            loaded = datasets.load(
                cards.SPOKEN_DIGITS + cards.BY_SPEAKER,
                data_dir=data_dir / "tfds",
                seed=seed,
            )
            assert np.bincount(loaded.test.labels).tolist() == [10] * 10
            seen |= rows_of(loaded.test)
        assert len(seen) == 600
        assert not caplog.text
