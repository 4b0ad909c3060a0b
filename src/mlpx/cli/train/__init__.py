"""`mlpx train`."""
