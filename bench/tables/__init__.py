"""Accuracy and time on real tables, beside the peers."""
