"""The number of shards of a finished data set, changed without embedding anything."""
