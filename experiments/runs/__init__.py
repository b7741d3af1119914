"""One run: its configuration, training, checkpoints and results."""
