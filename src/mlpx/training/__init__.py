"""Training: `fit`, the run it starts, its callbacks, history and run folder."""
