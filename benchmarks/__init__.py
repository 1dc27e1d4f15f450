"""References and the speed table."""
