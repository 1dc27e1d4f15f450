"""Classifiers and PCAs from records: training, metrics and predictions."""
