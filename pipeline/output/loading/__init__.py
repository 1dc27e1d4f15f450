"""Records as people use them: data sets of TensorFlow, vectors of clips, Parquet."""
