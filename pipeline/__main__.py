"""`python -m pipeline`: every program of the package under one name."""

from pipeline.cli.program import program

if __name__ == "__main__":
    program()
