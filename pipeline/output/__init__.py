"""Records, shards, ledgers and manifests: written, committed and read again."""
