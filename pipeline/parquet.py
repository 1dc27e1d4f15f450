"""`python -m pipeline.parquet`: records <-> Parquet."""

from pipeline.cli.console import ending
from pipeline.cli.parquet import main

if __name__ == "__main__":
    ending.run(main)
