"""Training of one run: the loop, the trainer with its hooks, evaluation and metrics."""
