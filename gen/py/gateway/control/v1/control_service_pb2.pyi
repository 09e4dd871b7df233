import datetime

from gateway.control.v1 import command_execution_pb2 as _command_execution_pb2
from gateway.control.v1 import parameter_pb2 as _parameter_pb2
from gateway.control.v1 import twin_pb2 as _twin_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SendCommandRequest(_message.Message):
    __slots__ = ("device_id", "name", "parameters", "ttl", "request_id")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    name: str
    parameters: _containers.RepeatedCompositeFieldContainer[_parameter_pb2.Parameter]
    ttl: _duration_pb2.Duration
    request_id: str
    def __init__(self, device_id: _Optional[str] = ..., name: _Optional[str] = ..., parameters: _Optional[_Iterable[_Union[_parameter_pb2.Parameter, _Mapping]]] = ..., ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class SendCommandResponse(_message.Message):
    __slots__ = ("execution",)
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    execution: _command_execution_pb2.CommandExecution
    def __init__(self, execution: _Optional[_Union[_command_execution_pb2.CommandExecution, _Mapping]] = ...) -> None: ...

class GetCommandRequest(_message.Message):
    __slots__ = ("command_id",)
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    def __init__(self, command_id: _Optional[str] = ...) -> None: ...

class GetCommandResponse(_message.Message):
    __slots__ = ("execution",)
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    execution: _command_execution_pb2.CommandExecution
    def __init__(self, execution: _Optional[_Union[_command_execution_pb2.CommandExecution, _Mapping]] = ...) -> None: ...

class ListCommandsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListCommandsResponse(_message.Message):
    __slots__ = ("executions", "next_page_token")
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    executions: _containers.RepeatedCompositeFieldContainer[_command_execution_pb2.CommandExecution]
    next_page_token: str
    def __init__(self, executions: _Optional[_Iterable[_Union[_command_execution_pb2.CommandExecution, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelCommandRequest(_message.Message):
    __slots__ = ("command_id", "etag")
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    etag: str
    def __init__(self, command_id: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class CancelCommandResponse(_message.Message):
    __slots__ = ("execution",)
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    execution: _command_execution_pb2.CommandExecution
    def __init__(self, execution: _Optional[_Union[_command_execution_pb2.CommandExecution, _Mapping]] = ...) -> None: ...

class WatchCommandRequest(_message.Message):
    __slots__ = ("command_id",)
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    def __init__(self, command_id: _Optional[str] = ...) -> None: ...

class WatchCommandResponse(_message.Message):
    __slots__ = ("execution",)
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    execution: _command_execution_pb2.CommandExecution
    def __init__(self, execution: _Optional[_Union[_command_execution_pb2.CommandExecution, _Mapping]] = ...) -> None: ...

class SetDesiredConfigRequest(_message.Message):
    __slots__ = ("device_id", "settings", "note", "etag", "request_id")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    settings: _containers.RepeatedCompositeFieldContainer[_parameter_pb2.Parameter]
    note: str
    etag: str
    request_id: str
    def __init__(self, device_id: _Optional[str] = ..., settings: _Optional[_Iterable[_Union[_parameter_pb2.Parameter, _Mapping]]] = ..., note: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class SetDesiredConfigResponse(_message.Message):
    __slots__ = ("twin",)
    TWIN_FIELD_NUMBER: _ClassVar[int]
    twin: _twin_pb2.Twin
    def __init__(self, twin: _Optional[_Union[_twin_pb2.Twin, _Mapping]] = ...) -> None: ...

class GetTwinRequest(_message.Message):
    __slots__ = ("device_id",)
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    def __init__(self, device_id: _Optional[str] = ...) -> None: ...

class GetTwinResponse(_message.Message):
    __slots__ = ("twin",)
    TWIN_FIELD_NUMBER: _ClassVar[int]
    twin: _twin_pb2.Twin
    def __init__(self, twin: _Optional[_Union[_twin_pb2.Twin, _Mapping]] = ...) -> None: ...

class ListTwinRevisionsRequest(_message.Message):
    __slots__ = ("device_id", "page_size", "page_token", "filter")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    page_size: int
    page_token: str
    filter: str
    def __init__(self, device_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListTwinRevisionsResponse(_message.Message):
    __slots__ = ("revisions", "next_page_token")
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    revisions: _containers.RepeatedCompositeFieldContainer[_twin_pb2.TwinRevision]
    next_page_token: str
    def __init__(self, revisions: _Optional[_Iterable[_Union[_twin_pb2.TwinRevision, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RollbackDesiredConfigRequest(_message.Message):
    __slots__ = ("device_id", "version", "note", "etag", "request_id")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    version: int
    note: str
    etag: str
    request_id: str
    def __init__(self, device_id: _Optional[str] = ..., version: _Optional[int] = ..., note: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RollbackDesiredConfigResponse(_message.Message):
    __slots__ = ("twin",)
    TWIN_FIELD_NUMBER: _ClassVar[int]
    twin: _twin_pb2.Twin
    def __init__(self, twin: _Optional[_Union[_twin_pb2.Twin, _Mapping]] = ...) -> None: ...

class PingRequest(_message.Message):
    __slots__ = ("payload",)
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    def __init__(self, payload: _Optional[bytes] = ...) -> None: ...

class PingResponse(_message.Message):
    __slots__ = ("payload", "gateway_id", "time")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    gateway_id: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, payload: _Optional[bytes] = ..., gateway_id: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
