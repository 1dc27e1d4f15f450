"""What a finished output has beside its records for other readers: Parquet files, and the card of a data set hub."""
