"""Examples -> embeddings, in full batches, one model per process."""
