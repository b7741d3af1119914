"""From predictions to the numbers that tables are made of."""

import numpy as np

from tf_mixup import calibration
from tf_mixup import ood
from tf_mixup import predictions
from tf_mixup import scores

# Another name for the two tables of bins that every result is given in.
CONVENTIONS = {"": "guo", "_100": "paper"}


def measure(
    labels: np.ndarray, probabilities: np.ndarray, *, prefix: str
) -> dict[str, float]:
    """Measures one set of predictions.

    Args:
        labels: Integers `(N,)`.
        probabilities: `(N, K)`.
        prefix: Put before each name, e.g. `"test_"`.

    Returns:
        results: Accuracy, mean confidence, negative log-likelihood in nats,
            Brier score, signed gap, and for 15 bins and 100 (`_100`) ECE, OE
            and the null ECE, which calibrated predictions of these
            confidences would show.
    """
    nll = predictions.negative_log_likelihood(labels, probabilities)
    brier = predictions.brier_score(labels, probabilities)
    results = {
        "nll": float(np.mean(np.asarray(nll, np.float64))),
        "brier": float(np.mean(np.asarray(brier, np.float64))),
    }
    confidence = np.max(probabilities, axis=-1)
    for suffix, name in CONVENTIONS.items():
        convention = calibration.CONVENTIONS[name]
        bins = calibration.bin_predictions(
            labels,
            probabilities,
            num_bins=convention.num_bins,
            edges=convention.edges,
        )
        null = scores.null_calibration_error(
            confidence,
            num_bins=convention.num_bins,
            edges=convention.edges,
            draws=50,
            seed=0,
        )
        ece = calibration.expected_calibration_error(bins)
        oe = calibration.overconfidence_error(bins)
        results |= {
            f"ece{suffix}": float(ece),
            f"oe{suffix}": float(oe),
            f"null_ece{suffix}": float(null.mean),
            "accuracy": float(calibration.accuracy(bins)),
            "confidence": float(calibration.mean_confidence(bins)),
            "signed_gap": float(calibration.signed_gap(bins)),
        }
    return {prefix + name: value for name, value in results.items()}


def measure_ood(
    inside: np.ndarray, outside: np.ndarray, *, prefix: str
) -> dict[str, float]:
    """Measures how confidences tell a set from the test set.

    Args:
        inside: Confidences `(N,)` on the test set.
        outside: Confidences `(R,)` on a set that is not of its kind.
        prefix: Put before each name, e.g. `"mnist_"`.

    Returns:
        results: Mean confidence on the set, AUROC, AUPR (test set as the
            positives) and FPR95.
    """
    return {
        f"{prefix}confidence": float(np.mean(outside)),
        f"{prefix}auroc": ood.auroc(inside, outside),
        f"{prefix}aupr": ood.aupr_in(inside, outside),
        f"{prefix}fpr95": ood.fpr_at_95_tpr(inside, outside),
    }
