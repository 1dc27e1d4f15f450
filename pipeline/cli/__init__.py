"""Behind `pipeline.run` and the other commands: flags, messages, what is shown and how they end."""
