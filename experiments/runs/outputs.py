"""Outputs: what a trained network predicts for every set, kept as logits.

All that tables and figures show is made of them, so temperature scaling,
ensembles and other measures need no network. Shapes: N examples, K classes.
"""

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from experiments.runs import atomic_files
from experiments.runs import run_files

OOD = "ood_"


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Logits and labels by the name of a set.

    Attributes:
        logits: `"validation"`, `"test"` and `"ood_<name>"` -> float32
            `(N, K)`. Logarithms of probabilities are logits too.
        labels: `"validation"`, `"test"`, and with corrupted labels
            `"validation_noisy"`, as the training labels are -> int32 `(N,)`.
        posterior: True probabilities of the test set's classes, `(N, K)`,
            where they are known.
    """

    logits: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    posterior: np.ndarray | None = None

    @property
    def ood_names(self) -> list[str]:
        """Names of the out-of-distribution sets, without `"ood_"`."""
        return [
            name.removeprefix(OOD)
            for name in self.logits
            if name.startswith(OOD)
        ]

    def probabilities(self, name: str) -> np.ndarray:
        """Returns the softmax of a set's logits, float32 `(N, K)`."""
        return softmax(self.logits[name])

    def confidence(self, name: str) -> np.ndarray:
        """Returns the largest probability of each example, `(N,)`."""
        return self.probabilities(name).max(axis=-1)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities `(N, K)`, float32, computed in float64."""
    import scipy.special

    wide = np.asarray(logits, np.float64)
    return scipy.special.softmax(wide, axis=-1).astype(np.float32)


def write(outputs: Outputs, path: pathlib.Path) -> None:
    """Writes outputs as `.npz`, whole or not at all."""
    arrays = {f"{name}_logits": x for name, x in outputs.logits.items()}
    arrays |= {f"{name}_labels": x for name, x in outputs.labels.items()}
    if outputs.posterior is not None:
        arrays["posterior"] = outputs.posterior
    atomic_files.write_atomically(
        path,
        lambda partial: np.savez_compressed(
            partial, allow_pickle=False, **arrays
        ),
    )


def read(path: pathlib.Path) -> Outputs:
    """Reads what `write` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or not of the record beside it.
    """
    arrays = atomic_files.read_npz(run_files.check_file(path))

    def named(suffix: str) -> dict[str, np.ndarray]:
        return {
            name.removesuffix(suffix): array
            for name, array in arrays.items()
            if name.endswith(suffix)
        }

    return Outputs(named("_logits"), named("_labels"), arrays.get("posterior"))
