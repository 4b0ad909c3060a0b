"""Tables as they really are: columns of numbers, categories and dates, with gaps."""
