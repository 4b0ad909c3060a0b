"""Training: `fit.fit`, the run it starts, and what watches and records a run."""
