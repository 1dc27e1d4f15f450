"""`python -m pipeline.parquet`: records <-> Parquet."""

from pipeline.cli.console import ending
from pipeline.cli.program import main_of

main = main_of("parquet")

if __name__ == "__main__":
    ending.run(main)
