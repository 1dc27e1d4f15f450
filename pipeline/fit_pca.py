"""`python -m pipeline.fit_pca`: raw embeddings -> PCA parameters."""

from pipeline.cli.console import ending
from pipeline.cli.fit_pca import main

if __name__ == "__main__":
    ending.run(main)
