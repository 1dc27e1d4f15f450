"""Behind `pipeline.storage`: local files, what Beam opens, object stores; patterns, compressed wrappers, errors."""
