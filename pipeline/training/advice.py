"""What a training's own numbers say against it -> a line for the user; "" where they say nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.formatting import number_of

FAR = 0.15
"""Between validation and evaluation, in mAP: more than few held-out clips alone explain."""


def shared_ids(trained: Sequence[str], unseen: Sequence[str]) -> str:
    """Ids of the records to learn from, and of those to measure with -> which of them are both."""
    known = set(trained)
    shared = [each for each in unseen if each in known]
    if not shared:
        return ""
    return (
        f"warning: {len(shared):,} of {number_of(len(unseen), 'eval record')} have ids that --train has as well "
        f"({shared[0]}): what the model has learned by heart counts as right"
    )


def far_apart(history: Sequence[dict[str, Any]], measured: float) -> str:
    """A training's epochs and the mAP of its evaluation -> why validation and evaluation may be far apart, if they are.

    Epochs whose held-out clips have no label have a validation mAP that is not a number.
    """
    validated = max((line["validation_mAP"] for line in history if line["validation_mAP"] >= 0), default=math.nan)
    if not abs(validated - measured) > FAR:
        return ""
    if validated > measured:
        why = "clips of one recording or place may be on both sides of --validation, or --eval is of another kind"
    else:
        why = "few clips may be held out (--validation), or --eval has fewer or easier classes"
    return f"note: mAP {validated:.3f} in validation, {measured:.3f} in evaluation: {why}"
