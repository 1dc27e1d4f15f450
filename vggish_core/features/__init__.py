"""Waveforms -> log-mel examples: resampling, short-time Fourier transform, mel bands, framing."""
