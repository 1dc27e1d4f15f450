"""A pipeline as runners see it: its stages after Beam's own lowering and fusion, and the sizes of encoded elements.

Flink's portable batch translator and Prism run impulses, flattens, group-by-keys, reshuffles and executable stages;
everything else (state, timers, side inputs, splittable DoFns) some engine runs differently or not at all. `faults` says
what of a graph is not so. Not a test itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import apache_beam as beam
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2 as protos
from apache_beam.runners.pipeline_context import PipelineContext
from apache_beam.runners.portability.fn_api_runner import translations
from apache_beam.transforms import core, util
from apache_beam.typehints import typehints

from pipeline.decoding.extract import ExtractDoFn
from pipeline.running.coders import LocalCoder, PlainCoder, Travelling, TravellingCoder
from pipeline.running.steps import EmbedDoFn
from pipeline.types import DecodeRequest, Failure, Removal, RowsRef, ShardEntry, StagedShard, UnitRef

MAX_ELEMENT_BYTES = 64_000
"""Of what crosses a shuffle."""
CROSSING = {bytes, Travelling}
"""Declared types of what crosses a shuffle."""
SMALL = {Failure, Removal, RowsRef, ShardEntry}
REFERENCES = {bytes, UnitRef, DecodeRequest, *SMALL}
GROUPED = {StagedShard, *SMALL}
OURS = (TravellingCoder, LocalCoder, PlainCoder)
"""Coders that Beam's model knows only as Python's own: what they write is JSON, and arrays as they lie in memory."""
KINDS = {
    common_urns.primitives.IMPULSE.urn: "impulse",
    common_urns.primitives.FLATTEN.urn: "flatten",
    common_urns.primitives.GROUP_BY_KEY.urn: "group by key",
    common_urns.composites.RESHUFFLE.urn: "reshuffle",
    common_urns.executable_stage: "stage",
}
"""Transforms that runners have to know; the first four are theirs, as `PortableRunner` assumes."""
KEY_CODERS = {
    coder.urn for coder in (common_urns.coders.VARINT, common_urns.coders.BYTES, common_urns.coders.STRING_UTF8)
}
"""One value, one encoding, in every language: runners compare the bytes of keys."""


@dataclass(frozen=True)
class Stage:
    """A stage that a runner runs as one.

    Attributes:
      kind: a value of `KINDS`, or the URN of something else.
      steps: their full names; of a stage, those that are fused.
      payload: of an executable stage.
      inputs, outputs: ids of PCollections.
    """

    kind: str
    steps: tuple[str, ...]
    payload: protos.ExecutableStagePayload | None = field(repr=False)
    inputs: frozenset[str] = field(repr=False)
    outputs: frozenset[str] = field(repr=False)


@dataclass(frozen=True)
class Lowered:
    """A lowered graph: its stages in topological order, and Beam's proto of it."""

    stages: list[Stage]
    proto: protos.Pipeline

    def outline(self) -> list[tuple[str, tuple[str, ...]]]:
        """(kind, steps) of each stage, for comparison."""
        return [(stage.kind, stage.steps) for stage in self.stages]


def lower(pipeline: beam.Pipeline | protos.Pipeline) -> Lowered:
    """A constructed pipeline, or its proto -> what is left after Beam's standard phases, fusion among them."""
    known = frozenset(urn for urn in KINDS if urn != common_urns.executable_stage)
    phases = translations.standard_optimize_phases()
    before = pipeline.to_runner_api() if isinstance(pipeline, beam.Pipeline) else pipeline
    proto = translations.optimize_pipeline(before, phases, known, partial=False)
    leaves = [t for t in proto.components.transforms.values() if not t.subtransforms]
    return Lowered(_sorted([_stage(transform) for transform in leaves]), proto)


def _stage(transform: protos.PTransform) -> Stage:
    kind = KINDS.get(transform.spec.urn, transform.spec.urn)
    payload, steps = None, [transform.unique_name]
    if kind == "stage":
        payload = protos.ExecutableStagePayload.FromString(transform.spec.payload)
        inner = payload.components.transforms
        steps = [inner[f"transform_{number}"].unique_name for number in range(len(inner))]
    return Stage(
        kind, tuple(steps), payload, frozenset(transform.inputs.values()), frozenset(transform.outputs.values())
    )


def _sorted(stages: list[Stage]) -> list[Stage]:
    """In topological order."""
    result: list[Stage] = []
    while waiting := [stage for stage in stages if stage not in result]:
        made = {pcollection for stage in result for pcollection in stage.outputs}
        ready = [stage for stage in waiting if stage.inputs <= made]
        assert ready, f"inputs that nothing makes: {waiting}"
        result += ready
    return result


def faults(pipeline: beam.Pipeline) -> list[str]:
    """A constructed pipeline -> what of it some runner would not run, or would run at a great cost; nothing if good."""
    lowered = lower(pipeline)
    return [
        *_unportable(lowered),
        *_environments(pipeline.to_runner_api()),
        *_order(lowered, _steps_of(pipeline)),
        *_key_coders(lowered),
        *pickled(lowered),
        *_types(pipeline),
        *_wrapped(pipeline),
    ]


def _unportable(lowered: Lowered) -> Iterator[str]:
    for stage in lowered.stages:
        if stage.kind not in KINDS.values():
            yield f"{stage.steps[0]} is left as {stage.kind}"
        if (payload := stage.payload) is None:
            continue
        if payload.side_inputs:
            yield f"a side input in {stage.steps}"
        if payload.user_states or payload.timers:
            yield f"state or timers in {stage.steps}"
        for transform in payload.components.transforms.values():
            if transform.spec.urn != common_urns.primitives.PAR_DO.urn:
                yield f"{transform.unique_name} is no plain ParDo: {transform.spec.urn}"
            elif protos.ParDoPayload.FromString(transform.spec.payload).restriction_coder_id:
                yield f"{transform.unique_name} is splittable"


def _environments(proto: protos.Pipeline) -> Iterator[str]:
    """One for everything: what two run is two processes' work, with a model each, and examples cross between."""
    used = {t.environment_id for t in proto.components.transforms.values() if not t.subtransforms} - {""}
    if len(used) != 1:
        yield f"{len(used)} environments, with hints " + ", ".join(
            str(dict(proto.components.environments[name].resource_hints)) for name in sorted(used)
        )


def _order(lowered: Lowered, steps: dict[type, str]) -> Iterator[str]:
    kinds = [stage.kind for stage in lowered.stages]
    shuffled = ["stage", "reshuffle"] * 3
    wanted = ["impulse", *shuffled, "stage", "group by key", "stage", "group by key", "stage"]
    if kinds != wanted:
        yield f"{kinds}, not {wanted}"
    extract, embed = (
        next(number for number, stage in enumerate(lowered.stages) if steps[do_fn] in stage.steps)
        for do_fn in (ExtractDoFn, EmbedDoFn)
    )
    if extract != embed:
        yield f"examples cross from {lowered.stages[extract]} to {lowered.stages[embed]}"
    if "reshuffle" not in kinds[:extract] or "group by key" in kinds[:embed]:
        yield f"the network's stage is not between the shuffles: {kinds}, stage {embed}"


def _steps_of(pipeline: beam.Pipeline) -> dict[type, str]:
    """Class of a DoFn -> the full name of its step."""
    return {type(node.transform.fn): node.full_label for node in _nodes(pipeline) if hasattr(node.transform, "fn")}


def _key_coders(lowered: Lowered) -> Iterator[str]:
    components = lowered.proto.components
    for stage in lowered.stages:
        if stage.kind == "group by key":
            (pcollection,) = stage.inputs
            kv = components.coders[components.pcollections[pcollection].coder_id]
            key = components.coders[kv.component_coder_ids[0]]
            if key.spec.urn == common_urns.coders.LENGTH_PREFIX.urn:  # as lowering makes them
                key = components.coders[key.component_coder_ids[0]]
            if key.spec.urn not in KEY_CODERS:
                yield f"keys of {stage.steps[0]} are encoded as {key.spec.urn}"


def pickled(lowered: Lowered) -> Iterator[str]:
    """PCollections, outside of stages and within, whose elements would be pickled."""
    for components in (lowered.proto.components, *(s.payload.components for s in lowered.stages if s.payload)):
        context = PipelineContext(components)
        for pcollection in components.pcollections.values():
            for coder in _parts(components.coders, pcollection.coder_id):
                if components.coders[coder].spec.urn == python_urns.PICKLED_CODER and not isinstance(
                    context.coders.get_by_id(coder), OURS
                ):
                    yield f"{pcollection.unique_name} is pickled by {context.coders.get_by_id(coder)}"


def _parts(every: Any, coder: str) -> Iterator[str]:
    """A coder's id -> its own and those of all its components."""
    yield coder
    for part in every[coder].component_coder_ids:
        yield from _parts(every, part)


def _types(pipeline: beam.Pipeline) -> Iterator[str]:
    """Declared types of what crosses a shuffle."""
    for node in _nodes(pipeline):
        crossing = node.inputs[0].element_type if node.inputs else None
        if isinstance(node.transform, beam.Reshuffle):
            pass
        elif isinstance(node.transform, beam.GroupByKey) and not isinstance(
            node.parent.transform, util.ReshufflePerKey
        ):
            crossing = crossing.tuple_types[1]
        else:
            continue
        found = set(crossing.union_types if isinstance(crossing, typehints.UnionConstraint) else [crossing])
        if not found <= CROSSING:
            yield f"{node.full_label} is given {found - CROSSING}"


def _wrapped(pipeline: beam.Pipeline) -> Iterator[str]:
    """`with_exception_handling` turns Prism off in Beam's own choice of a runner, and its dead letters are elements."""
    for node in _nodes(pipeline):
        if isinstance(node.transform, core._ExceptionHandlingWrapper):
            yield f"{node.full_label} handles exceptions by Beam's wrapper"


def _nodes(pipeline: beam.Pipeline) -> list[AppliedPTransform]:
    found: list[AppliedPTransform] = []

    class Visitor(PipelineVisitor):
        def enter_composite_transform(self, transform_node: AppliedPTransform) -> None:
            found.append(transform_node)

        def visit_transform(self, transform_node: AppliedPTransform) -> None:
            found.append(transform_node)

    pipeline.visit(Visitor())
    return found


Sizes = dict[type, list[int]]
"""Type of an element -> bytes of each that was encoded."""


@contextmanager
def encoded_sizes(sizes: Sizes | None = None) -> Iterator[Sizes]:
    """`with encoded_sizes() as sizes:` fills with what runs within, in this process, encode by the graph's own coders.

    Args:
      sizes: what is filled; None: a new one.

    Steps that are fused hand elements over as they are: what is encoded is what leaves a worker, for a shuffle. Of some
    elements a runner asks how large they are: a coder that has to encode them for that is not measured then.
    """
    filled = defaultdict(list) if sizes is None else sizes

    def measured(encode: Callable[[Any, Any], bytes]) -> Callable[[Any, Any], bytes]:
        def wrapper(self: Any, value: Any) -> bytes:
            encoded = encode(self, value)
            filled[type(value)].append(len(encoded))
            return encoded

        return wrapper

    with (
        mock.patch.object(TravellingCoder, "encode", measured(TravellingCoder.encode)),
        mock.patch.object(LocalCoder, "encode", measured(LocalCoder.encode)),
        mock.patch.object(TravellingCoder, "estimate_size", return_value=0),
    ):
        yield filled


def oversized(sizes: Sizes) -> list[str]:
    """Elements encoded during a run -> those that may not cross a shuffle; nothing if good."""
    allowed = REFERENCES | GROUPED
    return [
        *(f"{cls.__name__} crossed a shuffle" for cls in sizes if cls not in allowed),
        *(f"{cls.__name__}: {max(of)} bytes" for cls, of in sizes.items() if max(of) > MAX_ELEMENT_BYTES),
    ]
