"""The model's files: where they are, where they come from, and random ones to try things out."""

from vggish_core.weights.lookup import (
    HOME_VARIABLE,
    RELEASED,
    RELEASED_URL,
    URL_VARIABLE,
    Kind,
    ReleasedFile,
    Weights,
    WeightsError,
    resolve,
)

__all__ = [
    "HOME_VARIABLE",
    "RELEASED",
    "RELEASED_URL",
    "URL_VARIABLE",
    "Kind",
    "ReleasedFile",
    "Weights",
    "WeightsError",
    "resolve",
]
