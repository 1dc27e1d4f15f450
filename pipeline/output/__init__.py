"""Behind `pipeline.records` and `pipeline.shards`: encodings, names of files, ledgers, commits, locks, resuming."""
