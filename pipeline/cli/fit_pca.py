"""Raw embeddings -> PCA parameters for `--pca_params`: a whitening PCA fitted in Beam, in the released layout.

    python -m pipeline.run --embeddings raw --checkpoint my_model.ckpt --input 'audio/**' --output raw
    python -m pipeline.fit_pca --input 'raw/*.tfrecord' --output my_pca.npz

For fine-tuned models, and for other domains than that of the released parameters.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence

import numpy as np

from pipeline import storage
from pipeline.cli.command import ProgramParser, add_incomplete, run_command
from pipeline.cli.flags import check_beam_flags
from pipeline.errors import FlagError
from pipeline.extras import needs
from pipeline.output import provenance
from pipeline.output.matching import Incomplete, matching
from pipeline.running.engines import places, runners
from pipeline.training.pca import DegenerateWarning, fit, pca_params, plot, write_params


def _check_raw(pattern: str, incomplete: Incomplete) -> provenance.Provenance:
    """The records' provenance; FlagError unless they are raw embeddings."""
    made = provenance.of(pattern, incomplete)
    kind = made.settings["embeddings"]
    if kind != "raw":
        raise FlagError(f"--input {pattern}: embeddings are {kind}", "Give what pipeline.run --embeddings raw wrote")
    return made


def _parser() -> ProgramParser:
    parser = ProgramParser("pipeline.fit_pca", __doc__)
    parser.add_argument("--input", required=True, metavar="PATTERN", help="TFRecord files of raw embeddings")
    parser.add_argument("--output", required=True, metavar="FILE", help="the .npz for --pca_params")
    parser.add_argument("--no_plot", action="store_true", help="leave out the .png of the explained variance")
    parser.add_argument("--runner", default="DirectRunner", metavar="NAME", help="Beam's (default: %(default)s)")
    add_incomplete(parser)
    return parser


def _main(argv: Sequence[str]) -> None:
    flags, rest = _parser().parse_known_args(argv)
    if not flags.output.endswith(".npz"):
        raise FlagError(f"--output {flags.output} does not end in .npz", f"Write {flags.output}.npz")
    if not flags.no_plot:
        needs("train", "matplotlib", for_="the plot, which --no_plot leaves out,")
    check_beam_flags(rest)
    made = _check_raw(flags.input, flags.incomplete)
    matched = matching(flags.input, flags.incomplete)
    engine = runners.choose(flags.runner, rest)
    places.look(engine, [("--input", flags.input), ("--output", flags.output)], shared=True)
    moments = fit(matched, engine, storage.parent(storage.absolute(flags.output)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DegenerateWarning)
        vectors, means, eigenvalues = pca_params(moments)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    write_params(flags.output, vectors, means)
    stem = flags.output.removesuffix(".npz")
    about = {
        "embeddings": moments.count,
        "fitted_to": made.to_json(),
        "eigenvalues": eigenvalues.tolist(),
        "warnings": [str(warning.message) for warning in caught],
    }
    storage.write_atomic(f"{stem}.json", json.dumps(about, indent=2).encode() + b"\n")
    if not flags.no_plot:
        storage.write_atomic(f"{stem}.png", plot(eigenvalues))
    share = np.cumsum(eigenvalues)[[15, 63]] / eigenvalues.sum()
    print(f"{moments.count:,} embeddings; 16 components hold {share[0]:.1%} of the variance, 64 hold {share[1]:.1%}")
    print(f"{flags.output}: give it to pipeline.run as --pca_params")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run_command(_main, argv)
