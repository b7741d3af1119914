"""From predictions to the numbers that tables are made of."""

import statistics
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np

from experiments.runs.outputs import OOD
from experiments.runs.outputs import Outputs
from tf_mixup import calibration
from tf_mixup import ood
from tf_mixup.calibration import resampling

# Scores that detect other sets beside the confidence; of saved logits.
OTHER_SCORES = ("entropy", "energy", "max_logit")
# Suffix of a result -> key of `calibration.CONVENTIONS`.
SUFFIXES = {"": "guo", "_100": "paper"}
# Of more classes top-5 accuracy is measured, too.
MANY_CLASSES = 10
# Below it probabilities count as this, so that no example decides a mean.
PROBABILITY_FLOOR = 1e-7


def measure_outputs(outputs: Outputs, *, raw: bool = False) -> dict[str, float]:
    """Measures everything that a network predicted.

    Args:
        outputs: Logits, or logarithms of probabilities.
        raw: Whether they are a network's own logits. Else scores that need
            such are left out: the energy of a distribution is always 0.

    Returns:
        results: `measure` of `validation_` (if it is there) and `test_`,
            `measure_ood` and `measure_scores` of each set, and
            `measure_posterior` where the truth is known.
    """
    results: dict[str, float] = {}
    for name in ("validation", "test"):
        if name not in outputs.logits:
            continue  # It served to fit a scaler.
        results |= measure(
            outputs.labels[name],
            outputs.probabilities(name),
            prefix=f"{name}_",
        )
    inside = outputs.confidence("test")
    for name in outputs.ood_names:
        outside = outputs.confidence(OOD + name)
        results |= measure_ood(inside, outside, prefix=f"{name}_")
        results |= measure_scores(
            outputs.logits["test"],
            outputs.logits[OOD + name],
            prefix=f"{name}_",
            raw=raw,
        )
    if outputs.posterior is not None:
        results |= measure_posterior(
            outputs.posterior, outputs.probabilities("test")
        )
    return results


def measure(
    labels: np.ndarray, probabilities: np.ndarray, *, prefix: str
) -> dict[str, float]:
    """Measures predictions `(N, K)` of integer labels `(N,)`.

    Returns:
        results: Under names with the prefix: accuracy, of more than 10 classes
            also top-5 accuracy, mean confidence, negative log-likelihood in
            nats, Brier score, signed gap, adaptive ECE (15 bins of equally many
            examples), and for 15 bins and 100 (`_100`) ECE, OE and the null
            ECE, which calibrated predictions of these confidences would show;
            of 15 also the average and the maximum calibration error.
            The likelihood counts a probability below 1e-7 as 1e-7, so that an
            example costs at most 16.1 nats: isotonic scaling gives exact zeros.
    """
    nll = calibration.negative_log_likelihood(
        labels, np.maximum(probabilities, PROBABILITY_FLOOR)
    )
    brier = calibration.brier_score(labels, probabilities)
    results = {
        "nll": float(np.mean(np.asarray(nll, np.float64))),
        "brier": float(np.mean(np.asarray(brier, np.float64))),
    }
    confidence, _ = calibration.top_label(labels, probabilities)
    results["adaptive_ece"] = calibration.adaptive_calibration_error(
        labels, probabilities
    )
    for suffix, name in SUFFIXES.items():
        convention = calibration.CONVENTIONS[name]
        bins = calibration.bin_predictions(
            labels,
            probabilities,
            num_bins=convention.num_bins,
            edges=convention.edges,
        )
        null = resampling.null_calibration_error(
            confidence,
            num_bins=convention.num_bins,
            edges=convention.edges,
            num_resamples=50,
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
        if not suffix:
            ace = calibration.average_calibration_error(bins)
            mce = calibration.maximum_calibration_error(bins)
            results |= {"ace": float(ace), "mce": float(mce)}
    if probabilities.shape[-1] > MANY_CLASSES:
        results["top5_accuracy"] = top_accuracy(labels, probabilities, 5)
    return {prefix + name: value for name, value in results.items()}


def top_accuracy(labels: np.ndarray, values: np.ndarray, k: int) -> float:
    """Returns the share of examples whose class is among the first `k`.

    `values` are float32 `(N, K)`, logits or probabilities; equal ones share a
    place.
    """
    return float(np.mean(keras.ops.in_top_k(labels, values, k)))


def measure_training(
    labels: np.ndarray, logits: np.ndarray, corrupted: np.ndarray
) -> dict[str, float]:
    """Measures how much of its training set a network has memorized.

    Args:
        labels: That it was trained on, `(N,)`.
        logits: Of the unmixed examples, `(N, K)`.
        corrupted: Bool `(N,)`: which labels were redrawn.

    Returns:
        results: `train_accuracy`, and where labels were redrawn
            `train_real_accuracy` of the others and `train_corrupted_accuracy`
            of these, all against the labels it was trained on; the means of
            the largest and the second largest logit, `train_first_logit` and
            `train_second_logit`.
    """
    right = logits.argmax(axis=-1) == labels
    second, first = np.partition(logits, -2, axis=-1)[:, -2:].mean(axis=0)
    results = {
        "train_accuracy": float(right.mean()),
        "train_first_logit": float(first),
        "train_second_logit": float(second),
    }
    if corrupted.any() and not corrupted.all():
        results["train_real_accuracy"] = float(right[~corrupted].mean())
        results["train_corrupted_accuracy"] = float(right[corrupted].mean())
    return results


def find_chance(labels: np.ndarray, classes: np.ndarray) -> list[str]:
    """Finds out whether a network has learned anything.

    The accuracy of its predicted classes `(N,)` is compared with that of always
    naming the most frequent class, by a one-sided binomial test at 2.5 %.

    Returns:
        warnings: A sentence if its accuracy is within chance, or nothing.
    """
    import scipy.stats

    share = float(np.bincount(labels).max() / len(labels))
    hits = int((classes == labels).sum())
    if hits > scipy.stats.binom.ppf(0.975, len(labels), share):
        return []
    return [
        f"The network has not learned: its test accuracy of"
        f" {hits / len(labels):.1%} is no better than chance, since the most"
        f" frequent class is {share:.1%} of the test set. Lower"
        " --learning_rate or raise --warmup_epochs, train for more --epochs,"
        " and check the labels."
    ]


def measure_epochs(
    history: Mapping[str, Sequence[float]],
    sets: Sequence[str] = ("validation", "test"),
) -> dict[str, float]:
    """Measures the best epoch and the last ones.

    Args:
        history: With `val_accuracy`, and `test_accuracy` if it was measured
            after each epoch.
        sets: Which of the two to measure on.

    Returns:
        results: `validation_best_accuracy`, of the best epoch;
            `validation_gain_of_best`, over the last epoch, what was lost by
            training to the end; and `validation_median_accuracy`, of the last
            ten epochs; and `test_best_accuracy`, ... of the test set, as the
            mixup paper has them. The best of many is a little too good.
    """
    results: dict[str, float] = {}
    keys = {"validation": "val_accuracy", "test": "test_accuracy"}
    for prefix in sets:
        accuracies = history.get(keys[prefix])
        if accuracies:
            best, last = max(accuracies), accuracies[-10:]
            results |= {
                f"{prefix}_best_accuracy": best,
                f"{prefix}_gain_of_best": best - last[-1],
                f"{prefix}_median_accuracy": statistics.median(last),
            }
    return results


def measure_ood(
    inside: np.ndarray, outside: np.ndarray, *, prefix: str
) -> dict[str, float]:
    """Measures how confidences separate a set from the test set.

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


def measure_scores(
    inside: np.ndarray, outside: np.ndarray, *, prefix: str, raw: bool
) -> dict[str, float]:
    """Measures how scores other than the confidence separate a set.

    Args:
        inside: Logits `(N, K)` on the test set.
        outside: Logits `(R, K)` on a set that is not of its kind.
        prefix: Put before each name, e.g. `"mnist_"`.
        raw: As in `measure_outputs`.

    Returns:
        results: AUROC and FPR95 of each of `OTHER_SCORES`, as
            `mnist_auroc_energy`.
    """
    results = {}
    for name in OTHER_SCORES:
        if name in ood.NEED_LOGITS and not raw:
            continue
        scores = [
            np.asarray(ood.SCORES[name](logits, from_logits=True))
            for logits in (inside, outside)
        ]
        results[f"{prefix}auroc_{name}"] = ood.auroc(*scores)
        results[f"{prefix}fpr95_{name}"] = ood.fpr_at_95_tpr(*scores)
    return results


def measure_posterior(
    posterior: np.ndarray, probabilities: np.ndarray
) -> dict[str, float]:
    """Measures the distance of predictions to the truth, both `(N, K)`.

    Returns:
        results: `bayes_nll`, the cross-entropy of the best possible
            predictions; `bayes_kl`, what these predictions cost more, in
            nats, where a probability counts as at least float32's smallest,
            1e-38; `bayes_gap`, the mean distance of the confidence from the
            true probability of the predicted class.
    """
    tiny = np.finfo(np.float32).tiny
    truth = np.asarray(posterior, np.float64)
    wide = np.maximum(np.asarray(probabilities, np.float64), tiny)
    logs = np.log(np.maximum(truth, tiny))
    predicted = wide.argmax(axis=-1)[:, np.newaxis]
    gaps = np.take_along_axis(wide - truth, predicted, axis=-1)
    return {
        "bayes_nll": float(-(truth * logs).sum(axis=-1).mean()),
        "bayes_kl": float((truth * (logs - np.log(wide))).sum(-1).mean()),
        "bayes_gap": float(np.abs(gaps).mean()),
    }
