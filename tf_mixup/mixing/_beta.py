"""Beta and Dirichlet of TensorFlow Probability, drawn by few operations.

An iterator of `tf.data` prepares the graphs of its functions anew, and `fit`
starts an iterator for each epoch. The graph by which TensorFlow Probability
draws takes longer to prepare than a small epoch takes to train. These are its
distributions; only their way of drawing differs. The law is the same.
"""

import functools
from typing import Any

import tensorflow as tf

# From the seed of one draw to that of another, farther than seeds are apart.
_FAR = 0x2545F4914F6CDD1D
# Least uniform number: that of 0 has no logarithm.
_LEAST = 1e-37


def beta(concentration: Any) -> Any:
    """Returns the `tfp.distributions.Beta` of two equal concentrations.

    Args:
        concentration: Float above 0, a scalar, or a vector of one for each
            draw.
    """
    return _classes()[0](concentration, concentration)


def dirichlet(concentration: Any, num_points: int) -> Any:
    """Returns the `tfp.distributions.Dirichlet` of equal concentrations.

    Args:
        concentration: Float scalar above 0.
        num_points: Parts of a whole, P.
    """
    return _classes()[1](tf.fill([num_points], concentration))


@functools.cache
def _classes() -> tuple[type, type]:
    # Late: it takes as long to import as half of TensorFlow.
    import tensorflow_probability as tfp

    class Beta(tfp.distributions.Beta):
        def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
            shape: Any = [2, n]
            if self.concentration1.shape.rank:
                shape = tf.concat([shape, tf.shape(self.concentration1)], 0)
            one, other = tf.unstack(
                _log_gammas(self.concentration1, shape, seed)
            )
            return tf.sigmoid(one - other)

    class Dirichlet(tfp.distributions.Dirichlet):
        def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
            shape = [n, self.concentration.shape[0]]
            return tf.nn.softmax(_log_gammas(self.concentration, shape, seed))

    return Beta, Dirichlet


def _log_gammas(
    concentration: tf.Tensor, shape: Any, seed: tf.Tensor
) -> tf.Tensor:
    """Draws logarithms of Gamma(a), which itself underflows for a small a.

    G(a) is distributed as G(a + 1) * U ** (1 / a).

    References:
        Marsaglia and Tsang. A Simple Method for Generating Gamma Variables.
        ACM Transactions on Mathematical Software 26, 2000, section 6.
    """
    seed = tf.cast(seed, tf.int64)
    larger = tf.random.stateless_gamma(shape, seed, concentration + 1)
    uniform = tf.random.stateless_uniform(shape, seed + _FAR, minval=_LEAST)
    return tf.math.log(larger) + tf.math.log(uniform) / concentration
