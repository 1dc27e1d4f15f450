"""`python -m pipeline.reshard`: a finished data set in another number of shards."""

from pipeline.cli.console import ending
from pipeline.cli.program import main_of

main = main_of("reshard")

if __name__ == "__main__":
    ending.run(main)
