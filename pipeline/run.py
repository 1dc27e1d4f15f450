"""`python -m pipeline.run`: audio -> a data set of embeddings."""

from pipeline.cli.run import main, program

__all__ = ["main", "program"]

if __name__ == "__main__":
    program()
