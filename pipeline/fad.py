"""`python -m pipeline.fad`: distances between data sets."""

from pipeline.cli.console import ending
from pipeline.cli.fad import main

if __name__ == "__main__":
    ending.run(main)
