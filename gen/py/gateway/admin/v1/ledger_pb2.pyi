import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LossKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOSS_KIND_UNSPECIFIED: _ClassVar[LossKind]
    LOSS_KIND_DISCARDED: _ClassVar[LossKind]
    LOSS_KIND_EXPIRED: _ClassVar[LossKind]
    LOSS_KIND_QUARANTINED: _ClassVar[LossKind]
LOSS_KIND_UNSPECIFIED: LossKind
LOSS_KIND_DISCARDED: LossKind
LOSS_KIND_EXPIRED: LossKind
LOSS_KIND_QUARANTINED: LossKind

class Ledger(_message.Message):
    __slots__ = ("accepted_count", "owed_count", "unrouted_count", "sinks")
    ACCEPTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    OWED_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNROUTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    SINKS_FIELD_NUMBER: _ClassVar[int]
    accepted_count: int
    owed_count: int
    unrouted_count: int
    sinks: _containers.RepeatedCompositeFieldContainer[SinkLedger]
    def __init__(self, accepted_count: _Optional[int] = ..., owed_count: _Optional[int] = ..., unrouted_count: _Optional[int] = ..., sinks: _Optional[_Iterable[_Union[SinkLedger, _Mapping]]] = ...) -> None: ...

class SinkLedger(_message.Message):
    __slots__ = ("sink_id", "sink_name", "owed_count", "delivered_count", "dead_count", "held_count", "discarded_count", "expired_count", "pending_count")
    SINK_ID_FIELD_NUMBER: _ClassVar[int]
    SINK_NAME_FIELD_NUMBER: _ClassVar[int]
    OWED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    HELD_COUNT_FIELD_NUMBER: _ClassVar[int]
    DISCARDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_COUNT_FIELD_NUMBER: _ClassVar[int]
    PENDING_COUNT_FIELD_NUMBER: _ClassVar[int]
    sink_id: str
    sink_name: str
    owed_count: int
    delivered_count: int
    dead_count: int
    held_count: int
    discarded_count: int
    expired_count: int
    pending_count: int
    def __init__(self, sink_id: _Optional[str] = ..., sink_name: _Optional[str] = ..., owed_count: _Optional[int] = ..., delivered_count: _Optional[int] = ..., dead_count: _Optional[int] = ..., held_count: _Optional[int] = ..., discarded_count: _Optional[int] = ..., expired_count: _Optional[int] = ..., pending_count: _Optional[int] = ...) -> None: ...

class LedgerMismatch(_message.Message):
    __slots__ = ("account", "field", "counted", "recomputed")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    RECOMPUTED_FIELD_NUMBER: _ClassVar[int]
    account: str
    field: str
    counted: int
    recomputed: int
    def __init__(self, account: _Optional[str] = ..., field: _Optional[str] = ..., counted: _Optional[int] = ..., recomputed: _Optional[int] = ...) -> None: ...

class Loss(_message.Message):
    __slots__ = ("loss_id", "sink_id", "sink_name", "kind", "reason", "first_position", "last_position", "first_receive_ts", "last_receive_ts", "count", "devices", "actor", "loss_time")
    LOSS_ID_FIELD_NUMBER: _ClassVar[int]
    SINK_ID_FIELD_NUMBER: _ClassVar[int]
    SINK_NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FIRST_POSITION_FIELD_NUMBER: _ClassVar[int]
    LAST_POSITION_FIELD_NUMBER: _ClassVar[int]
    FIRST_RECEIVE_TS_FIELD_NUMBER: _ClassVar[int]
    LAST_RECEIVE_TS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    LOSS_TIME_FIELD_NUMBER: _ClassVar[int]
    loss_id: str
    sink_id: str
    sink_name: str
    kind: LossKind
    reason: str
    first_position: int
    last_position: int
    first_receive_ts: _timestamp_pb2.Timestamp
    last_receive_ts: _timestamp_pb2.Timestamp
    count: int
    devices: _containers.RepeatedCompositeFieldContainer[DeviceLoss]
    actor: str
    loss_time: _timestamp_pb2.Timestamp
    def __init__(self, loss_id: _Optional[str] = ..., sink_id: _Optional[str] = ..., sink_name: _Optional[str] = ..., kind: _Optional[_Union[LossKind, str]] = ..., reason: _Optional[str] = ..., first_position: _Optional[int] = ..., last_position: _Optional[int] = ..., first_receive_ts: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_receive_ts: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., count: _Optional[int] = ..., devices: _Optional[_Iterable[_Union[DeviceLoss, _Mapping]]] = ..., actor: _Optional[str] = ..., loss_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DeviceLoss(_message.Message):
    __slots__ = ("device_id", "count")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    count: int
    def __init__(self, device_id: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class Forecast(_message.Message):
    __slots__ = ("ingest_rate", "growth_bytes_per_second", "window", "time_to_full", "sinks")
    INGEST_RATE_FIELD_NUMBER: _ClassVar[int]
    GROWTH_BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_FULL_FIELD_NUMBER: _ClassVar[int]
    SINKS_FIELD_NUMBER: _ClassVar[int]
    ingest_rate: float
    growth_bytes_per_second: float
    window: _duration_pb2.Duration
    time_to_full: _duration_pb2.Duration
    sinks: _containers.RepeatedCompositeFieldContainer[SinkForecast]
    def __init__(self, ingest_rate: _Optional[float] = ..., growth_bytes_per_second: _Optional[float] = ..., window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., time_to_full: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., sinks: _Optional[_Iterable[_Union[SinkForecast, _Mapping]]] = ...) -> None: ...

class SinkForecast(_message.Message):
    __slots__ = ("sink_id", "sink_name", "delivery_rate", "time_to_drain", "first_loss_correlation_id", "first_loss_time")
    SINK_ID_FIELD_NUMBER: _ClassVar[int]
    SINK_NAME_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_RATE_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_DRAIN_FIELD_NUMBER: _ClassVar[int]
    FIRST_LOSS_CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_LOSS_TIME_FIELD_NUMBER: _ClassVar[int]
    sink_id: str
    sink_name: str
    delivery_rate: float
    time_to_drain: _duration_pb2.Duration
    first_loss_correlation_id: str
    first_loss_time: _timestamp_pb2.Timestamp
    def __init__(self, sink_id: _Optional[str] = ..., sink_name: _Optional[str] = ..., delivery_rate: _Optional[float] = ..., time_to_drain: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., first_loss_correlation_id: _Optional[str] = ..., first_loss_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
