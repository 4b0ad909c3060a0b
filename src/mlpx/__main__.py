"""`python -m mlpx`: the command line, where the script is not installed."""

from mlpx.cli import main

main()
