"""The protocol-buffer class of `tf.train.SequenceExample`, without TensorFlow, whose import costs seconds.

Same fields, numbers and therefore bytes as TensorFlow's `tensorflow/core/example/{feature,example}.proto`.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from pipeline.output.tfrecord import RecordError

_PACKAGE = "vggish_pipeline"
_SCALARS = {"bytes": "TYPE_BYTES", "float": "TYPE_FLOAT", "int64": "TYPE_INT64", "string": "TYPE_STRING"}

# message: its fields as (name, type, repeated), numbered from 1. An "...Entry" is a map's item.
_MESSAGES: dict[str, list[tuple[str, str, bool]]] = {
    "BytesList": [("value", "bytes", True)],
    "FloatList": [("value", "float", True)],
    "Int64List": [("value", "int64", True)],
    "Feature": [
        ("bytes_list", "BytesList", False),
        ("float_list", "FloatList", False),
        ("int64_list", "Int64List", False),
    ],
    "Features": [("feature", "Features.FeatureEntry", True)],
    "Features.FeatureEntry": [("key", "string", False), ("value", "Feature", False)],
    "FeatureList": [("feature", "Feature", True)],
    "FeatureLists": [("feature_list", "FeatureLists.FeatureListEntry", True)],
    "FeatureLists.FeatureListEntry": [("key", "string", False), ("value", "FeatureList", False)],
    "SequenceExample": [("context", "Features", False), ("feature_lists", "FeatureLists", False)],
}


def _message_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="sequence_example.proto", package=_PACKAGE, syntax="proto3")
    declared: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name, fields in _MESSAGES.items():
        outer, _, inner = name.rpartition(".")
        message = declared[name] = (declared[outer].nested_type if outer else file.message_type).add(name=inner)
        if name.endswith("Entry"):
            message.options.map_entry = True
        if name == "Feature":
            message.oneof_decl.add(name="kind")
        for number, (field_name, kind, repeated) in enumerate(fields, 1):
            field = message.field.add(name=field_name, number=number)
            field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            field.type = descriptor_pb2.FieldDescriptorProto.Type.Value(_SCALARS.get(kind, "TYPE_MESSAGE"))
            if kind not in _SCALARS:
                field.type_name = f".{_PACKAGE}.{kind}"
            if name == "Feature":
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()  # of our own: TensorFlow's may live beside it
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.SequenceExample"))


SequenceExample = _message_class()


def values_of(context: Any, key: str, kind: str) -> Any:
    """The values of a feature of a kind ("int64_list" say). Raises RecordError if it is not there, or of another."""
    if key not in context:
        raise RecordError(f"no {key} in the context, only {sorted(context)}")
    feature = context[key]
    found = feature.WhichOneof("kind")
    if found != kind:
        raise RecordError(f"{key} is a {found or 'feature without a value'}, not a {kind}")
    return getattr(feature, kind).value


def value_of(context: Any, key: str, kind: str) -> Any:
    """The one value of a feature. Raises RecordError, as `values_of`, or if there are others."""
    values = values_of(context, key, kind)
    if len(values) != 1:
        raise RecordError(f"{key} holds {len(values)} values, not one")
    return values[0]
