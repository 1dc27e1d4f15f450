"""What is written: records, shards, ledgers, manifests; and read again."""
