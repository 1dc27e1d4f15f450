"""`python -m pipeline.train`: records -> a classifier."""

from pipeline.cli.console import ending
from pipeline.cli.train import main

if __name__ == "__main__":
    ending.run(main)
