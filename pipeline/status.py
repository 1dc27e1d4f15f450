"""`python -m pipeline.status`: how far an output is."""

from pipeline.cli.console import ending
from pipeline.cli.status import main

if __name__ == "__main__":
    ending.run(main)
