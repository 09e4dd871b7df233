import datetime

from gateway.control.v1 import config_pb2 as _config_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Twin(_message.Message):
    __slots__ = ("device_id", "desired", "desired_time", "desired_by", "reported", "reported_time", "in_sync", "etag")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    DESIRED_TIME_FIELD_NUMBER: _ClassVar[int]
    DESIRED_BY_FIELD_NUMBER: _ClassVar[int]
    REPORTED_FIELD_NUMBER: _ClassVar[int]
    REPORTED_TIME_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    desired: _config_pb2.DesiredConfig
    desired_time: _timestamp_pb2.Timestamp
    desired_by: str
    reported: _config_pb2.ReportedConfig
    reported_time: _timestamp_pb2.Timestamp
    in_sync: bool
    etag: str
    def __init__(self, device_id: _Optional[str] = ..., desired: _Optional[_Union[_config_pb2.DesiredConfig, _Mapping]] = ..., desired_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., desired_by: _Optional[str] = ..., reported: _Optional[_Union[_config_pb2.ReportedConfig, _Mapping]] = ..., reported_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., in_sync: bool = ..., etag: _Optional[str] = ...) -> None: ...

class TwinRevision(_message.Message):
    __slots__ = ("desired", "create_time", "created_by", "note", "status", "reason")
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    desired: _config_pb2.DesiredConfig
    create_time: _timestamp_pb2.Timestamp
    created_by: str
    note: str
    status: _config_pb2.ConfigStatus
    reason: str
    def __init__(self, desired: _Optional[_Union[_config_pb2.DesiredConfig, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_by: _Optional[str] = ..., note: _Optional[str] = ..., status: _Optional[_Union[_config_pb2.ConfigStatus, str]] = ..., reason: _Optional[str] = ...) -> None: ...
