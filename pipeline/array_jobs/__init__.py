"""Behind `--task I/N`: which shards a task has, what tasks agree on and hold, a task and the end of all."""
