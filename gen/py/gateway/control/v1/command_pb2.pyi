from gateway.control.v1 import parameter_pb2 as _parameter_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CommandAckStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMMAND_ACK_STATUS_UNSPECIFIED: _ClassVar[CommandAckStatus]
    COMMAND_ACK_STATUS_ACCEPTED: _ClassVar[CommandAckStatus]
    COMMAND_ACK_STATUS_SUCCEEDED: _ClassVar[CommandAckStatus]
    COMMAND_ACK_STATUS_FAILED: _ClassVar[CommandAckStatus]
COMMAND_ACK_STATUS_UNSPECIFIED: CommandAckStatus
COMMAND_ACK_STATUS_ACCEPTED: CommandAckStatus
COMMAND_ACK_STATUS_SUCCEEDED: CommandAckStatus
COMMAND_ACK_STATUS_FAILED: CommandAckStatus

class Command(_message.Message):
    __slots__ = ("schema_version", "command_id", "name", "parameters", "expires_at_ms", "expires_in_ms", "delivery")
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_MS_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    schema_version: int
    command_id: str
    name: str
    parameters: _containers.RepeatedCompositeFieldContainer[_parameter_pb2.Parameter]
    expires_at_ms: int
    expires_in_ms: int
    delivery: int
    def __init__(self, schema_version: _Optional[int] = ..., command_id: _Optional[str] = ..., name: _Optional[str] = ..., parameters: _Optional[_Iterable[_Union[_parameter_pb2.Parameter, _Mapping]]] = ..., expires_at_ms: _Optional[int] = ..., expires_in_ms: _Optional[int] = ..., delivery: _Optional[int] = ...) -> None: ...

class CommandAck(_message.Message):
    __slots__ = ("schema_version", "command_id", "status", "reason", "results")
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    schema_version: int
    command_id: str
    status: CommandAckStatus
    reason: str
    results: _containers.RepeatedCompositeFieldContainer[_parameter_pb2.Parameter]
    def __init__(self, schema_version: _Optional[int] = ..., command_id: _Optional[str] = ..., status: _Optional[_Union[CommandAckStatus, str]] = ..., reason: _Optional[str] = ..., results: _Optional[_Iterable[_Union[_parameter_pb2.Parameter, _Mapping]]] = ...) -> None: ...
