"""Beam's client of S3, with an error of ours where S3 does not answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apache_beam.io.aws.clients.s3 import boto3_client, messages
from apache_beam.utils.retry import PermanentException


class UnansweredError(PermanentException, ConnectionError):
    """S3 did not answer: ours to try again. Beam would do it for ten minutes before it says so."""


class Client(boto3_client.Client):
    """Beam's client, with that error for what has no HTTP status."""

    def list(self, request: Any) -> Any:
        return _answered(super().list, request)

    def get_object_metadata(self, request: Any) -> Any:
        return _answered(super().get_object_metadata, request)


def _answered(call: Callable[[Any], Any], request: Any) -> Any:
    try:
        return call(request)
    except messages.S3ClientError as error:
        if error.code is None:
            raise UnansweredError(error.message) from error
        raise
