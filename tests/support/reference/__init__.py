"""The mathematics again, as plain loops in float64: nothing here imports mlpx."""
