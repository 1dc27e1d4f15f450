"""Every constant of VGGish once, with its unit and source. Imports nothing.

Names in capitals that the original code has keep its spelling. Sources: [O] `vggish_params.py` of the original code
(tensorflow/models, research/audioset/vggish); [D] derived here from values of [O]; [A] the layout of the released
AudioSet records.
"""

from __future__ import annotations

# The waveform.
SAMPLE_RATE = 16000
"""Hz; what every waveform is resampled to. [O]"""
MIN_SAMPLE_RATE = 1_000
"""Hz; the lowest rate that is read. Ours: below it nothing of the mel range is left."""
MAX_SAMPLE_RATE = 1_600_000
"""Hz; the highest rate that is read. Ours: bats are recorded at 500 kHz, DSD128 is decoded to 705.6 kHz and DSD256 to
twice that."""

# Short-time Fourier transform.
STFT_WINDOW_LENGTH_SECONDS = 0.025
"""Seconds; length of the periodic Hann window. [O]"""
STFT_HOP_LENGTH_SECONDS = 0.010
"""Seconds from one frame's start to the next. [O]"""
STFT_WINDOW_SAMPLES = 400
"""Samples: round(SAMPLE_RATE * STFT_WINDOW_LENGTH_SECONDS). [D]"""
STFT_HOP_SAMPLES = 160
"""Samples: round(SAMPLE_RATE * STFT_HOP_LENGTH_SECONDS). [D]"""
FFT_LENGTH = 512
"""Samples: the smallest power of two that holds the window. [D]"""
NUM_SPECTROGRAM_BINS = 257
"""Bins of a real transform of FFT_LENGTH samples, from 0 Hz to half the sample rate. [D]"""

# Log-mel spectrogram.
NUM_BANDS = 64
"""Mel bands: the width of an example. [O]"""
NUM_MEL_BINS = NUM_BANDS
"""Mel bands. [O]"""
MEL_MIN_HZ = 125
"""Hz; lower edge of the first band. [O]"""
MEL_MAX_HZ = 7500
"""Hz; upper edge of the last band. [O]"""
LOG_OFFSET = 0.01
"""Added to the mel magnitudes before the logarithm. [O]"""
MEL_BREAK_FREQUENCY_HZ = 700.0
"""Hz; of the mel scale 1127 ln(1 + f / 700). [O, mel_features.py]"""
MEL_HIGH_FREQUENCY_Q = 1127.0
"""Mels; of the mel scale 1127 ln(1 + f / 700). [O, mel_features.py]"""

# Examples.
NUM_FRAMES = 96
"""Frames in an example: its height. [O]"""
EXAMPLE_WINDOW_SECONDS = 0.96
"""Seconds of frames in an example. [O]"""
EXAMPLE_HOP_SECONDS = 0.96
"""Seconds from one example's start to the next; the default. [O]"""
EXAMPLE_HOP_FRAMES = 96
"""Frames from one example's start to the next; the default. [D]"""
EXAMPLE_SAMPLES = 15600
"""Samples at SAMPLE_RATE that one example looks at: 95 hops and one window, 0.975 s. [D]"""

# Network.
EMBEDDING_SIZE = 128
"""Values in an embedding. [O]"""
INIT_STDDEV = 0.01
"""Standard deviation of the truncated normal that weights start from. [O]"""
LEARNING_RATE = 1e-4
"""Of the Adam optimizer. [O]"""
ADAM_EPSILON = 1e-8
"""Of the Adam optimizer. [O]"""
INPUT_OP_NAME = "vggish/input_features"
"""Placeholder float32 [k, 96, 64]. [O]"""
INPUT_TENSOR_NAME = INPUT_OP_NAME + ":0"
"""Placeholder float32 [k, 96, 64]. [O]"""
OUTPUT_OP_NAME = "vggish/embedding"
"""Raw embeddings float32 [k, 128]. [O]"""
OUTPUT_TENSOR_NAME = OUTPUT_OP_NAME + ":0"
"""Raw embeddings float32 [k, 128]. [O]"""

# Postprocessing.
PCA_EIGEN_VECTORS_NAME = "pca_eigen_vectors"
"""Name in the parameter file of the matrix [128, 128], one whitened eigenvector a row. [O]"""
PCA_MEANS_NAME = "pca_means"
"""Name in the parameter file of the means [128] or [128, 1]. [O]"""
QUANTIZE_MIN_VAL = -2.0
"""Lower bound of the values that 8 bits stand for. [O]"""
QUANTIZE_MAX_VAL = +2.0
"""Upper bound of the values that 8 bits stand for. [O]"""

# Records.
AUDIO_EMBEDDING_FEATURE_NAME = "audio_embedding"
"""Name of the feature list that holds the embeddings. [O, A]"""
