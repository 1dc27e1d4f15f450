"""Ranking metrics of multi-label scores: average precision, area under the ROC curve and d-prime, class by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri


@dataclass(frozen=True, eq=False)
class Ranking:
    """How well scores rank records, class by class; NaN where a class has no positive (or no negative) record.

    Attributes:
      average_precision: float64 [c].
      auc: float64 [c].
      positives: int64 [c], records that carry the class.
    """

    average_precision: np.ndarray
    auc: np.ndarray
    positives: np.ndarray

    @property
    def d_prime(self) -> np.ndarray:
        """d' of every class, float64 [c]."""
        return d_prime(self.auc)

    @property
    def mean_ap(self) -> float:
        """mAP: the mean over the classes that have a positive record; NaN where none has."""
        return _mean(self.average_precision)

    @property
    def mean_auc(self) -> float:
        """The mean over the classes that have positive and negative records; NaN where none has."""
        return _mean(self.auc)

    def summary(self) -> dict[str, Any]:
        """Averages for a report; d' is that of the mean AUC, as in the AudioSet publications (a mean is finite)."""
        return {
            "mAP": self.mean_ap,
            "AUC": self.mean_auc,
            "d_prime": float(d_prime(self.mean_auc)),
            "classes": len(self.positives),
            "classes_without_positives": int((self.positives == 0).sum()),
        }


def rank(scores: np.ndarray, labels: np.ndarray) -> Ranking:
    """Scores float [n, c] and labels bool [n, c] -> the metrics of each class.

    Equal scores share one threshold, so that the order of records does not matter: average precision is the sum over
    thresholds of precision times the recall gained (as scikit-learn's `average_precision_score`), and the area is the
    probability that a positive record scores above a negative one, ties counting one half.

    Raises:
      ValueError: shapes that differ, or scores that are not finite.
    """
    scores, labels = np.asarray(scores), np.asarray(labels, bool)
    if scores.shape != labels.shape or scores.ndim != 2:
        raise ValueError(f"scores {list(scores.shape)} and labels {list(labels.shape)} are not both [records, classes]")
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} scores are NaN or infinite")
    columns = [_rank_class(scores[:, c], labels[:, c]) for c in range(scores.shape[1])]
    pairs = np.array(columns, np.float64).reshape(-1, 2)
    return Ranking(pairs[:, 0], pairs[:, 1], labels.sum(axis=0, dtype=np.int64))


def d_prime(auc: np.ndarray | float) -> np.ndarray:
    """Area under the ROC curve -> d', the distance in standard deviations of two normal distributions of that area.

    d' = sqrt(2) * Phi^-1(AUC); infinite at 0 and 1.
    """
    return np.sqrt(2.0) * ndtri(auc)


def _rank_class(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives:
        return float("nan"), float("nan")
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    last_of_score = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
    hits = np.cumsum(labels[order])[last_of_score]
    chosen = last_of_score + 1
    gained = np.diff(hits, prepend=0)
    average_precision = float(np.sum(gained * hits / chosen) / positives)
    if not negatives:
        return average_precision, float("nan")
    false_alarms = chosen - hits
    wrong = np.diff(false_alarms, prepend=0)
    # A threshold's negatives lie below the positives of the thresholds before it, and tie with its own.
    auc = float(np.sum(wrong * (hits - gained / 2)) / (positives * negatives))
    return average_precision, auc


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
