"""The training of one run: loop, trainer, evaluation and metrics."""
