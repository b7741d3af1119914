"""Figures of the calibration paper, from the runs of its tables."""
