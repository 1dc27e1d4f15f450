"""Code for this processor, generated through LLVM and kept on disk: vectors, tiles of matrix products."""
