"""Flags, messages, progress and exit codes: every program's `main`."""
