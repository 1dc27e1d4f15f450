"""`python -m pipeline.predict`: audio or records -> the classes that a model hears."""

from pipeline.cli.console import ending
from pipeline.cli.program import main_of

main = main_of("predict")

if __name__ == "__main__":
    ending.run(main)
