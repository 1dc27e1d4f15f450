"""`python -m pipeline.duplicates`: what a data set has twice, or shares with another."""

from pipeline.cli.console import ending
from pipeline.cli.program import main_of

main = main_of("similar.duplicates")

if __name__ == "__main__":
    ending.run(main)
