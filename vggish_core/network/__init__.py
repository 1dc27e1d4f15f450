"""Log-mel examples -> embeddings: VGGish, by TensorFlow or by kernels of our own, and its postprocessing."""
