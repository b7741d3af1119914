r"""Decodes every photograph of a data set and lists those that are not whole.

Command:
    python -m experiments.verify_images --dataset=imagefolder:PATH \
        --manifest=bad_images.jsonl
    python -m experiments.verify_images --dataset=imagenet2012 --data_dir=DIR

The manifest has a line of JSON for each bad file: its split, its name and
what is wrong with it; no line if all are whole. Training replaces bad images
and evaluation leaves them out, so this is to find and repair them. How long one
CPU core takes for an image shows
`python -m experiments.benchmark --what=imagenet`.
"""

import json
import pathlib

from absl import flags
from absl import logging

from experiments import _entry
from experiments.datasets import cards
from experiments.datasets import photographs
from experiments.datasets import streams
from experiments.runs import atomic_files
from tf_mixup import _checks


def verify(
    dataset: str, data_dir: str | pathlib.Path | None
) -> list[dict[str, str]]:
    """Decodes all images of a data set of photographs.

    Returns:
        bad: `split`, `file` and `reason` of each image that is not whole.

    Raises:
        ValueError: If the data set is not one of photographs.
    """
    if cards.find(dataset).kind != "photographs":
        raise _checks.refusal(
            "Photographs are verified, other sets are read whole anyway",
            f"dataset={dataset!r}",
            "Write imagenet2012 or imagefolder:PATH",
        )
    bad = []
    for split, source in photographs.open_sources(dataset, data_dir).items():
        reasons, labels = streams.find_unreadable(source)
        logging.info("%s: %d whole, %d bad", split, len(labels), len(reasons))
        bad += [
            {
                "split": split,
                "file": source.name(index),
                "reason": _entry.describe(error),
            }
            for index, error in reasons.items()
        ]
    return bad


def define_flags() -> None:
    """Defines the flags of this binary."""
    flags.DEFINE_string(
        "dataset", None, "imagenet2012 or imagefolder:PATH.", required=True
    )
    flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
    flags.DEFINE_string(
        "manifest",
        "bad_images.jsonl",
        "File for a line of JSON for each bad image.",
    )


def main() -> None:
    """Writes the manifest; fails if it is not empty."""
    bad = verify(flags.FLAGS.dataset, flags.FLAGS.data_dir)
    path = pathlib.Path(flags.FLAGS.manifest)
    text = "".join(json.dumps(each) + "\n" for each in bad)
    atomic_files.write_text(path, text)
    if bad:
        raise _checks.refusal(
            "All images must be whole",
            f"{len(bad)} that are not, listed in {path}",
            "Replace them by the originals, or delete them",
        )
    logging.info("All images are whole.")


if __name__ == "__main__":
    _entry.start(main, define_flags)
