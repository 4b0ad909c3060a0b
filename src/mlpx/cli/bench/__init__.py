"""`mlpx bench`."""
