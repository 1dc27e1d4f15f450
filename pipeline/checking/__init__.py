"""Behind `pipeline.verify`: what must hold for records and outputs, here or on an engine's workers."""
