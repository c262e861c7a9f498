"""Pruning: what is lost, and how long it takes."""
