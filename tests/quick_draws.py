"""Draws of the same law whose graph is small, for stages in fast tests.

Half the time of the first batch of a stage goes into the functions of
TensorFlow Probability's Beta. `mixing.draw_lam` itself is left as it is; slow
tests and tests with the fixture `tfp_draws` use it in stages, too.
"""

import tensorflow as tf

from tf_mixup.mixing import plans


def draw_lam(
    alpha: tf.Tensor, size: int, *, seed: tf.Tensor, num_points: int = 2
) -> tf.Tensor:
    """As `plans.draw_lam`; log G(a) = log G(a + 1) + log(u) / a."""
    alpha = tf.convert_to_tensor(alpha, tf.float32)
    positive = tf.where(alpha > 0, alpha, 1.0)
    shape = tf.stack([num_points, size])
    seed = tf.convert_to_tensor(seed)
    gammas = tf.random.stateless_gamma(shape, seed + 1, positive + 1)
    uniforms = tf.random.stateless_uniform(shape, seed, minval=1e-38)
    logs = tf.math.log(gammas) + tf.math.log(uniforms) / positive
    lam = tf.transpose(tf.nn.softmax(logs, axis=0))
    lam = lam[:, 0] if num_points == 2 else lam
    return tf.where(alpha > 0, lam, plans.own_share(num_points))


def install() -> None:
    """Makes stages of this process draw quickly."""
    plans.draw_lam = draw_lam
