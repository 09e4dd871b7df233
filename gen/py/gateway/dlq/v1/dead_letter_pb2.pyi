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

class DeadLetter(_message.Message):
    __slots__ = ("dead_letter_id", "sink_id", "sink_name", "state", "reason", "status", "excerpt", "record", "payload", "payload_bytes", "edits", "revision", "attempt_count", "attempts", "first_error_time", "last_error_time", "create_time", "requeued", "requeue_count", "etag")
    DEAD_LETTER_ID_FIELD_NUMBER: _ClassVar[int]
    SINK_ID_FIELD_NUMBER: _ClassVar[int]
    SINK_NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    EXCERPT_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    EDITS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    FIRST_ERROR_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    REQUEUED_FIELD_NUMBER: _ClassVar[int]
    REQUEUE_COUNT_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    dead_letter_id: str
    sink_id: str
    sink_name: str
    state: _delivery_pb2.DeliveryState
    reason: str
    status: str
    excerpt: str
    record: _record_pb2.Record
    payload: _payload_pb2.Payload
    payload_bytes: int
    edits: _containers.RepeatedCompositeFieldContainer[DeadLetterEdit]
    revision: int
    attempt_count: int
    attempts: _containers.RepeatedCompositeFieldContainer[_delivery_pb2.Attempt]
    first_error_time: _timestamp_pb2.Timestamp
    last_error_time: _timestamp_pb2.Timestamp
    create_time: _timestamp_pb2.Timestamp
    requeued: bool
    requeue_count: int
    etag: str
    def __init__(self, dead_letter_id: _Optional[str] = ..., sink_id: _Optional[str] = ..., sink_name: _Optional[str] = ..., state: _Optional[_Union[_delivery_pb2.DeliveryState, str]] = ..., reason: _Optional[str] = ..., status: _Optional[str] = ..., excerpt: _Optional[str] = ..., record: _Optional[_Union[_record_pb2.Record, _Mapping]] = ..., payload: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., payload_bytes: _Optional[int] = ..., edits: _Optional[_Iterable[_Union[DeadLetterEdit, _Mapping]]] = ..., revision: _Optional[int] = ..., attempt_count: _Optional[int] = ..., attempts: _Optional[_Iterable[_Union[_delivery_pb2.Attempt, _Mapping]]] = ..., first_error_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_error_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., requeued: bool = ..., requeue_count: _Optional[int] = ..., etag: _Optional[str] = ...) -> None: ...

class DeadLetterEdit(_message.Message):
    __slots__ = ("revision", "payload", "note", "edited_by", "edit_time")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    EDITED_BY_FIELD_NUMBER: _ClassVar[int]
    EDIT_TIME_FIELD_NUMBER: _ClassVar[int]
    revision: int
    payload: _payload_pb2.Payload
    note: str
    edited_by: str
    edit_time: _timestamp_pb2.Timestamp
    def __init__(self, revision: _Optional[int] = ..., payload: _Optional[_Union[_payload_pb2.Payload, _Mapping]] = ..., note: _Optional[str] = ..., edited_by: _Optional[str] = ..., edit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
