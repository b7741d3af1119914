"""Results of runs: records over seeds, claims, and measures after training."""
