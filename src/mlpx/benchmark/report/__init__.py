"""What becomes of a benchmark's figures: documents, tables, charts and comparisons."""
