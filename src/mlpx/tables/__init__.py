"""Tables as they are: columns of numbers, categories and dates, with missing values."""
