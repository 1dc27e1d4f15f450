"""A URI -> Beam's file system for it, with the options, credentials and clients that this process uses.

Beam makes a client for every call: 0.4 s of a core for S3's, a connection each for GCS's. Here a process has one for
S3, whose clients may be shared, and a thread one for GCS. Beam looks for Google's credentials five times and goes on
without any; here it is said at once that there are none. Decoder processes are handed the options.
"""

from __future__ import annotations

import copy
import errno
import importlib
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.storage.errors import CredentialsError

_lock = threading.Lock()
_local = threading.local()
_s3: dict[str, Any] = {}
_LIBRARIES = {
    "gs": ("google.cloud.storage", "apache_beam.io.gcp.gcsfilesystem"),
    "s3": ("boto3", "apache_beam.io.aws.s3filesystem"),
}


def set_flags(flags: Sequence[str]) -> None:
    """Beam's flags of the command -> what this process' file systems go by, before there is a pipeline."""
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

    given = PipelineOptions(list(flags))
    FileSystems.set_options(given)
    if given.view_as(GoogleCloudOptions).no_auth:
        from apache_beam.internal.gcp import auth

        auth._Credentials._credentials_init = True  # some calls of Beam's look for credentials nevertheless


def options() -> Any:
    """Beam's options in this process: those of the command or pipeline, or empty ones.

    S3 needs some, and other file systems would look for theirs in this process's command line.
    """
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.options.value_provider import RuntimeValueProvider

    if FileSystems._pipeline_options is None:
        FileSystems.set_options(PipelineOptions.from_dictionary(RuntimeValueProvider.runtime_options or {}))
    return FileSystems._pipeline_options


def handed_on() -> dict[str, Any]:
    """What of this process' options is about stores, for a process that it starts; `adopt` takes it there."""
    if "apache_beam.io.filesystems" not in sys.modules:
        return {}
    from apache_beam.options import pipeline_options as beam_options

    kinds = (beam_options.GoogleCloudOptions, beam_options.S3Options, beam_options.AzureOptions)
    views = [options().view_as(kind).get_all_options(drop_default=True, current_only=True) for kind in kinds]
    return {name: value for view in views for name, value in view.items()}


def adopt(uri: str, handed: Mapping[str, Any]) -> None:
    """A URI, and what `handed_on` gave in the process that started this one: imports what opening the URI needs."""
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    if FileSystems._pipeline_options is None:
        FileSystems.set_options(PipelineOptions([], **handed))
    for library in _LIBRARIES.get(uri.partition("://")[0], ()):
        importlib.import_module(library)


def gcs(uri: str) -> Any:
    """Beam's calls of Google Cloud Storage, with this thread's client. Raises StorageError without credentials."""
    from apache_beam.io.gcp import gcsio

    here = options()
    if getattr(_local, "gcs_of", None) is not here:
        _local.gcs, _local.gcs_of = _gcs_client(uri, here), here
    return gcsio.GcsIO(storage_client=_local.gcs, pipeline_options=here)


def _gcs_client(uri: str, here: Any) -> Any:
    from apache_beam.internal.gcp import auth
    from apache_beam.io.gcp import gcsio
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    google = here.view_as(GoogleCloudOptions)
    if google.no_auth:
        return gcsio.create_storage_client(here, use_credentials=False)
    with _lock:
        if not auth._Credentials._credentials_init:
            _expect_credentials(uri, google.gcp_oauth_scopes)
    return gcsio.create_storage_client(here)


def _expect_credentials(uri: str, scopes: Sequence[str]) -> None:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        google.auth.default(scopes=scopes)
    except DefaultCredentialsError as error:
        raise CredentialsError(
            uri,
            "there are no Google credentials",
            "Sign in with `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS, or read what is"
            " public with --gcs_anonymous",
            errno.EACCES,
        ) from error


def s3(uri: str) -> Any:
    """Beam's calls of S3, with this process' client; what that remembers of a download is the caller's own.

    Raises:
      StorageError: there are no credentials.
    """
    from apache_beam.io.aws import s3io

    here = options()
    with _lock:
        if _s3.get("of") is not here:
            _s3.update(of=here, client=_s3_client(uri, here))
        return s3io.S3IO(client=copy.copy(_s3["client"]))


def _s3_client(uri: str, here: Any) -> Any:
    import boto3
    from apache_beam.options.pipeline_options import S3Options

    from pipeline.storage.s3_client import Client

    if not here.view_as(S3Options).s3_access_key_id and boto3.Session().get_credentials() is None:
        raise CredentialsError(  # Beam would take it for a server's fault, and try again for ten minutes
            uri,
            "there are no S3 credentials",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or whatever else boto3 finds",
            errno.EACCES,
        )
    return Client(options=here)
