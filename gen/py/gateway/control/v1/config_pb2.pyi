from gateway.control.v1 import parameter_pb2 as _parameter_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConfigStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONFIG_STATUS_UNSPECIFIED: _ClassVar[ConfigStatus]
    CONFIG_STATUS_APPLIED: _ClassVar[ConfigStatus]
    CONFIG_STATUS_REJECTED: _ClassVar[ConfigStatus]
CONFIG_STATUS_UNSPECIFIED: ConfigStatus
CONFIG_STATUS_APPLIED: ConfigStatus
CONFIG_STATUS_REJECTED: ConfigStatus

class DesiredConfig(_message.Message):
    __slots__ = ("schema_version", "version", "settings")
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    schema_version: int
    version: int
    settings: _containers.RepeatedCompositeFieldContainer[_parameter_pb2.Parameter]
    def __init__(self, schema_version: _Optional[int] = ..., version: _Optional[int] = ..., settings: _Optional[_Iterable[_Union[_parameter_pb2.Parameter, _Mapping]]] = ...) -> None: ...

class ReportedConfig(_message.Message):
    __slots__ = ("schema_version", "version", "status", "reason", "settings")
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    schema_version: int
    version: int
    status: ConfigStatus
    reason: str
    settings: _containers.RepeatedCompositeFieldContainer[_parameter_pb2.Parameter]
    def __init__(self, schema_version: _Optional[int] = ..., version: _Optional[int] = ..., status: _Optional[_Union[ConfigStatus, str]] = ..., reason: _Optional[str] = ..., settings: _Optional[_Iterable[_Union[_parameter_pb2.Parameter, _Mapping]]] = ...) -> None: ...
