"""Behind `pipeline.extract`: processes that decode audio and compute its examples, and their pool."""
