"""Whoever is at work on an output beside its lock: jobs of engines, and how far the work is."""
