"""Row files: what is finished and not yet in a shard, written, read again and merged."""
