"""A file's embeddings as an array, with `vggish_core` alone: no Beam, no records. Five lines for a notebook.

    python -m examples.embed_in_a_notebook "demo/audio/tones/chirp.wav" standin

The second argument is the checkpoint: `standin` to try it, a file, or nothing for Google's.
"""

import sys

from vggish_core import Embedder, wavfile_to_examples
from vggish_core.weights import resolve

embedder = Embedder(resolve(sys.argv[2] if len(sys.argv) > 2 else "released", "checkpoint").path)  # once: 5 s
embeddings = embedder.embed(wavfile_to_examples(sys.argv[1]))  # float32 [k, 128], one row for each 0.96 s

print(f"{embeddings.shape[0]} embeddings of {embeddings.shape[1]} values, {embeddings.dtype}")
