"""What records are for: classifiers and PCAs, their training, measures and predictions."""
