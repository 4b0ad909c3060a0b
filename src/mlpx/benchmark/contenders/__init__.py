"""The libraries compared with, one module each. None is imported before its contender is built."""
