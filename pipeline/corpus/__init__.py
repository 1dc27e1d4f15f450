"""Patterns, manifests and segment lists -> clips, and the plan that embeds them."""
