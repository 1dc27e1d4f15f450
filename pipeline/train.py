"""`python -m pipeline.train`: records -> a classifier."""

from pipeline.cli.console import ending
from pipeline.cli.program import main_of

main = main_of("train")

if __name__ == "__main__":
    ending.run(main)
