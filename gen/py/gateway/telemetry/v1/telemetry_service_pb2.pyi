import datetime

from gateway.telemetry.v1 import payload_pb2 as _payload_pb2
from gateway.telemetry.v1 import record_pb2 as _record_pb2
from gateway.telemetry.v1 import refusal_pb2 as _refusal_pb2
from gateway.telemetry.v1 import telemetry_pb2 as _telemetry_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PublishRequest(_message.Message):
    __slots__ = ("messages", "ttl")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[PublishMessage]
    ttl: _duration_pb2.Duration
    def __init__(self, messages: _Optional[_Iterable[_Union[PublishMessage, _Mapping]]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class PublishResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[PublishResult]
    def __init__(self, results: _Optional[_Iterable[_Union[PublishResult, _Mapping]]] = ...) -> None: ...

class PublishStreamRequest(_message.Message):
    __slots__ = ("stream_id", "sequence", "messages", "ttl")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    sequence: int
    messages: _containers.RepeatedCompositeFieldContainer[PublishMessage]
    ttl: _duration_pb2.Duration
    def __init__(self, stream_id: _Optional[str] = ..., sequence: _Optional[int] = ..., messages: _Optional[_Iterable[_Union[PublishMessage, _Mapping]]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class PublishStreamResponse(_message.Message):
    __slots__ = ("stream_id", "sequence", "results")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    sequence: int
    results: _containers.RepeatedCompositeFieldContainer[PublishResult]
    def __init__(self, stream_id: _Optional[str] = ..., sequence: _Optional[int] = ..., results: _Optional[_Iterable[_Union[PublishResult, _Mapping]]] = ...) -> None: ...

class PublishMessage(_message.Message):
    __slots__ = ("device_id", "request_id", "telemetry", "payload", "traceparent")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    request_id: str
    telemetry: _telemetry_pb2.Telemetry
    payload: _payload_pb2.Payload
    traceparent: str
    def __init__(self, device_id: _Optional[str] = ..., request_id: _Optional[str] = ..., telemetry: _Optional[_Union[_telemetry_pb2.Telemetry, _Mapping]] = ..., payload: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., traceparent: _Optional[str] = ...) -> None: ...

class PublishResult(_message.Message):
    __slots__ = ("receipt", "refusal")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    receipt: PublishReceipt
    refusal: _refusal_pb2.Refusal
    def __init__(self, receipt: _Optional[_Union[PublishReceipt, _Mapping]] = ..., refusal: _Optional[_Union[_refusal_pb2.Refusal, _Mapping]] = ...) -> None: ...

class PublishReceipt(_message.Message):
    __slots__ = ("correlation_id", "duplicate")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    duplicate: bool
    def __init__(self, correlation_id: _Optional[str] = ..., duplicate: bool = ...) -> None: ...

class TailRequest(_message.Message):
    __slots__ = ("device_ids", "sources", "filter", "cursor", "heartbeat_interval", "include_unknown")
    DEVICE_IDS_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    device_ids: _containers.RepeatedScalarFieldContainer[str]
    sources: _containers.RepeatedScalarFieldContainer[_record_pb2.Source]
    filter: str
    cursor: str
    heartbeat_interval: _duration_pb2.Duration
    include_unknown: bool
    def __init__(self, device_ids: _Optional[_Iterable[str]] = ..., sources: _Optional[_Iterable[_Union[_record_pb2.Source, str]]] = ..., filter: _Optional[str] = ..., cursor: _Optional[str] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., include_unknown: bool = ...) -> None: ...

class TailResponse(_message.Message):
    __slots__ = ("cursor", "dropped_count", "record", "heartbeat")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    DROPPED_COUNT_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    dropped_count: int
    record: _record_pb2.Record
    heartbeat: TailHeartbeat
    def __init__(self, cursor: _Optional[str] = ..., dropped_count: _Optional[int] = ..., record: _Optional[_Union[_record_pb2.Record, _Mapping]] = ..., heartbeat: _Optional[_Union[TailHeartbeat, _Mapping]] = ...) -> None: ...

class TailHeartbeat(_message.Message):
    __slots__ = ("time",)
    TIME_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
