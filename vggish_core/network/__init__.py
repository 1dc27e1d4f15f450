"""Log-mel examples -> embeddings: VGGish, by TensorFlow or by our own kernels, and its postprocessing."""
