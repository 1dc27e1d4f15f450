"""`python -m pipeline.search`: sounds like a given one."""

from pipeline.cli.console import ending
from pipeline.cli.program import main_of

main = main_of("similar.search")

if __name__ == "__main__":
    ending.run(main)
