"""Figures of the papers, from the runs of their tables."""
