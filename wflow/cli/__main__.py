"""`python -m wflow.cli`."""

from wflow.cli import main

main()
