"""Example audio and scripts to start from."""
