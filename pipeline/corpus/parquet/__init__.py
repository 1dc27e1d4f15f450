"""Parquet files with an audio column -> clips: which columns, ids and labels."""
