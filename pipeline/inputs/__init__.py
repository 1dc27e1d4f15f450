"""Behind `pipeline.sources` and `pipeline.plan`: lists and tables of clips, ids, labels; what is left to do."""
