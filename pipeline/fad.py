"""`python -m pipeline.fad`: distances between data sets."""

from pipeline.cli.console import ending
from pipeline.cli.program import main_of

main = main_of("fad")

if __name__ == "__main__":
    ending.run(main)
