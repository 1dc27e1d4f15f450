"""Examples -> embeddings, in full batches, one model a process."""
