"""What is to be read: patterns, manifests and segment lists -> clips; the plan."""
