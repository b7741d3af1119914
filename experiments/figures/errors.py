"""Figure 3b of mixup (1710.09412): the error after each epoch."""

from collections.abc import Mapping
from collections.abc import Sequence

from experiments.figures import common
from experiments.papers import calibration_claims as paper

# The paper's figure 3b, test errors in percent: DenseNet-190 on CIFAR-10,
# alpha 1. Digitized, and linear between the points that were; the learning
# rate falls after epochs 100 and 150.
PRINTED_EPOCHS = (
    *(10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 99, 102),
    *(105, 110, 120, 130, 140, 148, 152, 155, 160, 170, 180, 190, 199),
)
PRINTED: Mapping[str, Sequence[float]] = {
    paper.NO_MIXUP.name: (
        *(15.43, 13.27, 10.93, 9.88, 10.60, 9.15, 8.89, 8.56, 8.19),
        *(8.64, 7.49, 7.84, 6.42, 4.41, 4.02, 3.90, 3.86, 3.82),
        *(3.77, 3.75, 3.76, 3.76, 3.73, 3.80, 3.80, 3.80),
    ),
    paper.MIXUP.name: (
        *(18.14, 14.13, 13.30, 10.25, 9.32, 8.48, 7.94, 7.38, 6.74),
        *(6.47, 6.81, 6.49, 5.87, 3.83, 3.42, 3.36, 3.24, 3.38),
        *(3.26, 3.18, 2.99, 2.89, 2.80, 2.85, 2.81, 2.72),
    ),
}


def draw(setting: common.Setting) -> common.Figures:
    """Draws errors by epoch, those of CIFAR-10 beside the paper's."""
    methods = setting.find(paper.NO_MIXUP, paper.MIXUP)
    if methods:
        printed = setting.records[0].config.dataset == "cifar10"
        yield "errors", draw_errors(methods, setting.title, printed=printed)


def draw_errors(
    methods: Sequence[common.Method], title: str, *, printed: bool
) -> common.Figure:
    """Draws errors by epoch: means and bands of one deviation.

    They are of the test set where all runs measured it, else of the validation
    set.
    """
    figure = common.new_figure(7.2 if printed else 4.4, 3.8)
    count = common.count_seeds(method.records for method in methods)
    axes, *others = figure.subplots(1, 1 + printed, squeeze=False)[0]
    tested = all(
        record.config.test_each_epoch
        for method in methods
        for record in method.records
    )
    name, result = ("test", "test") if tested else ("validation", "val")
    axes.set_title(
        f"{title}\n{name} set, mean and deviation over {count}",
        fontsize="medium",
    )
    for method in methods:
        errors = 100 * (1 - method.history(f"{result}_accuracy"))
        common.draw_history(axes, method, errors)
    for beside in others:
        beside.set_title(
            "CIFAR-10, DenseNet-190, in the paper\ntest set", fontsize="medium"
        )
        for name, curve in PRINTED.items():
            beside.plot(PRINTED_EPOCHS, curve, **common.style_of(name))
        beside.set_yticks(range(0, 21, 5))
    for each in (axes, *others):
        each.margins(x=0)
        each.set_xlim(left=0)
        each.set(xlabel="epoch", ylabel="error (%)")
        each.grid(**common.GRID)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure
