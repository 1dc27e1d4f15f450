"""`python -m pipeline.verify`: checks every record of a data set."""

from pipeline.cli.console import ending
from pipeline.cli.verify import main

if __name__ == "__main__":
    ending.run(main)
