"""Beam's flags about stores -> what their file systems are made with, here and in processes that this one starts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

Options = Mapping[str, Mapping[str, Any]]
"""By scheme: the keyword arguments of `gcs.GoogleStore`, of `s3fs.S3FileSystem` and of adlfs's file system."""

_given: Options | None = None


def set_flags(flags: Sequence[str]) -> None:
    """Beam's flags of the command -> what this process's stores go by."""
    if not flags:  # without Beam, which work that is done already does not need
        return adopt({})
    from apache_beam.options.pipeline_options import PipelineOptions

    return adopt(_of(PipelineOptions(list(flags))))


def adopt(handed: Options | None) -> None:
    """Goes by what `current` gave in the process that started this one; None: by what Beam's worker got."""
    global _given
    _given = handed


def current() -> Options:
    """The options of this process's stores: from the command's flags, a Beam worker's pipeline options, or none."""
    provider = sys.modules.get("apache_beam.options.value_provider")
    if _given is None and provider is not None and provider.RuntimeValueProvider.runtime_options:
        from apache_beam.options.pipeline_options import PipelineOptions

        adopt(_of(PipelineOptions.from_dictionary(provider.RuntimeValueProvider.runtime_options)))
    return _given or {}


def _of(given: Any) -> Options:
    from apache_beam.options import pipeline_options as beam_options

    google = given.view_as(beam_options.GoogleCloudOptions)
    amazon = given.view_as(beam_options.S3Options)
    client = {"region_name": amazon.s3_region_name, "api_version": amazon.s3_api_version, "verify": amazon.s3_verify}
    azure = given.view_as(beam_options.AzureOptions).azure_connection_string
    return {
        "gs": {
            "anonymous": bool(google.no_auth),
            "scopes": tuple(google.gcp_oauth_scopes),
            "impersonate": google.impersonate_service_account,
        },
        "s3": _set(
            key=amazon.s3_access_key_id,
            secret=amazon.s3_secret_access_key,
            token=amazon.s3_session_token,
            endpoint_url=amazon.s3_endpoint_url,
            use_ssl=not amazon.s3_disable_ssl,
            client_kwargs=_set(**client),
        ),
        "abfs": _set(connection_string=azure),
    }


def _set(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
