import datetime

from gateway.sink.v1 import sink_pb2 as _sink_pb2
from gateway.telemetry.v1 import record_pb2 as _record_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ComponentState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPONENT_STATE_UNSPECIFIED: _ClassVar[ComponentState]
    COMPONENT_STATE_STARTING: _ClassVar[ComponentState]
    COMPONENT_STATE_READY: _ClassVar[ComponentState]
    COMPONENT_STATE_DEGRADED: _ClassVar[ComponentState]
    COMPONENT_STATE_FAILED: _ClassVar[ComponentState]
    COMPONENT_STATE_STOPPING: _ClassVar[ComponentState]

class IngestResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INGEST_RESULT_UNSPECIFIED: _ClassVar[IngestResult]
    INGEST_RESULT_ACCEPTED: _ClassVar[IngestResult]
    INGEST_RESULT_DUPLICATE: _ClassVar[IngestResult]
    INGEST_RESULT_CONFLICT: _ClassVar[IngestResult]
    INGEST_RESULT_REJECTED: _ClassVar[IngestResult]
    INGEST_RESULT_DROPPED: _ClassVar[IngestResult]
COMPONENT_STATE_UNSPECIFIED: ComponentState
COMPONENT_STATE_STARTING: ComponentState
COMPONENT_STATE_READY: ComponentState
COMPONENT_STATE_DEGRADED: ComponentState
COMPONENT_STATE_FAILED: ComponentState
COMPONENT_STATE_STOPPING: ComponentState
INGEST_RESULT_UNSPECIFIED: IngestResult
INGEST_RESULT_ACCEPTED: IngestResult
INGEST_RESULT_DUPLICATE: IngestResult
INGEST_RESULT_CONFLICT: IngestResult
INGEST_RESULT_REJECTED: IngestResult
INGEST_RESULT_DROPPED: IngestResult

class Status(_message.Message):
    __slots__ = ("gateway_id", "version", "start_time", "uptime", "read_time", "ready", "development", "components", "listeners", "ingest_totals", "queue", "sinks", "ingress_dead_letter_count", "mqtt_connection_count")
    GATEWAY_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    UPTIME_FIELD_NUMBER: _ClassVar[int]
    READ_TIME_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    DEVELOPMENT_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    LISTENERS_FIELD_NUMBER: _ClassVar[int]
    INGEST_TOTALS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    SINKS_FIELD_NUMBER: _ClassVar[int]
    INGRESS_DEAD_LETTER_COUNT_FIELD_NUMBER: _ClassVar[int]
    MQTT_CONNECTION_COUNT_FIELD_NUMBER: _ClassVar[int]
    gateway_id: str
    version: str
    start_time: _timestamp_pb2.Timestamp
    uptime: _duration_pb2.Duration
    read_time: _timestamp_pb2.Timestamp
    ready: bool
    development: bool
    components: _containers.RepeatedCompositeFieldContainer[Component]
    listeners: _containers.RepeatedCompositeFieldContainer[Listener]
    ingest_totals: _containers.RepeatedCompositeFieldContainer[IngestTotal]
    queue: QueueStatus
    sinks: _containers.RepeatedCompositeFieldContainer[_sink_pb2.SinkStatus]
    ingress_dead_letter_count: int
    mqtt_connection_count: int
    def __init__(self, gateway_id: _Optional[str] = ..., version: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., uptime: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., read_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ready: bool = ..., development: bool = ..., components: _Optional[_Iterable[_Union[Component, _Mapping]]] = ..., listeners: _Optional[_Iterable[_Union[Listener, _Mapping]]] = ..., ingest_totals: _Optional[_Iterable[_Union[IngestTotal, _Mapping]]] = ..., queue: _Optional[_Union[QueueStatus, _Mapping]] = ..., sinks: _Optional[_Iterable[_Union[_sink_pb2.SinkStatus, _Mapping]]] = ..., ingress_dead_letter_count: _Optional[int] = ..., mqtt_connection_count: _Optional[int] = ...) -> None: ...

class Component(_message.Message):
    __slots__ = ("name", "state", "detail")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: ComponentState
    detail: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[ComponentState, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class Listener(_message.Message):
    __slots__ = ("name", "address", "url")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    url: str
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., url: _Optional[str] = ...) -> None: ...

class IngestTotal(_message.Message):
    __slots__ = ("source", "result", "count")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    source: _record_pb2.Source
    result: IngestResult
    count: int
    def __init__(self, source: _Optional[_Union[_record_pb2.Source, str]] = ..., result: _Optional[_Union[IngestResult, str]] = ..., count: _Optional[int] = ...) -> None: ...

class QueueStatus(_message.Message):
    __slots__ = ("depth_messages", "stored_messages", "size_bytes", "wal_bytes", "limit_bytes", "oldest_age", "last_position", "headroom", "quarantined_messages", "full", "pinning_sink", "salvaged_files", "ledger_mismatches")
    DEPTH_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    STORED_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    OLDEST_AGE_FIELD_NUMBER: _ClassVar[int]
    LAST_POSITION_FIELD_NUMBER: _ClassVar[int]
    HEADROOM_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    PINNING_SINK_FIELD_NUMBER: _ClassVar[int]
    SALVAGED_FILES_FIELD_NUMBER: _ClassVar[int]
    LEDGER_MISMATCHES_FIELD_NUMBER: _ClassVar[int]
    depth_messages: int
    stored_messages: int
    size_bytes: int
    wal_bytes: int
    limit_bytes: int
    oldest_age: _duration_pb2.Duration
    last_position: int
    headroom: _duration_pb2.Duration
    quarantined_messages: int
    full: bool
    pinning_sink: str
    salvaged_files: int
    ledger_mismatches: int
    def __init__(self, depth_messages: _Optional[int] = ..., stored_messages: _Optional[int] = ..., size_bytes: _Optional[int] = ..., wal_bytes: _Optional[int] = ..., limit_bytes: _Optional[int] = ..., oldest_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., last_position: _Optional[int] = ..., headroom: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., quarantined_messages: _Optional[int] = ..., full: bool = ..., pinning_sink: _Optional[str] = ..., salvaged_files: _Optional[int] = ..., ledger_mismatches: _Optional[int] = ...) -> None: ...
