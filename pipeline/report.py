"""`python -m pipeline.report`: a data set as a page for people."""

from pipeline.cli.console import ending
from pipeline.cli.report import main

if __name__ == "__main__":
    ending.run(main)
