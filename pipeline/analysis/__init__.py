"""Statistics of finished data sets: moments that Beam merges, Fréchet and kernel audio distances between sets."""
