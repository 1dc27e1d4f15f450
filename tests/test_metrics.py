"""Ranking metrics against scikit-learn, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.training.metrics import d_prime, rank


@settings(max_examples=40, deadline=None)
@given(
    scores=arrays(np.float32, (30, 3), elements=st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9, 1.0])),
    labels=arrays(bool, (30, 3)),
)
def test_equals_scikit_learn_also_for_tied_scores(scores: np.ndarray, labels: np.ndarray) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    labels[0], labels[1] = True, False  # both metrics exist
    found = rank(scores, labels)
    for c in range(3):
        expected = sklearn.average_precision_score(labels[:, c], scores[:, c])
        assert found.average_precision[c] == pytest.approx(expected, abs=1e-12)
        assert found.auc[c] == pytest.approx(sklearn.roc_auc_score(labels[:, c], scores[:, c]), abs=1e-12)
    assert found.mean_ap == pytest.approx(sklearn.average_precision_score(labels, scores, average="macro"), abs=1e-12)


def test_equals_scikit_learn_on_many_records() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    labels = rng.random((5000, 4)) < [0.5, 0.1, 0.01, 0.001]
    labels[0] = True
    scores = rng.random((5000, 4)).astype(np.float32) + 0.3 * labels
    found = rank(scores, labels)
    assert found.average_precision == pytest.approx(
        sklearn.average_precision_score(labels, scores, average=None), abs=1e-12
    )
    assert found.auc == pytest.approx(sklearn.roc_auc_score(labels, scores, average=None), abs=1e-12)


def test_by_hand() -> None:
    found = rank(np.array([[0.9], [0.8], [0.7], [0.6]]), np.array([[1], [0], [1], [0]], bool))
    assert found.average_precision[0] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert found.auc[0] == pytest.approx(3 / 4)
    assert found.positives.tolist() == [2]


def test_d_prime_of_known_areas() -> None:
    assert d_prime(0.5) == pytest.approx(0.0)
    # Pairs published for AudioSet: Gemmeke et al. 2017 (0.959, 2.452), Kong et al. 2020 (0.973, 2.732). AUC is rounded.
    assert d_prime(0.959) == pytest.approx(2.452, abs=0.012)
    assert d_prime(0.973) == pytest.approx(2.732, abs=0.012)


def test_classes_without_positives_are_left_out_and_counted() -> None:
    found = rank(np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[1, 0], [0, 0]], bool))
    assert np.isnan(found.average_precision[1])
    assert np.isnan(found.auc[1])
    assert found.summary()["mAP"] == 1.0
    assert found.summary()["classes_without_positives"] == 1


def test_refuses_what_cannot_be_ranked() -> None:
    with pytest.raises(ValueError, match=r"\[2, 1\]"):
        rank(np.zeros((2, 1)), np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match="1 scores are NaN"):
        rank(np.array([[np.nan], [1.0]]), np.zeros((2, 1), bool))
