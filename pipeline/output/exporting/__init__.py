"""Data sets -> what other tools open: arrays, Parquet, databases of perch-hoplite, TensorFlow Datasets."""
