"""Programs that tell what is alike: search, duplicates."""
