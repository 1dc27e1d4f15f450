"""A training's report: `metrics.json`, with every class, and a plot of their average precision."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.formatting import plain
from pipeline.training.data import Classes
from pipeline.training.metrics import Ranking
from pipeline.training.saved_model import ModelError

METRICS = "metrics.json"
PLOT = "per_class_ap.png"


def write_metrics(folder: Path, classes: Classes, ranking: Ranking, ran: Mapping[str, Any]) -> None:
    """Metrics -> `metrics.json` in a model's folder.

    Args:
      folder: exists already.
      classes: in the order of the ranking.
      ranking: of the eval records.
      ran: what else `metrics.json` tells of the training.
    """
    report = {**ranking.summary(), **ran, "per_class": _per_class(classes, ranking)}
    content = json.dumps(_finite(report), indent=2, ensure_ascii=False) + "\n"
    storage.write_atomic(str(folder / METRICS), content.encode("utf-8", "surrogateescape"))


def read_metrics(folder: Path) -> dict[str, Any]:
    """A model's folder -> the content of its `metrics.json`; ModelError where it is none."""
    path = folder / METRICS
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        if not {"mAP", "AUC", "d_prime", "per_class"} <= set(content):
            raise ValueError("keys are missing")
        return content
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path} holds no metrics ({error}). Train again") from None


def write_plot(folder: Path, classes: Classes, ranking: Ranking) -> None:
    """Metrics -> the picture in a model's folder."""
    storage.write_atomic(str(folder / PLOT), plot(classes, ranking))


def plot(classes: Classes, ranking: Ranking) -> bytes:
    """Metrics -> a PNG of every class' average precision, best first, with the names of the best and worst."""
    from matplotlib.figure import Figure

    known = np.flatnonzero(~np.isnan(ranking.average_precision))
    order = known[np.argsort(-ranking.average_precision[known], kind="stable")]
    shown = order if len(order) <= 40 else np.concatenate([order[:20], order[-20:]])
    figure = Figure(figsize=(11, max(4.0, 0.22 * len(shown))), layout="constrained")
    curve, bars = figure.subplots(1, 2, width_ratios=(1, 1.2))
    curve.plot(np.arange(1, len(order) + 1), ranking.average_precision[order])
    curve.axhline(ranking.mean_ap, color="tab:gray", linestyle="--", label=f"mAP {ranking.mean_ap:.3f}")
    curve.set(xlabel="classes, best first", ylabel="average precision", ylim=(0, 1))
    curve.legend()
    bars.barh(np.arange(len(shown))[::-1], ranking.average_precision[shown])
    names = [plain(f"{classes.names[c]} ({ranking.positives[c]})") for c in shown]
    bars.set_yticks(np.arange(len(shown))[::-1], names, fontsize=7)
    title = "all classes" if len(shown) == len(order) else "20 best and 20 worst"
    bars.set(xlabel="average precision", xlim=(0, 1), title=f"{title} (clips that carry it)")
    bars.margins(y=0.01)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _per_class(classes: Classes, ranking: Ranking) -> list[dict[str, Any]]:
    columns = zip(
        classes.indices, classes.mids, classes.names, ranking.positives.tolist(), ranking.average_precision.tolist(),
        ranking.auc.tolist(), ranking.d_prime.tolist(), strict=True,
    )  # fmt: skip
    names = ("index", "mid", "display_name", "positives", "AP", "AUC", "d_prime")
    return [dict(zip(names, column, strict=True)) for column in columns]


def _finite(value: Any) -> Any:
    """A value for JSON, which knows no NaN or infinity: those become null."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
