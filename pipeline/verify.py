"""`python -m pipeline.verify`: checks every record of a data set."""

from pipeline.cli.console import ending
from pipeline.cli.program import main_of

main = main_of("verify")

if __name__ == "__main__":
    ending.run(main)
