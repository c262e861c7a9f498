"""Concave penalties: what they recover that the Lasso does not, and how fast."""
