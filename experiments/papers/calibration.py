"""On Mixup Training (Thulasidasan et al. 2019): its tables as `Config`s.

At small scale a narrow network learns 5,000 images by heart, without
augmentation, in two minutes on one CPU core: without mixup it is certain of
all it has seen, and overconfident on what it has not.
"""

from experiments import config as config_lib

ALPHAS = (0.0, 0.1, 0.2, 0.4, 1.0)
SEEDS = 5
# Two sets that are not of the training set's kind, beside noise.
_OOD = {
    "fashion_mnist": ("../ood/mnist_test.npz",),
    "cifar10": ("../ood/cifar100_test_subset1000.npz",),
}


def alpha_sweep_small(seeds: int = SEEDS) -> list[config_lib.Config]:
    """Returns the sweep over alpha at small scale, seed by seed.

    Args:
        seeds: How many seeds.

    Returns:
        configs: Complete for the first seeds if the sweep is cut short.
    """
    return [
        config_lib.Config(
            dataset=dataset,
            network="resnet_narrow",
            method="mixup" if alpha else "erm",
            alpha=alpha,
            epochs=30,
            schedule="cosine",
            warmup_epochs=1,
            weight_decay=5e-4,
            augmentation="none",
            num_train=5000,
            num_validation=2000,
            ood=_OOD[dataset],
            seed=seed,
        )
        for seed in range(seeds)
        for alpha in ALPHAS
        for dataset in _OOD
    ]


# Name of a `--table` -> its runs.
TABLES = {"alpha_sweep_small": alpha_sweep_small}
