"""Spoken words as waveforms of one second, read from wav files or TFDS.

Shapes: N recordings, T samples, C channels.
"""

import io
import logging
import math
import pathlib
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np
from scipy import signal
from scipy.io import wavfile

from experiments.datasets import cards
from experiments.datasets import prepared
from experiments.datasets import splits
from experiments.datasets.prepared import DataDir
from tf_mixup import _checks
from tf_mixup._data import folders

PREFIX = "speech:"
BY_SPEAKER = cards.BY_SPEAKER
# Samples a second, and in a recording.
RATE = 16_000
# Outside of these a header is damaged, and resampling could take hours.
RATES = (1_000, 400_000)
# Files by which a folder names its own test and validation set.
LISTS = {"test": "testing_list.txt", "validation": "validation_list.txt"}
# Share of a set without test split that is its test set.
_TEST_DIVISOR = 5

Place = pathlib.Path | zipfile.Path


class Recording(NamedTuple):
    """A recording with what its file's name says of it.

    Attributes:
        name: Of the file, with its folder's if it has one.
        label: What is said.
        speaker: Who says it; empty if the name does not say.
        wave: Float32 `(16000,)` in `[-1, 1]`.
    """

    name: str
    label: str
    speaker: str
    wave: np.ndarray


def load(
    name: str,
    *,
    data_dir: DataDir = None,
    download: bool = False,
    seed: int = 0,
    **counts: Any,
) -> splits.Splits:
    """Loads spoken words as waveforms.

    `"speech_commands"` is read from TFDS, with its splits. `speech:PATH` is a
    folder or a `.zip` of files `LABEL_*.wav`, as `LABEL_SPEAKER_NUMBER.wav`,
    or `LABEL/*.wav`, as `LABEL/SPEAKER_NUMBER.wav`; several are joined by
    `+`. Files that are empty, damaged or without a label are left out, with a
    warning that names them; files of other types, with a warning that counts
    them; and hidden files and folders whose names begin with `_`.

    The test set is what `testing_list.txt` names, if PATH has it and
    `validation_list.txt`, as Speech Commands do; otherwise a fifth of each
    class, drawn by the seed. `speech:PATH@speaker` tests on one speaker, whom
    training has not heard: the seed's, counted around in the order of names.
    Other arguments are those of `datasets.load`.

    Returns:
        splits: Inputs are float32 waveforms `(N, 16000)` in `[-1, 1]`.

    Raises:
        FileNotFoundError: If there is no such folder or set.
        ValueError: If the recordings do not make a data set.
    """
    if not name.startswith(PREFIX):
        parts = _read_tfds(name, data_dir, download)
        num_classes = int(parts["train"].labels.max()) + 1
    else:
        paths = name.removeprefix(PREFIX).removesuffix(BY_SPEAKER).split("+")
        roots = [_open(pathlib.Path(data_dir or ".", path)) for path in paths]
        recordings = [each for root in roots for each in read_recordings(root)]
        num_classes = _check_classes(name, recordings)
        parts = _split(recordings, _choose(name, recordings, roots, seed))
    return splits.build(
        name,
        parts["train"],
        parts["test"],
        own=parts.get("validation"),
        num_classes=num_classes,
        seed=seed,
        **counts,
    )


def read_recordings(root: Place) -> list[Recording]:
    """Reads the labeled wav files of a folder or an opened `.zip`, by name.

    Those that are empty, damaged or without a label are left out; a warning
    names these.
    """
    recordings, bad = [], []
    files = _find(root)
    for name in files.paths:
        folder, file = name.rpartition("/")[::2]
        fields = file.rpartition(".")[0].split("_")
        if folder:
            fields.insert(0, folder.partition("/")[0])
        try:
            if len(fields) < 2 or not fields[0]:
                raise ValueError("no label")
            wave = decode((root / name).read_bytes())
        except (OSError, ValueError, zipfile.BadZipFile, zlib.error):
            bad.append(folders.printable(name))
            continue
        speaker = fields[1] if len(fields) > 2 else ""
        recordings.append(Recording(name, fields[0], speaker, wave))
    folders.log_left_out(str(root), files.left_out)
    if bad:
        logging.warning(
            "%d of %d recordings in %s are empty, damaged or without a label,"
            " and left out: %s",
            len(bad),
            len(files.paths),
            folders.printable(str(root)),
            ", ".join(bad),
        )
    return recordings


def decode(data: bytes) -> np.ndarray:
    """Reads a wav file as one second at 16 kHz.

    The result is float32 `(16000,)` in `[-1, 1]`. Channels are averaged, other
    rates resampled, what follows the first second is cut off, and missing
    samples are silence.

    Raises:
        ValueError: If it is not whole, or has no samples.
    """
    try:
        with warnings.catch_warnings():
            # Notes beside the samples do no harm; a missing half does.
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            warnings.filterwarnings("error", "Reached EOF")
            rate, samples = wavfile.read(io.BytesIO(data))
    except Exception as error:
        # Damaged headers fail in many ways, division by zero one of them.
        raise ValueError("not a whole wav file") from error
    wave = to_unit(samples)
    if wave.ndim > 1:
        wave = wave.mean(axis=1)
    least, greatest = RATES
    if not least <= rate <= greatest:
        raise ValueError(f"a rate of {rate}")
    if not wave.size or not np.isfinite(wave).all():
        raise ValueError("no samples, or samples that are no numbers")
    divisor = math.gcd(RATE, rate)
    wave = signal.resample_poly(wave, RATE // divisor, rate // divisor)
    return _one_second(wave)


def to_unit(samples: np.ndarray) -> np.ndarray:
    """Scales integer samples by the range of their type to float32 `[-1, 1)`.

    Unsigned samples are silent in the middle of their range. Floats are kept.

    Example:
        >>> to_unit(np.array([0, 128, 192], np.uint8)).tolist()
        [-1.0, 0.0, 0.5]
        >>> to_unit(np.array([-32768, 16384], np.int16)).tolist()
        [-1.0, 0.5]
    """
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    limits = np.iinfo(samples.dtype)
    half = (limits.max - limits.min + 1) / 2
    middle = half if limits.min == 0 else 0
    return ((samples - middle) / half).astype(np.float32)


def _one_second(wave: np.ndarray) -> np.ndarray:
    """Cuts, or pads by silence; clips where resampling overshot."""
    second = np.zeros(RATE, np.float32)
    second[: len(wave)] = wave[:RATE].clip(-1, 1)
    return second


def _open(path: pathlib.Path) -> Place:
    """Returns a folder, or the root of a `.zip`."""
    if path.is_dir():
        return path
    if not path.is_file():
        raise FileNotFoundError(
            "Recordings must be in a folder or a .zip. Received:"
            f" {folders.printable(path)!r}, which does not exist. Give"
            " speech:PATH, PATH absolute or relative to `data_dir`."
        )
    try:
        return zipfile.Path(path)
    except zipfile.BadZipFile as error:
        raise _checks.refusal(
            "A file of recordings must be a whole .zip",
            str(path),
            "Fetch it again, or give a folder",
        ) from error


def _find(root: Place) -> folders.Files:
    """Returns the wav files, as names from `root` with slashes."""
    if isinstance(root, zipfile.Path):
        names = [name for name in root.root.namelist() if name[-1] != "/"]
        found = folders.select(names, {".wav"})
    else:
        found = folders.find_files(root, {".wav"}, relative=True)
    # Speech Commands' folder of background noise is no class.
    paths = [
        path
        for path in found.paths
        if not any(part.startswith("_") for part in path.split("/")[:-1])
    ]
    left_out = [path for path in found.left_out if path not in LISTS.values()]
    return folders.Files(paths, left_out)


def _check_classes(name: str, recordings: Sequence[Recording]) -> int:
    """Returns K; refuses fewer than two classes."""
    labels = sorted({each.label for each in recordings})
    if len(labels) < 2:
        raise _checks.refusal(
            "Recordings must be of two classes at least",
            f"{len(recordings)} that can be read, of {labels}, in {name!r}",
            "Name files LABEL_SPEAKER_NUMBER.wav, or put them into a folder"
            " for each label",
        )
    return len(labels)


def _choose(
    name: str,
    recordings: Sequence[Recording],
    roots: Sequence[Place],
    seed: int,
) -> dict[str, np.ndarray]:
    """Returns masks of the test set, and of its own validation set if any."""
    if name.endswith(BY_SPEAKER):
        return {"test": _choose_speaker(recordings, seed)}
    files = {
        part: [root / file for root in roots if (root / file).is_file()]
        for part, file in LISTS.items()
    }
    if not all(files.values()):
        return {"test": _choose_fifth(recordings, seed)}
    return {
        part: np.isin(
            [each.name for each in recordings],
            [
                line.strip()
                for file in found
                for line in file.read_text(encoding="utf-8").splitlines()
            ],
        )
        for part, found in files.items()
    }


def _choose_speaker(recordings: Sequence[Recording], seed: int) -> np.ndarray:
    """Returns bools `(N,)`: what the seed's speaker says."""
    spoken_by = np.array([each.speaker for each in recordings])
    speakers = np.unique(spoken_by)
    if "" in speakers or len(speakers) < 2:
        raise _checks.refusal(
            "To leave a speaker out, each file must name one of several",
            f"speakers {speakers.tolist()}",
            f"Name files LABEL_SPEAKER_NUMBER.wav, or leave {BY_SPEAKER} out",
        )
    return spoken_by == speakers[seed % len(speakers)]


def _choose_fifth(recordings: Sequence[Recording], seed: int) -> np.ndarray:
    """Returns bools `(N,)`: a fifth of each class, drawn by the seed."""
    from sklearn import model_selection

    labels, counts = np.unique(
        [each.label for each in recordings], return_counts=True
    )
    if min(counts) < _TEST_DIVISOR:
        raise _checks.refusal(
            f"Each class must have {_TEST_DIVISOR} recordings at least",
            f"{min(counts)} of {str(labels[counts.argmin()])!r}",
            "Record more, or leave the class out",
        )
    _, drawn = model_selection.train_test_split(
        np.arange(len(recordings)),
        test_size=1 / _TEST_DIVISOR,
        stratify=[each.label for each in recordings],
        random_state=seed,
    )
    return np.isin(np.arange(len(recordings)), drawn)


def _split(
    recordings: Sequence[Recording], chosen: dict[str, np.ndarray]
) -> dict[str, splits.Arrays]:
    """Returns the chosen recordings and, as `train`, the others."""
    names = sorted({each.label for each in recordings})
    spoken = splits.Arrays(
        np.stack([each.wave for each in recordings]),
        np.array([names.index(each.label) for each in recordings], np.int32),
    )
    others = ~np.any(list(chosen.values()), axis=0)
    parts = {
        part: spoken.take(np.flatnonzero(mask))
        for part, mask in {"train": others, **chosen}.items()
    }
    empty = [part for part, each in parts.items() if not len(each.labels)]
    if empty:
        raise _checks.refusal(
            "Each split must have recordings",
            f"none for {', '.join(empty)}",
            f"Correct {' and '.join(LISTS.values())}, or remove them",
        )
    return parts


def _read_tfds(
    name: str, data_dir: DataDir, download: bool
) -> dict[str, splits.Arrays]:
    """Reads the splits of TFDS's Speech Commands."""
    builder = prepared.open_builder(name, data_dir, download=download)
    if builder is None:
        raise prepared.missing(name, data_dir)
    parts = {}
    for part in ("train", "validation", "test"):
        examples = prepared.read(builder, part, batch_size=None)
        waves = [_one_second(to_unit(each["audio"])) for each in examples]
        labels = [each["label"] for each in examples]
        parts[part] = splits.Arrays(np.stack(waves), np.array(labels, np.int32))
    return parts
