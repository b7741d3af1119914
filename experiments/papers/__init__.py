"""The papers' tables and claims, two modules a paper."""

from experiments.papers import calibration
from experiments.papers import calibration_claims
from experiments.papers import mixup
from experiments.papers import mixup_claims
from experiments.papers import overlaps
from experiments.papers import overlaps_claims
from experiments.papers import tables

TABLES: dict[str, tables.Table] = {
    **calibration.TABLES,
    **overlaps.TABLES,
    **mixup.TABLES,
}
CLAIMS = (
    *calibration_claims.CLAIMS,
    *overlaps_claims.CLAIMS,
    *mixup_claims.CLAIMS,
)
