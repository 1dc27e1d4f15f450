"""Requests -> examples, in separate processes, so that a crash, a hang or a lack of memory costs one file."""
