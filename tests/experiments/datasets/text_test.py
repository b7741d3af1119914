"""Tests of sentences: reading, cleaning, words, splits."""

import doctest
import gzip
import json

import numpy as np
import pytest

from experiments import datasets
from experiments.datasets import cards
from experiments.datasets import text

QUESTIONS = (
    (b"NUM:date When was Caf\xe9 Ole's opening ?", 4),
    (b"HUM:ind Who\x85s there ?", 3),
    (b"LOC:city What city is it ?", 5),
    (b"DESC:def What is it ?", 0),
)


def files_of(name):
    return cards.find(name).source.files


def write_trec(folder, train=QUESTIONS, test=QUESTIONS[:2]):
    folder.mkdir(parents=True)
    for name, rows in zip(files_of("trec"), (train, test), strict=True):
        (folder / name).write_bytes(b"".join(line + b"\n" for line, _ in rows))


def write_mr(folder, size=20):
    folder.mkdir(parents=True)
    for name, word in zip(files_of("mr"), ("good", "bad"), strict=True):
        lines = (
            f"a {word} film , number {word}{index}\n" for index in range(size)
        )
        (folder / name).write_text("".join(lines), encoding="latin-1")


def write_sst2(folder, sizes=(6, 4, 5)):
    folder.mkdir(parents=True)
    for name, size in zip(files_of("sst2"), sizes, strict=True):
        lines = (f"{index % 2} sentence n{index}\n" for index in range(size))
        (folder / name).write_text("".join(lines))


def write_imdb(folder, size=4):
    folder.mkdir(parents=True)
    for name in files_of("imdb"):
        rows = (
            {"text": f"one<br />two \u2013 {'word ' * 500}", "label": index % 2}
            for index in range(size)
        )
        with gzip.open(folder / name, "wt", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))


def sentences(splits, part):
    """Returns the words of a part's rows, without padding."""
    return [
        " ".join(splits.vocabulary[word] for word in row if word)
        for row in getattr(splits, part).inputs
    ]


class TestClean:
    @pytest.mark.parametrize(
        ("sentence", "cleaned"),
        [
            ("What is it ?", "what is it ?"),
            ("I'll say: don't!", "i 'll say do n't !"),
            (
                "They're (well...) it's, I'd've",
                "they 're ( well ) it 's , i 'd 've",
            ),
            ("one<br /><br />two", "one two"),
            ("caf\xe9 \u2013 5.2%\r", "caf 5 2"),
            ("...", ""),
        ],
    )
    def test_by_hand(self, sentence, cleaned):
        assert text.clean(sentence) == cleaned

    def test_changes_nothing_twice(self):
        once = text.clean("Isn't (this) \"it\", 'tis?")
        assert text.clean(once) == once

    def test_example_runs(self):
        assert doctest.testmod(text).failed == 0


class TestLoad:
    def test_rows_by_hand(self, tmp_path):
        write_trec(tmp_path / "trec")
        splits = datasets.load("trec", data_dir=tmp_path, num_validation=1)
        # The validation row is one of four; three train, two are the test.
        assert splits.train.inputs.dtype == np.int32
        assert len(splits.train.labels) == 3
        assert splits.num_classes == 6
        assert splits.vocabulary[:2] == ("", "[UNK]")
        assert all(isinstance(word, str) for word in splits.vocabulary)
        pairs = set(
            zip(sentences(splits, "train"), splits.train.labels, strict=True)
        )
        cleaned = {
            (text.clean(line.decode("latin-1").split(" ", 1)[1]), label)
            for line, label in QUESTIONS
        }
        assert pairs < cleaned
        assert splits.test.labels.tolist() == [4, 3]

    def test_words_are_those_of_the_training_rows(self, tmp_path):
        write_mr(tmp_path / "mr")
        splits = text.load("mr", data_dir=tmp_path, num_train=10)
        words = {w for s in sentences(splits, "train") for w in s.split()}
        assert {*words, "", "[UNK]"} == set(splits.vocabulary)
        # Ten numbers, and: a, good, bad, film, the comma, number.
        assert len(splits.vocabulary) == 2 + 10 + 6
        # Each other row has a number that no training row has.
        for part in ("validation", "test"):
            inputs = getattr(splits, part).inputs
            assert np.all((inputs == 1).sum(axis=1) == 1)

    def test_frequent_words_come_first_and_padding_last(self, tmp_path):
        write_trec(tmp_path / "trec")
        splits = text.load("trec", data_dir=tmp_path, num_validation=0)
        assert splits.vocabulary[2] == "?"
        # The longest question has seven words.
        assert splits.train.inputs.shape == (4, 7)
        row = splits.train.inputs[
            sentences(splits, "train").index("what is it ?")
        ]
        assert row[4:].tolist() == [0, 0, 0]
        assert np.all(row[:4] > 1)

    def test_long_rows_are_cut(self, tmp_path):
        write_imdb(tmp_path / "imdb_subset")
        splits = text.load("imdb", data_dir=tmp_path, num_validation=1)
        assert splits.train.inputs.shape == (3, 400)
        assert sentences(splits, "test")[0].startswith("one two word word")

    def test_reviews_in_files(self, tmp_path):
        for split in ("train", "test"):
            for label in ("neg", "pos"):
                folder = tmp_path / "aclImdb" / split / label
                folder.mkdir(parents=True)
                for index in range(2):
                    (folder / f"{index}_7.txt").write_text(f"{split} {label}")
        splits = text.load("imdb", data_dir=tmp_path, num_validation=0)
        pairs = zip(
            sentences(splits, "train"), splits.train.labels, strict=True
        )
        assert sorted(pairs) == [("train neg", 0)] * 2 + [("train pos", 1)] * 2
        assert splits.test.labels.tolist() == [0, 0, 1, 1]

    @pytest.mark.parametrize("place", ["", "text", "../text"])
    def test_is_found_in_places(self, tmp_path, place):
        root = tmp_path / "tfds"
        root.mkdir()
        write_mr(root / place / "mr")
        splits = text.load("mr", data_dir=root)
        assert len(splits.test.labels) == 4

    def test_corruption(self, tmp_path):
        write_mr(tmp_path / "mr")
        splits = datasets.load("mr", data_dir=tmp_path, corruption=1.0)
        assert splits.corrupted.all()
        assert len(splits.vocabulary) > 2


class TestSplits:
    def test_seed_draws_the_test_rows_of_mr(self, tmp_path):
        write_mr(tmp_path / "mr")
        one, same, other = (
            text.load("mr", data_dir=tmp_path, seed=seed) for seed in (0, 0, 1)
        )
        # 40 rows: 4 to test, a tenth of 36 to validation.
        parts = ("train", "validation", "test")
        assert [len(getattr(one, part).labels) for part in parts] == [33, 3, 4]
        np.testing.assert_array_equal(one.test.inputs, same.test.inputs)
        assert sorted(one.vocabulary) != sorted(other.vocabulary)

    def test_no_row_of_mr_is_in_two_parts(self, tmp_path):
        write_mr(tmp_path / "mr")
        parts = text._read("mr", tmp_path, False)
        assert list(parts) == ["train"]
        drawn = text._hold_out_test(parts["train"], 0)
        both = np.concatenate([drawn["train"].inputs, drawn["test"].inputs])
        assert sorted(both) == sorted(parts["train"].inputs)

    def test_sst2_has_its_own_validation_set(self, tmp_path):
        write_sst2(tmp_path / "sst2")
        splits = text.load("sst2", data_dir=tmp_path)
        assert len(splits.train.labels) == 6
        assert len(splits.validation.labels) == 5
        assert len(splits.test.labels) == 4
        fewer = text.load("sst2", data_dir=tmp_path, num_validation=2)
        assert len(fewer.train.labels) == 6
        assert len(fewer.validation.labels) == 2
        with pytest.raises(ValueError, match="must fit into 5 examples"):
            text.load("sst2", data_dir=tmp_path, num_validation=6)


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "file"), [("mr", "rt-polarity.neg"), ("trec", "TREC_10.label")]
    )
    def test_missing_files_say_where_they_were_looked_for(
        self, tmp_path, name, file
    ):
        with pytest.raises(FileNotFoundError, match="must be in one") as caught:
            text.load(name, data_dir=tmp_path)
        message = str(caught.value)
        assert file in message
        for place in ("", "text/", "../text/"):
            assert str(tmp_path / place / name) in message
        assert ("--download" in message) == (name == "trec")

    def test_half_a_set_is_none(self, tmp_path):
        write_mr(tmp_path / "mr")
        (tmp_path / "mr" / "rt-polarity.neg").unlink()
        with pytest.raises(FileNotFoundError, match=r"rt-polarity\.neg"):
            text.load("mr", data_dir=tmp_path)

    def test_empty_file(self, tmp_path):
        write_sst2(tmp_path / "sst2", sizes=(3, 0, 3))
        with pytest.raises(
            ValueError, match=r"must not be empty. Received: stsa.binary.test"
        ):
            text.load("sst2", data_dir=tmp_path)

    def test_empty_folder_of_reviews(self, tmp_path):
        (tmp_path / "imdb" / "train" / "pos").mkdir(parents=True)
        with pytest.raises(ValueError, match="must not be empty"):
            text.load("imdb", data_dir=tmp_path)

    @pytest.mark.parametrize(
        "line", [b"", b"NUM:date", b"NUM:date ", b"COLOUR:red What is it ?"]
    )
    def test_line_without_label_or_sentence(self, tmp_path, line):
        write_trec(tmp_path / "trec", train=(*QUESTIONS[:2], (line, 0)))
        with pytest.raises(
            ValueError, match="Each line must have a label"
        ) as caught:
            text.load("trec", data_dir=tmp_path)
        assert "line 3 of train_5500.label" in str(caught.value)

    @pytest.mark.parametrize(
        "row",
        [
            "{",
            "[]",
            '{"text": "a"}',
            '{"text": "a", "label": 2}',
            '{"label": 1}',
            '{"text": 3, "label": 1}',
        ],
    )
    def test_row_of_imdb_without_label_or_text(self, tmp_path, row):
        write_imdb(tmp_path / "imdb")
        with gzip.open(tmp_path / "imdb" / "test.jsonl.gz", "at") as file:
            file.write(row + "\n")
        with pytest.raises(ValueError, match=r"line 5 of test\.jsonl\.gz"):
            text.load("imdb", data_dir=tmp_path)

    def test_sst2_with_five_classes(self, tmp_path):
        write_sst2(tmp_path / "sst2")
        (tmp_path / "sst2" / "stsa.binary.dev").write_text("4 a sentence\n")
        with pytest.raises(ValueError, match=r"line 1 of stsa\.binary\.dev"):
            text.load("sst2", data_dir=tmp_path)

    def test_sentences_are_not_images_out_of_distribution(self):
        with pytest.raises(ValueError, match="Received: name='trec'"):
            datasets.load_ood("trec", input_shape=(8, 8, 1))


class TestRealSets:
    @pytest.mark.parametrize(
        ("name", "sizes", "length", "counts"),
        [
            # Rows as published, with a tenth carved; sentences of 33 words in
            # TREC, 56 in MR and 52 in SST-2 at most.
            ("trec", (4907, 545, 500), 33, [138, 94, 9, 65, 113, 81]),
            ("mr", (8637, 959, 1066), 56, None),
            ("imdb", (900, 100, 1000), 400, [500, 500]),
            ("sst2", (6920, 872, 1821), 52, [912, 909]),
        ],
    )
    def test_sizes(self, data_dir, name, sizes, length, counts):
        splits = datasets.load(name, data_dir=data_dir / "tfds")
        parts = (splits.train, splits.validation, splits.test)
        assert tuple(len(part.labels) for part in parts) == sizes
        assert {part.inputs.shape[1] for part in parts} == {length}
        assert splits.train.inputs.max() == len(splits.vocabulary) - 1
        if counts is not None:
            assert np.bincount(splits.test.labels).tolist() == counts

    def test_tfds_and_the_files_of_trec_agree(self, data_dir):
        own = text._read("trec", data_dir / "text", False)
        prepared = text._read_tfds(
            *cards.find("trec").source.tfds, data_dir / "tfds", False
        )
        assert list(prepared) == list(own)
        for part, rows in own.items():
            other = prepared[part]
            assert sorted(zip(*rows, strict=True)) == sorted(
                zip(*other, strict=True)
            )
