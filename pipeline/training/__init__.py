"""Behind `pipeline.dataset`, `train`, `predict` and `fit_pca`: data, networks, measures, where records come from."""
