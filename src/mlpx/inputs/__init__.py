"""Checks of user input, done once: x, targets, weights and data frames become arrays."""
