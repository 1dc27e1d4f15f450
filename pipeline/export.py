"""`python -m pipeline.export`: a data set as NumPy arrays or a table of vectors."""

from pipeline.cli.console import ending
from pipeline.cli.program import main_of

main = main_of("export")

if __name__ == "__main__":
    ending.run(main)
