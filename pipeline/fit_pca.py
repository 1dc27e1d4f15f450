"""`python -m pipeline.fit_pca`: raw embeddings -> PCA parameters."""

from pipeline.cli.console import ending
from pipeline.cli.program import main_of

main = main_of("fit_pca")

if __name__ == "__main__":
    ending.run(main)
