"""Behind `pipeline.embed` and `pipeline.embed_audio`: models, accelerators, whole clips."""
