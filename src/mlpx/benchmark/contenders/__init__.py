"""The libraries that are compared, one module each, imported only when a contender is built."""
