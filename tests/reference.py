"""What the papers say, in slow NumPy: one loop for each sum sign.

Shares no code with the library and imports neither TensorFlow nor Keras, so
that agreement means something. Letters: B rows, K classes, M bins.
"""

import math

import numpy as np


def bin_predictions(labels, probabilities, num_bins, edges="right"):
    """Returns count, sum of confidence, sum of correct; one number a bin."""
    count = [0.0] * num_bins
    confidence = [0.0] * num_bins
    correct = [0.0] * num_bins
    for label, row in zip(labels, np.asarray(probabilities), strict=True):
        predicted = int(np.argmax(row))
        place = find_bin(row[predicted], num_bins, edges)
        count[place] += 1
        confidence[place] += float(row[predicted])
        correct[place] += mass(label, predicted)
    return np.array(count), np.array(confidence), np.array(correct)


def find_bin(confidence, num_bins, edges="right"):
    """Returns m: the bin ((m) / M, (m + 1) / M], or closed on the left."""
    for place in range(num_bins - 1):
        upper = np.float32((place + 1) / num_bins)
        if edges == "right" and np.float32(confidence) <= upper:
            return place
        if edges == "left" and np.float32(confidence) < upper:
            return place
    return num_bins - 1


def mass(label, which):
    """Returns the target's mass on a class; a class id is a hard target."""
    if np.ndim(label) == 0:
        return float(label == which)
    return float(label[which])


def expected_calibration_error(labels, probabilities, num_bins, edges="right"):
    """ECE = sum over m of |B_m| / n * |acc(B_m) - conf(B_m)|."""
    total = 0.0
    for share, conf, acc in means(labels, probabilities, num_bins, edges):
        total += share * abs(acc - conf)
    return total


def overconfidence_error(labels, probabilities, num_bins, edges="right"):
    """OE = sum of |B_m| / n * conf(B_m) * max(conf(B_m) - acc(B_m), 0)."""
    total = 0.0
    for share, conf, acc in means(labels, probabilities, num_bins, edges):
        total += share * conf * max(conf - acc, 0.0)
    return total


def maximum_calibration_error(labels, probabilities, num_bins, edges="right"):
    """MCE = max over m of |acc(B_m) - conf(B_m)|."""
    largest = 0.0
    for _, conf, acc in means(labels, probabilities, num_bins, edges):
        largest = max(largest, abs(acc - conf))
    return largest


def means(labels, probabilities, num_bins, edges="right"):
    """Returns (|B_m| / n, conf(B_m), acc(B_m)) of the bins with rows."""
    table = bin_predictions(labels, probabilities, num_bins, edges)
    return [
        (count / len(labels), confidence / count, correct / count)
        for count, confidence, correct in zip(*table, strict=True)
        if count > 0
    ]


def adaptive_calibration_error(confidence, correct, num_bins):
    """ECE over bins of equally many rows, sorted by confidence."""
    size = len(confidence)
    order = sorted(range(size), key=lambda row: float(confidence[row]))
    total, start = 0.0, 0
    for place in range(num_bins):
        # The first size % M bins hold one row more.
        length = size // num_bins + (place < size % num_bins)
        rows = order[start : start + length]
        start += length
        gap = sum(float(confidence[row]) - float(correct[row]) for row in rows)
        total += abs(gap) / size
    return total


def classwise_calibration_error(labels, probabilities, num_bins):
    """The mean over classes of the ECE of each class's own probability."""
    size, num_classes = np.shape(probabilities)
    total = 0.0
    for k in range(num_classes):
        gaps = [0.0] * num_bins
        for label, row in zip(labels, probabilities, strict=True):
            place = find_bin(row[k], num_bins)
            gaps[place] += float(row[k]) - mass(label, k)
        total += sum(abs(gap) for gap in gaps) / size / num_classes
    return total


def brier_score(labels, probabilities):
    """The mean over rows of the sum over k of (p_k - y_k)**2."""
    total = 0.0
    for label, row in zip(labels, probabilities, strict=True):
        for k, probability in enumerate(row):
            total += (float(probability) - mass(label, k)) ** 2
    return total / len(labels)


def negative_log_likelihood(labels, probabilities):
    """The mean over rows of -(sum over k of y_k log p_k), in nats."""
    total = 0.0
    for label, row in zip(labels, probabilities, strict=True):
        for k, probability in enumerate(row):
            if mass(label, k) > 0:
                total -= mass(label, k) * math.log(float(probability))
    return total / len(labels)


def mix(inputs, targets, lam, partner):
    """x = lam x_i + (1 - lam) x_j and y = lam y_i + (1 - lam) y_j."""
    inputs = np.asarray(inputs, "float64")
    targets = np.asarray(targets, "float64")
    mixed_inputs, mixed_targets = [], []
    for i, j in enumerate(partner):
        share = float(np.broadcast_to(lam, len(partner))[i])
        mixed_inputs.append(share * inputs[i] + (1 - share) * inputs[j])
        mixed_targets.append(share * targets[i] + (1 - share) * targets[j])
    return np.array(mixed_inputs), np.array(mixed_targets)


def nearest_targets(targets, lam, partner):
    """The hard target of the nearer of both rows; at 1/2 the row's own."""
    chosen = []
    for i, j in enumerate(partner):
        share = float(np.broadcast_to(lam, len(partner))[i])
        chosen.append(targets[i] if share >= 0.5 else targets[j])
    return np.array(chosen)


def label_entropy(targets):
    """-(sum over k of y_k log y_k) of each row, in nats."""
    entropies = []
    for row in targets:
        entropies.append(-sum(y * math.log(y) for y in row if y > 0))
    return np.array(entropies)
