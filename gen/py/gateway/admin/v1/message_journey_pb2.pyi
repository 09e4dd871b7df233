import datetime

from gateway.sink.v1 import delivery_pb2 as _delivery_pb2
from gateway.telemetry.v1 import payload_pb2 as _payload_pb2
from gateway.telemetry.v1 import record_pb2 as _record_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MessageJourney(_message.Message):
    __slots__ = ("record", "payload", "commit", "deliveries", "attempts")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    record: _record_pb2.Record
    payload: _payload_pb2.Payload
    commit: MessageCommit
    deliveries: _containers.RepeatedCompositeFieldContainer[MessageDelivery]
    attempts: _containers.RepeatedCompositeFieldContainer[_delivery_pb2.Attempt]
    def __init__(self, record: _Optional[_Union[_record_pb2.Record, _Mapping]] = ..., payload: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., commit: _Optional[_Union[MessageCommit, _Mapping]] = ..., deliveries: _Optional[_Iterable[_Union[MessageDelivery, _Mapping]]] = ..., attempts: _Optional[_Iterable[_Union[_delivery_pb2.Attempt, _Mapping]]] = ...) -> None: ...

class MessageCommit(_message.Message):
    __slots__ = ("position", "frame", "frame_messages", "commit_time")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAME_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    COMMIT_TIME_FIELD_NUMBER: _ClassVar[int]
    position: int
    frame: int
    frame_messages: int
    commit_time: _timestamp_pb2.Timestamp
    def __init__(self, position: _Optional[int] = ..., frame: _Optional[int] = ..., frame_messages: _Optional[int] = ..., commit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class MessageDelivery(_message.Message):
    __slots__ = ("sink_id", "sink_name", "state", "attempt_count", "dead_letter_id", "reason")
    SINK_ID_FIELD_NUMBER: _ClassVar[int]
    SINK_NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    sink_id: str
    sink_name: str
    state: _delivery_pb2.DeliveryState
    attempt_count: int
    dead_letter_id: str
    reason: str
    def __init__(self, sink_id: _Optional[str] = ..., sink_name: _Optional[str] = ..., state: _Optional[_Union[_delivery_pb2.DeliveryState, str]] = ..., attempt_count: _Optional[int] = ..., dead_letter_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DeviceMessageId(_message.Message):
    __slots__ = ("device_id", "message_id")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    message_id: str
    def __init__(self, device_id: _Optional[str] = ..., message_id: _Optional[str] = ...) -> None: ...

class DeviceSequence(_message.Message):
    __slots__ = ("device_id", "boot_id", "sequence")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    boot_id: str
    sequence: int
    def __init__(self, device_id: _Optional[str] = ..., boot_id: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...
