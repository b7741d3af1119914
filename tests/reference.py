"""What the papers say, in slow NumPy: one loop for each sum sign.

Shares no code with the library and imports neither TensorFlow nor Keras, so
that agreement means something. Shapes: B examples, K classes, M bins.
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


def average_calibration_error(labels, probabilities, num_bins, edges="right"):
    """ACE = mean over the bins with rows of |acc(B_m) - conf(B_m)|."""
    found = means(labels, probabilities, num_bins, edges)
    return sum(abs(acc - conf) for _, conf, acc in found) / len(found)


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
    """ECE over bins of equally many examples, sorted by confidence.

    Examples of equal confidence share their mean correctness.
    """
    size = len(confidence)
    confidence = [float(each) for each in confidence]
    shared = [
        sum(
            float(c)
            for c, other in zip(correct, confidence, strict=True)
            if other == each
        )
        / confidence.count(each)
        for each in confidence
    ]
    order = sorted(range(size), key=lambda row: confidence[row])
    total, start = 0.0, 0
    for place in range(num_bins):
        # The first size % M bins hold one example more.
        length = size // num_bins + (place < size % num_bins)
        rows = order[start : start + length]
        start += length
        gap = sum(confidence[row] - shared[row] for row in rows)
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


def quantile_calibration_error(targets, quantiles, levels, power):
    """The mean over levels of |share of y <= quantile, less level|^power."""
    total = 0.0
    for column, level in enumerate(levels):
        below = [
            target <= row[column]
            for target, row in zip(targets, quantiles, strict=True)
        ]
        total += abs(sum(below) / len(below) - level) ** power
    return total / len(levels)


def label_calibration_errors(labels, probabilities, num_bins, edges="right"):
    """Of each label the binary ECE, over the rows by their probability."""
    size, num_labels = np.shape(probabilities)
    errors = []
    for k in range(num_labels):
        gaps = [0.0] * num_bins
        for row in range(size):
            probability = probabilities[row][k]
            place = find_bin(probability, num_bins, edges)
            gaps[place] += float(probability) - float(labels[row][k])
        errors.append(sum(abs(gap) for gap in gaps) / size)
    return errors


def brier_score(labels, probabilities):
    """The mean over rows of the sum over k of (p_k - y_k)**2."""
    total = 0.0
    for label, row in zip(labels, probabilities, strict=True):
        for k, probability in enumerate(row):
            total += (float(probability) - mass(label, k)) ** 2
    return total / len(labels)


def brier_decomposition(confidence, correct):
    """Score, MCB, DSC and UNC of CORP, by pools of adjacent violators."""

    def score(forecasts):
        total = 0.0
        for forecast, y in zip(forecasts, correct, strict=True):
            total += (float(forecast) - float(y)) ** 2
        return total / len(correct)

    points, means = isotonic(confidence, correct)
    recalibrated = [means[points.index(float(each))] for each in confidence]
    own, best = score(confidence), score(recalibrated)
    base = score([sum(correct) / len(correct)] * len(correct))
    return own, own - best, base - best, base


def smooth_calibration_error(
    confidence, correct, bandwidth, kernel="reflected", points=20_001
):
    """Integral over t of |mean_i K(t, c_i) (y_i - c_i)|, by trapezoids.

    The reflected kernel is a sum over the images of c in mirrors at 0 and 1.
    """
    if kernel == "logit":
        images = [[math.log(c / (1 - c))] for c in map(float, confidence)]
        low, high = min(images)[0], max(images)[0]
        grid = np.linspace(low - 8 * bandwidth, high + 8 * bandwidth, points)
    else:
        images = [
            [2 * k + sign * float(c) for k in range(-2, 3) for sign in (-1, 1)]
            for c in confidence
        ]
        grid = np.linspace(0, 1, points)
    smoothed = np.zeros(points)
    for c, y, centers in zip(confidence, correct, images, strict=True):
        for center in centers:
            distance = (grid - center) / bandwidth
            density = np.exp(-(distance**2) / 2) / bandwidth
            smoothed += (float(y) - float(c)) * density
    smoothed = np.abs(smoothed) / math.sqrt(2 * math.pi) / len(correct)
    return np.trapezoid(smoothed, grid)


def negative_log_likelihood(labels, probabilities):
    """The mean over rows of -(sum over k of y_k log p_k), in nats."""
    total = 0.0
    for label, row in zip(labels, probabilities, strict=True):
        for k, probability in enumerate(row):
            if mass(label, k) > 0:
                total -= mass(label, k) * math.log(float(probability))
    return total / len(labels)


def gaussian_posterior(row, means):
    """p(k | x) of classes N(mean_k, I), equally frequent, by densities."""
    densities = [
        math.prod(
            math.exp(-((float(x) - float(m)) ** 2) / 2)
            for x, m in zip(row, mean, strict=True)
        )
        for mean in means
    ]
    return np.array(densities) / sum(densities)


def posterior_divergence(truth, predicted):
    """The mean over rows of (sum over k of p_k log(p_k / q_k)), in nats."""
    total = 0.0
    for true_row, row in zip(truth, predicted, strict=True):
        for p, q in zip(true_row, row, strict=True):
            if p > 0:
                total += float(p) * math.log(float(p) / float(q))
    return total / len(truth)


def posterior_gap(truth, predicted):
    """The mean over rows of |q_k - p_k| of the predicted class k."""
    total = 0.0
    for true_row, row in zip(truth, predicted, strict=True):
        k = int(np.argmax(row))
        total += abs(float(row[k]) - float(true_row[k]))
    return total / len(truth)


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


def similarity(inputs, partner, width):
    """exp((1 - d) / (2 width^2)): d is |x_i - x_j|^2 over its batch mean."""
    inputs = np.asarray(inputs, "float64").reshape(len(inputs), -1)
    distances = [
        sum((inputs[i][k] - inputs[j][k]) ** 2 for k in range(inputs.shape[1]))
        for i, j in enumerate(partner)
    ]
    mean = sum(distances) / len(distances)
    return np.array(
        [math.exp((1 - d / mean) / (2 * width**2)) for d in distances]
    )


def partner_probabilities(targets, bandwidth):
    """Row i: exp(-|y_i - y_j|^2 / (2 bandwidth^2)) over its sum over j."""
    targets = np.asarray(targets, "float64").reshape(len(targets), -1)
    table = np.zeros((len(targets), len(targets)))
    for i, own in enumerate(targets):
        for j, other in enumerate(targets):
            distance = sum(
                (a - b) ** 2 for a, b in zip(own, other, strict=True)
            )
            table[i, j] = math.exp(-distance / (2 * bandwidth**2))
        table[i] /= table[i].sum()
    return table


def decouple(mixed_1, mixed_2, lam_1, lam_2):
    """Solves m_1 = l_1 a + (1 - l_1) b, m_2 = l_2 a + (1 - l_2) b for a, b."""
    share_1 = (1 - lam_1) / (1 - lam_2)
    share_2 = lam_2 / lam_1
    a = (mixed_1 - share_1 * mixed_2) / (lam_1 - lam_2 * share_1)
    b = (mixed_2 - share_2 * mixed_1) / (1 - lam_2 - (1 - lam_1) * share_2)
    return a, b


def mit_loss(network, inputs, targets, partner, lam_1, lam_2):
    """The mean over pairs of (CE(z_a, y_a) + CE(z_b, y_b)) / 2."""
    total = 0.0
    for i, j in enumerate(partner):
        mixed = [
            network(share * inputs[i] + (1 - share) * inputs[j])
            for share in (lam_1[i], lam_2[i])
        ]
        a, b = decouple(*mixed, lam_1[i], lam_2[i])
        for target, logits in ((targets[i], a), (targets[j], b)):
            probabilities = softmax(logits[None])[0]
            total -= sum(
                y * math.log(p)
                for y, p in zip(target, probabilities, strict=True)
                if y
            )
    return total / (2 * len(partner))


def nearest_targets(targets, lam, partner):
    """The hard target of the nearer of both rows; at 1/2 the row's own."""
    chosen = []
    for i, j in enumerate(partner):
        share = float(np.broadcast_to(lam, len(partner))[i])
        chosen.append(targets[i] if share >= 0.5 else targets[j])
    return np.array(chosen)


def mix_points(values, lam, partner):
    """x = sum over k of lam_k x_(i_k), where i_0 is the row itself."""
    values = np.asarray(values, "float64")
    mixed = []
    for i, shares in enumerate(lam):
        total = float(shares[0]) * values[i]
        for share, j in zip(shares[1:], partner[i], strict=True):
            total = total + float(share) * values[j]
        mixed.append(total)
    return np.array(mixed)


def nearest_of_points(targets, lam, partner):
    """The hard target of the row with the largest coefficient."""
    chosen = []
    for i, shares in enumerate(lam):
        sources = [i, *partner[i]]
        chosen.append(targets[sources[list(shares).index(max(shares))]])
    return np.array(chosen)


def nearest_neighbors(rows, k, labels=None):
    """The k other rows (of the same class) at the least distances."""
    rows = np.asarray(rows, "float64").reshape(len(rows), -1)
    found = []
    for i, row in enumerate(rows):
        others = [
            (float(np.sqrt(((row - rows[j]) ** 2).sum())), j)
            for j in range(len(rows))
            if j != i and (labels is None or labels[j] == labels[i])
        ]
        found.append([j for _, j in sorted(others)[:k]])
    return np.array(found)


def cut_box(lam, height, width, row, column):
    """The box of CutMix around a centre: top, left, bottom, right."""
    half_height = int(height * math.sqrt(1 - lam)) // 2
    half_width = int(width * math.sqrt(1 - lam)) // 2
    return (
        max(row - half_height, 0),
        max(column - half_width, 0),
        min(row + half_height, height),
        min(column + half_width, width),
    )


def label_entropy(targets):
    """-(sum over k of y_k log y_k) of each row, in nats."""
    entropies = []
    for row in targets:
        entropies.append(-sum(y * math.log(y) for y in row if y > 0))
    return np.array(entropies)


def softmax(logits):
    """Probabilities of each row of logits."""
    rows = []
    for row in np.asarray(logits, "float64"):
        powers = [math.exp(value - max(row)) for value in row]
        rows.append([power / sum(powers) for power in powers])
    return np.array(rows)


def label_smoothing_crossentropy(targets, probabilities, epsilon, spread):
    """Cross-entropy of each row against smoothed targets."""
    losses = []
    for target, row in zip(targets, probabilities, strict=True):
        total = 0.0
        for mass, probability in zip(target, row, strict=True):
            if spread == "all":
                moved = epsilon / len(row)
            else:
                moved = epsilon * (1 - mass) / (len(row) - 1)
            total -= ((1 - epsilon) * mass + moved) * math.log(probability)
        losses.append(total)
    return np.array(losses)


def confidence_penalty_crossentropy(targets, probabilities, kappa):
    """Cross-entropy of each row minus kappa times its entropy."""
    losses = []
    for target, row in zip(targets, probabilities, strict=True):
        cross = -sum(t * math.log(p) for t, p in zip(target, row, strict=True))
        entropy = -sum(p * math.log(p) for p in row)
        losses.append(cross - kappa * entropy)
    return np.array(losses)


def isotonic(scores, targets):
    """Scores in order, and the mean target of the pool each one falls into.

    Pool adjacent violators: while a pool's mean is below the one before it,
    join them.
    """
    order = sorted({float(score) for score in scores})
    pools = []
    for score in order:
        same = [
            t for s, t in zip(scores, targets, strict=True) if float(s) == score
        ]
        pools.append([sum(same), len(same), 1])
        while len(pools) > 1 and (
            pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]
        ):
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    means = [total / rows for total, rows, size in pools for _ in range(size)]
    return order, means


def isotonic_scaling(held_out, labels, probabilities):
    """One isotonic curve a class, linear between its points; then row / sum."""
    columns = []
    for k in range(len(probabilities[0])):
        scores = [row[k] for row in held_out]
        targets = [mass(label, k) for label in labels]
        points, means = isotonic(scores, targets)
        columns.append(
            [np.interp(float(row[k]), points, means) for row in probabilities]
        )
    rows = []
    for row in np.transpose(columns):
        total = sum(row)
        rows.append([1 / len(row) if total == 0 else p / total for p in row])
    return np.array(rows)


def mean_larger_coefficient(alpha, points=100_000):
    """E[max(lam, 1 - lam)] for lam ~ Beta(alpha, alpha), a midpoint sum."""
    total = weight = 0.0
    for i in range(points):
        lam = (i + 0.5) / points
        density = (lam * (1 - lam)) ** (alpha - 1)
        total += density * max(lam, 1 - lam)
        weight += density
    return total / weight


def sentence_logits(vectors, filters, kernel, bias):
    """Logits (K,) of one sentence of word vectors (L, D), with zeros around.

    Filters are pairs of weights (W, D, M) and biases (M,): each map takes its
    largest rectified answer to any W neighbouring words.
    """
    edge = max(len(weights) for weights, _ in filters) - 1
    zeros = [[0.0] * len(vectors[0])] * edge
    words = np.array([*zeros, *np.asarray(vectors), *zeros], np.float64)
    largest = []
    for weights, biases in filters:
        for m in range(weights.shape[2]):
            answers = [
                (words[i : i + len(weights)] * weights[:, :, m]).sum()
                + biases[m]
                for i in range(len(words) - len(weights) + 1)
            ]
            largest.append(max(0.0, *answers))
    return np.array(largest) @ np.asarray(kernel, np.float64) + bias


def attack_linear(
    inputs, targets, kernel, bias, epsilon, steps=1, low=-1e9, high=1e9
):
    """I-FGSM on softmax(x W + b): steps along sign(sum_k W (p - t))."""
    moved = [[float(value) for value in row] for row in inputs]
    for row, start, target in zip(moved, inputs, targets, strict=True):
        for _ in range(steps):
            gradient = linear_gradient(row, target, kernel, bias)
            for i, slope in enumerate(gradient):
                value = row[i] + epsilon / steps * float(np.sign(slope))
                value = min(max(value, start[i] - epsilon), start[i] + epsilon)
                row[i] = min(max(value, low), high)
    return np.array(moved)


def linear_gradient(row, target, kernel, bias):
    """Cross-entropy of softmax(x W + b): sum over k of W_ik (p_k - t_k).

    With p_k - t_k = sum over j of (p_k t_j - t_k p_j), which does not round.
    """
    logits = [
        math.fsum(float(x) * float(w) for x, w in zip(row, column, strict=True))
        + float(offset)
        for column, offset in zip(np.transpose(kernel), bias, strict=True)
    ]
    powers = [math.exp(logit - max(logits)) for logit in logits]
    chances = [power / math.fsum(powers) for power in powers]
    classes = range(len(chances))
    slopes = [
        math.fsum(
            chances[k] * float(target[j]) - float(target[k]) * chances[j]
            for j in classes
            if j != k
        )
        for k in classes
    ]
    return [
        math.fsum(float(kernel[i][k]) * slopes[k] for k in classes)
        for i in range(len(row))
    ]


def spectrogram(wave, window=320, hop=160, frequencies=160):
    """Normalised log(1 + |DFT|), a row a frequency and a column a frame.

    Frames are centred, and the wave is mirrored at its ends.
    """
    half = window // 2
    wave = np.asarray(wave, np.float64)
    padded = [*wave[half:0:-1], *wave, *wave[-2 : -half - 2 : -1]]
    rows = np.zeros((frequencies, 1 + len(wave) // hop))
    for frame in range(rows.shape[1]):
        for frequency in range(frequencies):
            total = 0
            for n in range(window):
                angle = 2 * math.pi * n / window
                weight = 0.54 - 0.46 * math.cos(angle)
                turn = complex(
                    math.cos(frequency * angle), -math.sin(frequency * angle)
                )
                total += weight * padded[frame * hop + n] * turn
            rows[frequency, frame] = math.log(1 + abs(total))
    return (rows - rows.mean()) / rows.std()


def resize_bilinear(image, height, width):
    """Looks between the four pixels around each new pixel's centre."""

    def neighbors(old, new, index):
        place = (index + 0.5) * old / new - 0.5
        low = math.floor(place)
        share = place - low
        clip = [min(max(each, 0), old - 1) for each in (low, low + 1)]
        return zip(clip, (1 - share, share), strict=True)

    image = np.asarray(image, np.float64)
    resized = np.zeros((height, width, image.shape[2]))
    for row in range(height):
        for column in range(width):
            for i, a in neighbors(image.shape[0], height, row):
                for j, b in neighbors(image.shape[1], width, column):
                    resized[row, column] += a * b * image[i, j]
    return resized


def inception_window(height, width, sides, place):
    """Tries each pair of sides in turn, then the largest of usual aspect."""
    root = np.sqrt(np.float32(height * width))
    for tall, wide in sides:
        tall, wide = root * tall, root * wide
        if tall <= height and wide <= width:
            break
    else:
        tall, wide, place = height, width, (0.5, 0.5)
        if 3 * height > 4 * width:
            tall = width * 4 / 3
        if 3 * width > 4 * height:
            wide = height * 4 / 3
    tall, wide = max(int(np.round(tall)), 1), max(int(np.round(wide)), 1)
    top, left = (
        min(int(share * (whole - part + 1)), whole - part)
        for share, whole, part in zip(
            place, (height, width), (tall, wide), strict=True
        )
    )
    return top, left, tall, wide


def signed_gap(probabilities, labels):
    """Mean confidence minus accuracy, and the standard error of that mean.

    One more difference of 1 is counted among the squares.
    """
    differences = [
        max(row) - (int(np.argmax(row)) == label)
        for row, label in zip(probabilities, labels, strict=True)
    ]
    size = len(labels)
    error = math.sqrt(size * np.var(differences) + 1) / size
    return np.mean(differences), error


def class_gap(labels, probabilities, which):
    """Mean confidence minus accuracy of a class's rows, and its error."""
    gaps = []
    for label, row in zip(labels, probabilities, strict=True):
        if label == which:
            gaps.append(max(row) - float(int(np.argmax(row)) == label))
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    return mean, math.sqrt(len(gaps) * variance + 1) / len(gaps)


def camixup(labels, probabilities, num_classes, alpha):
    """Alpha of each class: 0 where accuracy is above confidence."""
    alphas = []
    for which in range(num_classes):
        rows = [
            r for r, y in zip(probabilities, labels, strict=True) if y == which
        ]
        accuracy = sum(int(np.argmax(row)) == which for row in rows) / len(rows)
        confidence = sum(max(row) for row in rows) / len(rows)
        alphas.append(0.0 if accuracy - confidence > 0 else alpha)
    return np.array(alphas)


def follow_gap(gap, standard_error, num_epochs):
    """The rule of docs/tuning.md for the change of log alpha."""
    if abs(gap) <= standard_error:
        return 0.0
    speed = np.clip(30 / num_epochs, 1, 3)
    return float(np.clip(speed * 6 * gap, -0.35 * speed, 0.35 * speed))


def risk_coverage(confidence, wrong):
    """Returns (coverage, risk) of each threshold, the highest first."""
    points = []
    for threshold in sorted(set(confidence), reverse=True):
        accepted = [
            w for c, w in zip(confidence, wrong, strict=True) if c >= threshold
        ]
        points.append(
            (len(accepted) / len(wrong), sum(accepted) / len(accepted))
        )
    return points


def aurc(confidence, wrong):
    """Returns the mean over k of the expected error rate of the k first.

    Of k examples those above the k-th largest confidence are all in; of those
    that tie with it any are, with the errors of all in proportion.
    """
    ordered = sorted(confidence, reverse=True)
    total = 0.0
    for k, least in enumerate(ordered, start=1):
        above = [w for c, w in zip(confidence, wrong, strict=True) if c > least]
        tied = [w for c, w in zip(confidence, wrong, strict=True) if c == least]
        share = (k - len(above)) / len(tied)
        total += (sum(above) + share * sum(tied)) / k
    return total / len(ordered)


def energy(logits, temperature=1.0):
    """T log sum exp(z / T) of each row, minus the energy of Liu et al."""
    return [
        temperature * np.log(sum(np.exp(z / temperature) for z in row))
        for row in logits
    ]


def negative_entropy(probabilities):
    """Sum over classes of p log p."""
    return [sum(p * np.log(p) for p in row if p > 0) for row in probabilities]


def nearest_distance(train, row, k):
    """The distance to the k-th nearest of normalized features."""
    unit = row / np.linalg.norm(row)
    distances = [np.linalg.norm(unit - t / np.linalg.norm(t)) for t in train]
    return sorted(distances)[k - 1]


def conformal_scores(probabilities, score, penalty=0.0, free_rank=0):
    """LAC, APS and RAPS of every class, an example and a class at a time."""
    found = np.zeros(np.shape(probabilities))
    for row, example in enumerate(np.asarray(probabilities, np.float64)):
        for k, own in enumerate(example):
            above = [each for each in example if each >= own]
            found[row, k] = 1 - own if score == "lac" else sum(above)
            if score == "raps":
                found[row, k] += penalty * max(len(above) - free_rank, 0)
    return found


def conformal_quantile(scores, coverage):
    """The ceil((n + 1) coverage)-th smallest; infinite if there are fewer."""
    place = -(-(len(scores) + 1) * round(1000 * coverage) // 1000)
    return sorted(scores)[place - 1] if place <= len(scores) else np.inf
