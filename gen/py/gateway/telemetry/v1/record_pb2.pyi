import datetime

from gateway.telemetry.v1 import telemetry_pb2 as _telemetry_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_UNSPECIFIED: _ClassVar[Source]
    SOURCE_MQTT: _ClassVar[Source]
    SOURCE_BRIDGE: _ClassVar[Source]
    SOURCE_HTTP: _ClassVar[Source]
    SOURCE_RPC: _ClassVar[Source]

class DeliveryKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_KIND_UNSPECIFIED: _ClassVar[DeliveryKind]
    DELIVERY_KIND_LIVE: _ClassVar[DeliveryKind]
    DELIVERY_KIND_BACKFILL: _ClassVar[DeliveryKind]
    DELIVERY_KIND_REQUEUE: _ClassVar[DeliveryKind]
    DELIVERY_KIND_REPLAY: _ClassVar[DeliveryKind]
SOURCE_UNSPECIFIED: Source
SOURCE_MQTT: Source
SOURCE_BRIDGE: Source
SOURCE_HTTP: Source
SOURCE_RPC: Source
DELIVERY_KIND_UNSPECIFIED: DeliveryKind
DELIVERY_KIND_LIVE: DeliveryKind
DELIVERY_KIND_BACKFILL: DeliveryKind
DELIVERY_KIND_REQUEUE: DeliveryKind
DELIVERY_KIND_REPLAY: DeliveryKind

class Record(_message.Message):
    __slots__ = ("correlation_id", "gateway_id", "device_id", "receive_ts", "observed_at", "boot_id", "sequence", "message_id", "schema_version", "metrics", "attributes", "source", "traceparent", "verified", "delivery", "replay_id", "revision", "extra_json")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_TS_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    REPLAY_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    EXTRA_JSON_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    gateway_id: str
    device_id: str
    receive_ts: _timestamp_pb2.Timestamp
    observed_at: _timestamp_pb2.Timestamp
    boot_id: str
    sequence: int
    message_id: str
    schema_version: int
    metrics: _containers.RepeatedCompositeFieldContainer[_telemetry_pb2.Metric]
    attributes: _containers.RepeatedCompositeFieldContainer[_telemetry_pb2.Attribute]
    source: Source
    traceparent: str
    verified: bool
    delivery: DeliveryKind
    replay_id: str
    revision: int
    extra_json: str
    def __init__(self, correlation_id: _Optional[str] = ..., gateway_id: _Optional[str] = ..., device_id: _Optional[str] = ..., receive_ts: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., observed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., boot_id: _Optional[str] = ..., sequence: _Optional[int] = ..., message_id: _Optional[str] = ..., schema_version: _Optional[int] = ..., metrics: _Optional[_Iterable[_Union[_telemetry_pb2.Metric, _Mapping]]] = ..., attributes: _Optional[_Iterable[_Union[_telemetry_pb2.Attribute, _Mapping]]] = ..., source: _Optional[_Union[Source, str]] = ..., traceparent: _Optional[str] = ..., verified: bool = ..., delivery: _Optional[_Union[DeliveryKind, str]] = ..., replay_id: _Optional[str] = ..., revision: _Optional[int] = ..., extra_json: _Optional[str] = ...) -> None: ...
