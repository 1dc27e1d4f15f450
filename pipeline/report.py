"""`python -m pipeline.report`: a data set as a page for people."""

from pipeline.cli.console import ending
from pipeline.cli.program import main_of

main = main_of("report")

if __name__ == "__main__":
    ending.run(main)
