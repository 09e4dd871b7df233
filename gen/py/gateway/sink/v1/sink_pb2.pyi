import datetime

from gateway.sink.v1 import destination_pb2 as _destination_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SinkOrigin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SINK_ORIGIN_UNSPECIFIED: _ClassVar[SinkOrigin]
    SINK_ORIGIN_FILE: _ClassVar[SinkOrigin]
    SINK_ORIGIN_API: _ClassVar[SinkOrigin]
    SINK_ORIGIN_DEVELOPMENT: _ClassVar[SinkOrigin]

class SinkKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SINK_KIND_UNSPECIFIED: _ClassVar[SinkKind]
    SINK_KIND_FILE: _ClassVar[SinkKind]
    SINK_KIND_HTTP: _ClassVar[SinkKind]
    SINK_KIND_CONNECT: _ClassVar[SinkKind]
    SINK_KIND_S3: _ClassVar[SinkKind]
    SINK_KIND_KAFKA: _ClassVar[SinkKind]
    SINK_KIND_MQTT: _ClassVar[SinkKind]

class SinkOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SINK_ORDER_UNSPECIFIED: _ClassVar[SinkOrder]
    SINK_ORDER_DEVICE: _ClassVar[SinkOrder]
    SINK_ORDER_NONE: _ClassVar[SinkOrder]

class AfterDeadLetter(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AFTER_DEAD_LETTER_UNSPECIFIED: _ClassVar[AfterDeadLetter]
    AFTER_DEAD_LETTER_SKIP: _ClassVar[AfterDeadLetter]
    AFTER_DEAD_LETTER_HOLD: _ClassVar[AfterDeadLetter]
    AFTER_DEAD_LETTER_BLOCK: _ClassVar[AfterDeadLetter]

class SinkState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SINK_STATE_UNSPECIFIED: _ClassVar[SinkState]
    SINK_STATE_IDLE: _ClassVar[SinkState]
    SINK_STATE_ACTIVE: _ClassVar[SinkState]
    SINK_STATE_WAITING: _ClassVar[SinkState]
    SINK_STATE_PAUSED: _ClassVar[SinkState]
    SINK_STATE_STOPPED: _ClassVar[SinkState]
    SINK_STATE_REMOVED: _ClassVar[SinkState]

class SinkPauseReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SINK_PAUSE_REASON_UNSPECIFIED: _ClassVar[SinkPauseReason]
    SINK_PAUSE_REASON_OPERATOR: _ClassVar[SinkPauseReason]
    SINK_PAUSE_REASON_MISCONFIGURED: _ClassVar[SinkPauseReason]
    SINK_PAUSE_REASON_REJECTING_EVERYTHING: _ClassVar[SinkPauseReason]
    SINK_PAUSE_REASON_HELD_FULL: _ClassVar[SinkPauseReason]
    SINK_PAUSE_REASON_BLOCKED: _ClassVar[SinkPauseReason]
SINK_ORIGIN_UNSPECIFIED: SinkOrigin
SINK_ORIGIN_FILE: SinkOrigin
SINK_ORIGIN_API: SinkOrigin
SINK_ORIGIN_DEVELOPMENT: SinkOrigin
SINK_KIND_UNSPECIFIED: SinkKind
SINK_KIND_FILE: SinkKind
SINK_KIND_HTTP: SinkKind
SINK_KIND_CONNECT: SinkKind
SINK_KIND_S3: SinkKind
SINK_KIND_KAFKA: SinkKind
SINK_KIND_MQTT: SinkKind
SINK_ORDER_UNSPECIFIED: SinkOrder
SINK_ORDER_DEVICE: SinkOrder
SINK_ORDER_NONE: SinkOrder
AFTER_DEAD_LETTER_UNSPECIFIED: AfterDeadLetter
AFTER_DEAD_LETTER_SKIP: AfterDeadLetter
AFTER_DEAD_LETTER_HOLD: AfterDeadLetter
AFTER_DEAD_LETTER_BLOCK: AfterDeadLetter
SINK_STATE_UNSPECIFIED: SinkState
SINK_STATE_IDLE: SinkState
SINK_STATE_ACTIVE: SinkState
SINK_STATE_WAITING: SinkState
SINK_STATE_PAUSED: SinkState
SINK_STATE_STOPPED: SinkState
SINK_STATE_REMOVED: SinkState
SINK_PAUSE_REASON_UNSPECIFIED: SinkPauseReason
SINK_PAUSE_REASON_OPERATOR: SinkPauseReason
SINK_PAUSE_REASON_MISCONFIGURED: SinkPauseReason
SINK_PAUSE_REASON_REJECTING_EVERYTHING: SinkPauseReason
SINK_PAUSE_REASON_HELD_FULL: SinkPauseReason
SINK_PAUSE_REASON_BLOCKED: SinkPauseReason

class Sink(_message.Message):
    __slots__ = ("sink_id", "name", "origin", "destination", "settings", "status", "create_time", "update_time", "etag")
    SINK_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    sink_id: str
    name: str
    origin: SinkOrigin
    destination: _destination_pb2.Destination
    settings: SinkSettings
    status: SinkStatus
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    def __init__(self, sink_id: _Optional[str] = ..., name: _Optional[str] = ..., origin: _Optional[_Union[SinkOrigin, str]] = ..., destination: _Optional[_Union[_destination_pb2.Destination, _Mapping]] = ..., settings: _Optional[_Union[SinkSettings, _Mapping]] = ..., status: _Optional[_Union[SinkStatus, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ...) -> None: ...

class SinkSettings(_message.Message):
    __slots__ = ("required", "start", "filter", "order", "after_dead_letter", "concurrency", "batch", "rate", "ttl", "max_lag_bytes", "include_unknown")
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    AFTER_DEAD_LETTER_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    MAX_LAG_BYTES_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    required: bool
    start: SinkStart
    filter: str
    order: SinkOrder
    after_dead_letter: AfterDeadLetter
    concurrency: int
    batch: BatchSettings
    rate: int
    ttl: _duration_pb2.Duration
    max_lag_bytes: int
    include_unknown: bool
    def __init__(self, required: bool = ..., start: _Optional[_Union[SinkStart, _Mapping]] = ..., filter: _Optional[str] = ..., order: _Optional[_Union[SinkOrder, str]] = ..., after_dead_letter: _Optional[_Union[AfterDeadLetter, str]] = ..., concurrency: _Optional[int] = ..., batch: _Optional[_Union[BatchSettings, _Mapping]] = ..., rate: _Optional[int] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_lag_bytes: _Optional[int] = ..., include_unknown: bool = ...) -> None: ...

class SinkStart(_message.Message):
    __slots__ = ("now", "oldest", "time")
    NOW_FIELD_NUMBER: _ClassVar[int]
    OLDEST_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    now: bool
    oldest: bool
    time: _timestamp_pb2.Timestamp
    def __init__(self, now: bool = ..., oldest: bool = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class BatchSettings(_message.Message):
    __slots__ = ("count", "bytes", "linger")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    LINGER_FIELD_NUMBER: _ClassVar[int]
    count: int
    bytes: int
    linger: _duration_pb2.Duration
    def __init__(self, count: _Optional[int] = ..., bytes: _Optional[int] = ..., linger: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SinkStatus(_message.Message):
    __slots__ = ("sink_id", "name", "kind", "state", "pause_reason", "state_detail", "state_time", "depth_messages", "in_flight_messages", "held_messages", "pinned_bytes", "oldest_age", "delivered_count", "dead_letter_count", "expired_count", "discarded_count", "last_success_time", "last_error_time", "last_error_status", "last_error_excerpt", "next_attempt_time")
    SINK_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PAUSE_REASON_FIELD_NUMBER: _ClassVar[int]
    STATE_DETAIL_FIELD_NUMBER: _ClassVar[int]
    STATE_TIME_FIELD_NUMBER: _ClassVar[int]
    DEPTH_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    HELD_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    PINNED_BYTES_FIELD_NUMBER: _ClassVar[int]
    OLDEST_AGE_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_COUNT_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DISCARDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_SUCCESS_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_STATUS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_EXCERPT_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_TIME_FIELD_NUMBER: _ClassVar[int]
    sink_id: str
    name: str
    kind: SinkKind
    state: SinkState
    pause_reason: SinkPauseReason
    state_detail: str
    state_time: _timestamp_pb2.Timestamp
    depth_messages: int
    in_flight_messages: int
    held_messages: int
    pinned_bytes: int
    oldest_age: _duration_pb2.Duration
    delivered_count: int
    dead_letter_count: int
    expired_count: int
    discarded_count: int
    last_success_time: _timestamp_pb2.Timestamp
    last_error_time: _timestamp_pb2.Timestamp
    last_error_status: str
    last_error_excerpt: str
    next_attempt_time: _timestamp_pb2.Timestamp
    def __init__(self, sink_id: _Optional[str] = ..., name: _Optional[str] = ..., kind: _Optional[_Union[SinkKind, str]] = ..., state: _Optional[_Union[SinkState, str]] = ..., pause_reason: _Optional[_Union[SinkPauseReason, str]] = ..., state_detail: _Optional[str] = ..., state_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., depth_messages: _Optional[int] = ..., in_flight_messages: _Optional[int] = ..., held_messages: _Optional[int] = ..., pinned_bytes: _Optional[int] = ..., oldest_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., delivered_count: _Optional[int] = ..., dead_letter_count: _Optional[int] = ..., expired_count: _Optional[int] = ..., discarded_count: _Optional[int] = ..., last_success_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_error_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_error_status: _Optional[str] = ..., last_error_excerpt: _Optional[str] = ..., next_attempt_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
