"""Tables: files in their own formats, splits, and what is fitted on them."""

import gzip
import types

import keras
import numpy as np
import pytest
from sklearn import datasets as sklearn_datasets

from experiments import datasets
from experiments.datasets import cards
from experiments.datasets import splits
from experiments.datasets import tabular
from experiments.papers import defaults
from experiments.runs import config as config_lib
from experiments.runs import run_data
from experiments.runs import training

TABLES = [card.name for card in cards.CARDS if card.kind == "tables"]

PARTS = ("train", "validation", "test")
HEADER = "\n".join(
    [
        "% a comment, @data",
        "@relation phishing",
        "",
        *(f"@attribute column{index} {{ -1,1 }}" for index in range(29)),
        "@ATTRIBUTE URL_Length {1,0,-1}",
        "@attribute Result  {-1,1}",
        "@data",
        "",
    ]
)


def write(folder, file, lines):
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{line}\n" for line in lines)
    if file.endswith(".gz"):
        (folder / file).write_bytes(gzip.compress(text.encode()))
    else:
        (folder / file).write_text(text)


def iris_lines(size=12):
    """Returns lines whose first number is their place."""
    names = ("setosa", "versicolor", "virginica")
    return [
        f"{index},{index % 4}.5,7,0.{index},Iris-{names[index % 3]}"
        for index in range(size)
    ]


def write_iris(root, lines=None):
    # UCI's file ends with an empty line.
    lines = iris_lines() if lines is None else lines
    write(root / "uci", "iris.data", [*lines, ""])


def write_abalone(root, sexes="MFI" * 4, rings=(9, 10, 11) * 4):
    write(
        root / "uci",
        "abalone.data",
        [
            f"{sex},{index},0.2,0.3,0.4,0.5,0.6,0.7,{ring}"
            for index, (sex, ring) in enumerate(zip(sexes, rings, strict=True))
        ],
    )


def write_arcene(root, *, train=6, valid=4, labels=6, end=""):
    wide = " 3" * 9_999
    for part, first, size in [("train", 0, train), ("valid", 100, valid)]:
        write(
            root / "uci",
            f"arcene_{part}.data{end}",
            [f"{first + index}{wide} " for index in range(size)],
        )
    for part, size in [("train", labels), ("valid", valid)]:
        write(
            root / "uci",
            f"arcene_{part}.labels",
            [(-1, 1)[index % 2] for index in range(size)],
        )


def write_arrhythmia(root, missing, size=12):
    """Writes rows whose feature 13 is their place, or missing."""
    rows = [
        [*[1] * 13, "?" if index in missing else index, *[index % 2] * 265]
        for index in range(size)
    ]
    lines = [
        ",".join(map(str, [*row, (1, 16)[index % 2]]))
        for index, row in enumerate(rows)
    ]
    write(root / "uci", "arrhythmia.data", lines)


def write_phishing(root, rows=None, header=HEADER, file="phishing.arff"):
    if rows is None:
        rows = [
            ",".join([*["-1"] * 29, str(index % 3 - 1), str(index % 2 * 2 - 1)])
            for index in range(12)
        ]
    write(root / "uci", file, [header, *rows])


def load(name, root, **options):
    return tabular.load(name, data_dir=root, **options)


def all_rows(found):
    parts = [getattr(found, part) for part in PARTS]
    return splits.Arrays(*map(np.concatenate, zip(*parts, strict=True)))


class TestFormats:
    def test_iris(self, tmp_path):
        write_iris(tmp_path)
        found = load("uci:iris", tmp_path)
        rows = all_rows(found)
        assert rows.inputs.dtype == np.float32
        assert rows.labels.dtype == np.int32
        order = np.argsort(rows.inputs[:, 0])
        expected = [
            [index, index % 4 + 0.5, 7, float(f"0.{index}")]
            for index in range(12)
        ]
        np.testing.assert_allclose(rows.inputs[order], expected, rtol=1e-6)
        assert rows.labels[order].tolist() == [0, 1, 2] * 4
        assert found.num_classes == 3
        assert not found.corrupted.any()

    def test_sex_of_abalone_becomes_three_columns(self, tmp_path):
        write_abalone(tmp_path)
        rows = all_rows(load("uci:abalone", tmp_path))
        order = np.argsort(rows.inputs[:, 3])
        # F, I, M; then the others in their order.
        assert rows.inputs[order][:3, :3].tolist() == [
            [0, 0, 1],
            [1, 0, 0],
            [0, 1, 0],
        ]
        np.testing.assert_allclose(
            rows.inputs[order][5, 3:], [5, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
        )
        # In the order of numbers, not of letters.
        assert rows.labels[order].tolist() == [0, 1, 2] * 4

    def test_a_sex_that_no_training_row_has_keeps_its_column(self, tmp_path):
        write_abalone(tmp_path, sexes="M" * 11 + "I", rings=(1, 2) * 6)
        for seed in range(4):
            found = load("uci:abalone", tmp_path, seed=seed)
            assert found.train.inputs.shape[1] == 10
            assert all_rows(found).inputs[:, :3].sum(0).tolist() == [0, 1, 11]

    @pytest.mark.parametrize("end", ["", ".gz"])
    def test_arcene_is_two_files_and_their_labels(self, tmp_path, end):
        write_arcene(tmp_path, end=end)
        rows = all_rows(load("uci:arcene", tmp_path, num_validation=1))
        assert rows.inputs.shape == (10, 10_000)
        pairs = sorted(zip(rows.inputs[:, 0], rows.labels, strict=True))
        places = [0, 1, 2, 3, 4, 5, 100, 101, 102, 103]
        assert pairs == [(place, place % 2) for place in places]

    def test_missing_values_become_the_median_of_training_rows(self, tmp_path):
        missing = {2, 3, 5, 8}
        write_arrhythmia(tmp_path, missing)
        found = load("uci:arrhythmia", tmp_path, num_validation=1)
        assert found.num_classes == 2
        values = found.train.inputs[:, 13]
        known = sorted(set(range(12)) - missing)
        trained = [value for value in values if value in known]
        expected = np.median(trained)
        rows = all_rows(found).inputs[:, 13]
        filled = [value for value in rows if value not in known]
        filled += [value for value in rows if value == expected]
        assert len(rows) == 12
        assert np.isin(known, rows).all()
        assert set(filled) == {expected}
        assert sum(value == expected for value in rows) >= len(missing)

    def test_a_column_without_any_training_value_is_kept(self, tmp_path):
        write_arrhythmia(tmp_path, missing=set(range(12)))
        found = load("uci:arrhythmia", tmp_path)
        assert found.train.inputs.shape[1] == 279
        assert (all_rows(found).inputs[:, 13] == 0).all()
        assert (found.mean[13], found.std[13]) == (0, 1)

    @pytest.mark.parametrize(
        "file", ["phishing_any.arff", "Training Dataset.arff"]
    )
    def test_phishing(self, tmp_path, file):
        write_phishing(tmp_path, file=file)
        rows = all_rows(load("uci:phishing", tmp_path))
        assert rows.inputs.shape == (12, 30)
        assert (rows.inputs[:, :29] == -1).all()
        pairs = sorted(zip(rows.inputs[:, 29], rows.labels, strict=True))
        assert pairs == sorted((i % 3 - 1, i % 2) for i in range(12))

    def test_htru2(self, tmp_path):
        lines = [
            f"{index},1,2,3,4,5,6,-1.5e-1,{index % 2}" for index in range(8)
        ]
        write(tmp_path / "uci", "HTRU_2.csv", lines)
        rows = all_rows(load("uci:htru2", tmp_path))
        assert rows.labels.tolist() == (rows.inputs[:, 0] % 2).tolist()
        np.testing.assert_allclose(rows.inputs[:, 7], -0.15)

    def test_is_found_beside_the_folder_of_tfds_too(self, tmp_path):
        root = tmp_path / "tfds"
        root.mkdir()
        write_iris(tmp_path)
        assert len(load("uci:iris", root).test.labels) == 6
        write_iris(root, iris_lines(18))
        assert len(load("uci:iris", root).test.labels) == 9


class TestSplits:
    def test_half_of_each_class_is_the_test_set(self):
        labels = np.repeat([0, 1, 2, 3], [40, 7, 2, 1]).astype("int32")
        rows = splits.Arrays(np.arange(50), labels)
        lonely = set()
        for seed in range(20):
            rest, test = tabular.hold_out_half(rows, seed)
            assert len(rest.labels) == len(test.labels) == 25
            both = np.concatenate([rest.inputs, test.inputs])
            assert sorted(both) == list(range(50))
            counts = np.bincount(test.labels, minlength=4)
            assert counts[[0, 2]].tolist() == [20, 1]
            assert counts[1] in (3, 4)
            lonely.add(int(counts[3]))
        # The only row of its class falls to either half.
        assert lonely == {0, 1}

    def test_every_row_is_tested_equally_often(self):
        labels = np.repeat([0, 1, 2], [9, 5, 1]).astype("int32")
        rows = splits.Arrays(np.arange(15), labels)
        counts = sum(
            np.bincount(tabular.hold_out_half(rows, seed)[1].inputs, None, 15)
            for seed in range(600)
        )
        # Half of the seeds; five deviations of a binomial count.
        assert np.abs(counts - 300).max() < 5 * np.sqrt(600 / 4)

    def test_no_row_is_in_two_parts(self, tmp_path):
        write_iris(tmp_path, iris_lines(60))
        found = load("uci:iris", tmp_path, num_validation=5, num_train=20)
        sizes = [len(getattr(found, part).labels) for part in PARTS]
        assert sizes == [20, 5, 30]
        assert len(np.unique(all_rows(found).inputs[:, 0])) == 55

    def test_seed_decides_all_rows(self, tmp_path):
        write_iris(tmp_path, iris_lines(60))
        one, same, other = (
            load("uci:iris", tmp_path, seed=seed) for seed in (3, 3, 4)
        )
        for part in PARTS:
            mine, equal, fresh = (
                getattr(each, part).inputs for each in (one, same, other)
            )
            np.testing.assert_array_equal(mine, equal)
            assert set(mine[:, 0]) != set(fresh[:, 0])
        assert one.mean == same.mean != other.mean

    def test_statistics_are_those_of_training_rows(self, tmp_path):
        write_iris(tmp_path, iris_lines(60))
        found = load("uci:iris", tmp_path, num_train=10)
        inputs = found.train.inputs.astype("float64")
        np.testing.assert_allclose(found.mean, inputs.mean(0), rtol=1e-6)
        # The third column is constant.
        expected = np.where([0, 0, 1, 0], 1, inputs.std(0))
        np.testing.assert_allclose(found.std, expected, rtol=1e-6)

    def test_no_other_row_moves_what_is_fitted(self, tmp_path):
        missing = {0, 1, 2, 3, 4, 5}
        write_arrhythmia(tmp_path, missing, size=24)
        found = load("uci:arrhythmia", tmp_path, num_validation=2)
        trained = set(found.train.inputs[:, 13])
        # Multiply what is not trained on by a thousand.
        path = tmp_path / "uci" / "arrhythmia.data"
        rows = [line.split(",") for line in path.read_text().split()]
        changed = 0
        for row in rows:
            if row[13] != "?" and float(row[13]) not in trained:
                row[13] += "000"
                changed += 1
        assert changed > 5
        path.write_text("\n".join(map(",".join, rows)))
        moved = load("uci:arrhythmia", tmp_path, num_validation=2)
        assert (moved.mean, moved.std) == (found.mean, found.std)
        np.testing.assert_array_equal(moved.train.inputs, found.train.inputs)
        assert moved.test.inputs.max() > found.test.inputs.max()

    def test_labels_may_be_corrupted(self, tmp_path):
        write_iris(tmp_path)
        found = datasets.load("uci:iris", data_dir=tmp_path, corruption=1.0)
        assert found.corrupted.all()
        assert found.num_classes == 3


class TestOpenML:
    """Without a network: what scikit-learn returns is made up."""

    def fetch(self, monkeypatch, data, target, categories):
        asked = []

        def fetch_openml(name, **options):
            asked.append((name, options))
            return types.SimpleNamespace(
                data=np.array(data, float),
                target=np.array(target, object),
                feature_names=[f"f{i}" for i in range(len(data[0]))],
                categories=categories,
            )

        monkeypatch.setattr(sklearn_datasets, "fetch_openml", fetch_openml)
        return asked

    def test_nominal_values_are_decoded(self, monkeypatch, tmp_path):
        # Sex and a missing length; the class is 10 to 8 rings.
        data = [[i % 3, np.nan if i == 4 else i, *[0.5] * 6] for i in range(12)]
        asked = self.fetch(
            monkeypatch,
            data,
            [str(10 - i % 3) for i in range(12)],
            {"f0": ["M", "F", "I"]},
        )
        found = load("uci:abalone", tmp_path, download=True)
        ((name, options),) = asked
        assert (name, options["version"]) == ("abalone", 1)
        rows = all_rows(found)
        for row, label in zip(*rows, strict=True):
            code = (2, 1, 0)[label]
            assert row[:3].tolist() == [code == 1, code == 2, code == 0]
        assert np.isfinite(rows.inputs).all()

    def test_numbers_keep_their_values(self, monkeypatch, tmp_path):
        # A header may name -1, 1, 0 in this order.
        self.fetch(
            monkeypatch,
            [[i % 3] * 30 for i in range(12)],
            ["-1", "1"] * 6,
            {f"f{i}": ["-1", "1", "0"] for i in range(30)},
        )
        rows = all_rows(load("uci:phishing", tmp_path, download=True))
        values = np.unique(rows.inputs).tolist()
        assert values == [-1, 0, 1]
        assert rows.inputs.sum() == 0

    def test_a_set_of_another_shape_is_refused(self, monkeypatch, tmp_path):
        self.fetch(monkeypatch, [[1, 2]] * 4, ["Iris-setosa"] * 4, {})
        with pytest.raises(ValueError, match=r"row 1 of OpenML.*3 values"):
            load("uci:iris", tmp_path, download=True)

    def test_files_come_first(self, monkeypatch, tmp_path):
        asked = self.fetch(monkeypatch, [[0]], ["x"], {})
        write_iris(tmp_path)
        load("uci:iris", tmp_path, download=True)
        assert not asked

    def test_is_not_asked_for_what_it_lacks(self, monkeypatch, tmp_path):
        asked = self.fetch(monkeypatch, [[0]], ["x"], {})
        with pytest.raises(FileNotFoundError, match=r"HTRU_2\.csv") as caught:
            load("uci:htru2", tmp_path, download=True)
        assert "--download" not in str(caught.value)
        assert not asked


class TestRefusals:
    @pytest.mark.parametrize("name", TABLES)
    def test_missing_files_say_where_they_were_looked_for(self, tmp_path, name):
        with pytest.raises(FileNotFoundError, match="must be in one") as caught:
            load(name, tmp_path)
        message = str(caught.value)
        assert name in message
        for names in cards.find(name).source.files:
            assert " or ".join(names) in message
        for place in ("uci", "../uci"):
            assert str(tmp_path / place) in message
        assert ("--download" in message) == (name != "uci:htru2")

    def test_half_a_set_is_none(self, tmp_path):
        write_arcene(tmp_path)
        (tmp_path / "uci" / "arcene_valid.labels").unlink()
        with pytest.raises(FileNotFoundError, match=r"arcene_valid\.labels"):
            load("uci:arcene", tmp_path)

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("5.1,3.5,1.4,Iris-setosa", "4 values"),
            ("5.1,3.5,,0.2,Iris-setosa", "4 values"),
            ("5.1,3.5,1.4,0.2,0.3,Iris-setosa", "6 values"),
            (",", "2 values"),
            ("5.1,3.5,wide,0.2,Iris-setosa", "to float: 'wide'"),
            ("5.1,3.5,1.4,inf,Iris-setosa", "an infinite feature"),
            ("5.1,3.5,1.4,0.2,Iris-rosa", "'Iris-rosa' is none of"),
            ("5.1,3.5,1.4,0.2,?", "'?' is none of Iris-setosa, "),
        ],
    )
    def test_damaged_lines(self, tmp_path, line, reason):
        write_iris(tmp_path, [*iris_lines(3), line, *iris_lines(3)])
        with pytest.raises(
            ValueError, match="must have 4 features and a class"
        ) as caught:
            load("uci:iris", tmp_path)
        assert "Received: line 4 of iris.data: " in str(caught.value)
        assert reason in str(caught.value)

    @pytest.mark.parametrize("label", ["?", "1.5", "inf", "nan"])
    def test_classes_that_are_no_integers(self, tmp_path, label):
        lines = ["1,1,2,3,4,5,6,7,0"] * 3 + [f"1,1,2,3,4,5,6,7,{label}"]
        write(tmp_path / "uci", "HTRU_2.csv", lines)
        with pytest.raises(ValueError, match=r"line 4 of HTRU_2.*infinite"):
            load("uci:htru2", tmp_path)

    def test_unknown_sex(self, tmp_path):
        write_abalone(tmp_path, sexes="MFX" * 4)
        with pytest.raises(ValueError, match="'X' is none of F, I, M"):
            load("uci:abalone", tmp_path)

    def test_labels_that_are_too_few(self, tmp_path):
        write_arcene(tmp_path, labels=5)
        with pytest.raises(
            ValueError, match=r"6 rows in arcene_train\.data, 5 labels in"
        ):
            load("uci:arcene", tmp_path)

    @pytest.mark.parametrize("damage", [lambda x: x[:-9], lambda x: x[9:]])
    def test_compressed_file_that_is_cut(self, tmp_path, damage):
        write_arcene(tmp_path, end=".gz")
        path = tmp_path / "uci" / "arcene_train.data.gz"
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(ValueError, match=r"must be whole.*train\.data\.gz"):
            load("uci:arcene", tmp_path)

    @pytest.mark.parametrize(
        ("header", "found"),
        [
            (HEADER.replace("Result", "Outcome"), "with 31: .*Outcome'"),
            (HEADER.replace("@attribute column3 { -1,1 }\n", ""), "with 30: "),
            (
                HEADER.removesuffix("@data\n") + "@attribute more {1}\n@data",
                "with 32: .*more'",
            ),
            (HEADER.split("@ATTRIBUTE")[0], "with 29: "),
            ("", "with 0: ''"),
        ],
    )
    def test_arff_with_unknown_columns(self, tmp_path, header, found):
        write_phishing(tmp_path, header=header)
        with pytest.raises(
            ValueError, match=f"must name 31 columns.*phishing.arff {found}"
        ):
            load("uci:phishing", tmp_path)

    @pytest.mark.parametrize(
        ("value", "place", "column"),
        [("0", 4, "column4"), ("2", 29, "URL_Length"), ("0", 30, "Result")],
    )
    def test_arff_with_unknown_values(self, tmp_path, value, place, column):
        row = ["-1"] * 31
        row[place] = value
        write_phishing(tmp_path, [",".join(["-1"] * 31), ",".join(row)])
        with pytest.raises(
            ValueError, match=f"must be among.*{column}='{value}' in line 38 of"
        ):
            load("uci:phishing", tmp_path)

    @pytest.mark.parametrize("count", [30, 32])
    def test_arff_with_rows_of_another_length(self, tmp_path, count):
        write_phishing(tmp_path, [",".join(["-1"] * count)])
        with pytest.raises(ValueError, match=f"{count} values"):
            load("uci:phishing", tmp_path)

    @pytest.mark.parametrize("lines", [[], iris_lines(1), iris_lines()[::3]])
    def test_one_class(self, tmp_path, lines):
        write_iris(tmp_path, lines)
        with pytest.raises(
            ValueError, match=f"of two classes. Received: {len(lines)} rows"
        ):
            load("uci:iris", tmp_path)

    def test_too_few_rows(self, tmp_path):
        write_iris(tmp_path)
        with pytest.raises(ValueError, match="must fit into 6 examples"):
            load("uci:iris", tmp_path, num_validation=7)
        with pytest.raises(ValueError, match="must leave examples to train on"):
            load("uci:iris", tmp_path, num_validation=6)

    def test_unknown_table(self, tmp_path):
        with pytest.raises(ValueError, match=r"uci:phishing.*name=.uci:wine"):
            datasets.load("uci:wine", data_dir=tmp_path)

    def test_is_no_set_of_images(self):
        with pytest.raises(ValueError, match="Sets out of distribution are"):
            datasets.load_ood("uci:iris", input_shape=(8, 8, 1))


class TestRealSets:
    @pytest.mark.parametrize(
        ("name", "num_features", "counts"),
        [
            # Rings from 1 to 27 and 29.
            (
                "uci:abalone",
                10,
                "1 1 15 57 115 259 391 568 689 634 487 267 203 126 103 67 58"
                " 42 32 26 14 6 9 2 1 1 2 1",
            ),
            ("uci:arcene", 10_000, "112 88"),
            ("uci:arrhythmia", 279, "245 44 15 15 13 25 3 2 9 50 4 5 22"),
            ("uci:htru2", 8, "16259 1639"),
            ("uci:iris", 4, "50 50 50"),
            ("uci:phishing", 30, "4898 6157"),
        ],
    )
    def test_counts(self, data_dir, name, num_features, counts):
        found = datasets.load(name, data_dir=data_dir / "tfds")
        rows = all_rows(found)
        wanted = list(map(int, counts.split()))
        assert np.bincount(rows.labels).tolist() == wanted
        assert rows.inputs.shape == (sum(wanted), num_features)
        assert np.isfinite(rows.inputs).all()
        assert found.num_classes == len(wanted)
        assert len(found.mean) == len(found.std) == num_features
        # Half of each class, to a row.
        doubled = 2 * np.bincount(found.test.labels, minlength=len(wanted))
        assert np.abs(doubled - wanted).max() <= 1
        assert abs(2 * len(found.test.labels) - sum(wanted)) <= 1


@pytest.mark.slow
def test_run_trains_on_a_table(tmp_path):
    rng = np.random.default_rng(0)
    lines = [
        f"{100 + 50 * (index % 3) + rng.random()},1,2,{rng.random()},"
        f"{iris_lines()[index % 3].split(',')[-1]}"
        for index in range(90)
    ]
    write_iris(tmp_path, lines)
    config = config_lib.Config(
        dataset="uci:iris",
        **defaults.PAPER_DEFAULTS["uci:iris"] | {"num_validation": 5},
    )
    sources = run_data.Sources(data_dir=str(tmp_path))
    record = training.run(config, tmp_path / "run", sources)
    assert record["results"]["test_accuracy"] > 0.95
    # The saved network takes the features as they are.
    found = tabular.load("uci:iris", data_dir=tmp_path, num_validation=5)
    network = keras.saving.load_model(tmp_path / "run" / "model.keras")
    classes = network.predict(found.test.inputs, verbose=0).argmax(-1)
    accuracy = np.mean(classes == found.test.labels)
    assert accuracy == pytest.approx(record["results"]["test_accuracy"])
