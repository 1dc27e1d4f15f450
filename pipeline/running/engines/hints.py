"""Resource hints: what a job asks of an engine that chooses machines."""

from __future__ import annotations

from pipeline.running.engines.runners import DATAFLOW, Engine

MEMORY = "min_ram=4GB"
"""2.5 GB to prepare a checkpoint, decoders, Python and Beam.

The network needs it, but the whole graph says it: steps that ask for different things run in different processes, and
examples would cross from one to the other."""
GPU = "worker_accelerator"
"""Dataflow's option, of the service or as an experiment, that gives workers a GPU."""


def of(engine: Engine) -> tuple[str, ...]:
    """The engine -> what all steps of its jobs ask for, as values of Beam's `--resource_hint`; the user's own go first.

    None but on Dataflow, and there only where they do no harm. Hints switch its "right fitting" on, which FlexRS does
    not have and which is not to meet `worker_accelerator`
    (https://cloud.google.com/dataflow/docs/guides/right-fitting).
    """
    if engine.runner.lower() != DATAFLOW:
        return ()
    from apache_beam.options.pipeline_options import DebugOptions, GoogleCloudOptions, StandardOptions

    options = engine.options()
    google, standard = options.view_as(GoogleCloudOptions), options.view_as(StandardOptions)
    services = (google.dataflow_service_options or []) + (options.view_as(DebugOptions).experiments or [])
    if standard.resource_hints or google.flexrs_goal or any(GPU in service for service in services):
        return ()
    return (MEMORY,)


def announced(engine: Engine) -> str:
    """A line for the user about the hints of the engine's jobs, where it is an engine that takes any."""
    if engine.runner.lower() != DATAFLOW:
        return ""
    from apache_beam.options.pipeline_options import StandardOptions

    given = engine.options().view_as(StandardOptions).resource_hints
    hints = of(engine)
    if given:
        return f"Resource hints: {', '.join(given)}, as given."
    return f"Resource hints: {', '.join(hints)}." if hints else "Resource hints: none, because of FlexRS or a GPU."
