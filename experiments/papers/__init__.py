"""The papers' defaults, tables and claims."""

from experiments.papers import calibration
from experiments.papers import calibration_claims
from experiments.papers import mixup
from experiments.papers import mixup_claims
from experiments.papers import overlaps
from experiments.papers import overlaps_claims
from experiments.papers import tables
from experiments.papers import tuning
from experiments.papers import tuning_claims

# Of the tables and claims that are of no paper.
OWN = tuning.PAPER
TITLES = {
    tuning.PAPER: "Tuning alpha while training (this project)",
    calibration.PAPER: "On Mixup Training (arXiv 1905.11001)",
    mixup.PAPER: "mixup: Beyond Empirical Risk Minimization (arXiv 1710.09412)",
    overlaps.PAPER: "Limitations of Temperature Scaling (arXiv 2306.00740)",
    "Wang et al.": "On the Pitfall of Mixup (Wang et al., CVPR 2023)",
}
# Papers whose text was not at hand: their section, figure and table numbers
# come from those who cite them.
UNCHECKED = (calibration.PAPER, overlaps.PAPER)
TABLES: dict[str, tables.Table] = {
    **calibration.TABLES,
    **overlaps.TABLES,
    **mixup.TABLES,
    **tuning.TABLES,
}
CLAIMS = (
    *calibration_claims.CLAIMS,
    *overlaps_claims.CLAIMS,
    *mixup_claims.CLAIMS,
    *tuning_claims.CLAIMS,
)
