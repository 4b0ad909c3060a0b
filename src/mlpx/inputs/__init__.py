"""What users hand over, checked once and made into arrays: x, targets, weights, data frames."""
