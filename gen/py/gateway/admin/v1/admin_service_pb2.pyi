import datetime

from gateway.admin.v1 import audit_event_pb2 as _audit_event_pb2
from gateway.admin.v1 import config_pb2 as _config_pb2
from gateway.admin.v1 import finding_pb2 as _finding_pb2
from gateway.admin.v1 import ledger_pb2 as _ledger_pb2
from gateway.admin.v1 import message_journey_pb2 as _message_journey_pb2
from gateway.admin.v1 import status_pb2 as _status_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: _status_pb2.Status
    def __init__(self, status: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class WatchStatusRequest(_message.Message):
    __slots__ = ("interval",)
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    interval: _duration_pb2.Duration
    def __init__(self, interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchStatusResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: _status_pb2.Status
    def __init__(self, status: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class GetMessageRequest(_message.Message):
    __slots__ = ("correlation_id", "message_id", "sequence")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    correlation_id: str
    message_id: _message_journey_pb2.DeviceMessageId
    sequence: _message_journey_pb2.DeviceSequence
    def __init__(self, correlation_id: _Optional[str] = ..., message_id: _Optional[_Union[_message_journey_pb2.DeviceMessageId, _Mapping]] = ..., sequence: _Optional[_Union[_message_journey_pb2.DeviceSequence, _Mapping]] = ...) -> None: ...

class GetMessageResponse(_message.Message):
    __slots__ = ("journey",)
    JOURNEY_FIELD_NUMBER: _ClassVar[int]
    journey: _message_journey_pb2.MessageJourney
    def __init__(self, journey: _Optional[_Union[_message_journey_pb2.MessageJourney, _Mapping]] = ...) -> None: ...

class VerifyLedgerRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VerifyLedgerResponse(_message.Message):
    __slots__ = ("balanced", "ledger", "mismatches", "mismatch_count", "message_count")
    BALANCED_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    MISMATCHES_FIELD_NUMBER: _ClassVar[int]
    MISMATCH_COUNT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    balanced: bool
    ledger: _ledger_pb2.Ledger
    mismatches: _containers.RepeatedCompositeFieldContainer[_ledger_pb2.LedgerMismatch]
    mismatch_count: int
    message_count: int
    def __init__(self, balanced: bool = ..., ledger: _Optional[_Union[_ledger_pb2.Ledger, _Mapping]] = ..., mismatches: _Optional[_Iterable[_Union[_ledger_pb2.LedgerMismatch, _Mapping]]] = ..., mismatch_count: _Optional[int] = ..., message_count: _Optional[int] = ...) -> None: ...

class DiagnoseRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DiagnoseResponse(_message.Message):
    __slots__ = ("findings",)
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[_finding_pb2.Finding]
    def __init__(self, findings: _Optional[_Iterable[_Union[_finding_pb2.Finding, _Mapping]]] = ...) -> None: ...

class GetForecastRequest(_message.Message):
    __slots__ = ("window",)
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    window: _duration_pb2.Duration
    def __init__(self, window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GetForecastResponse(_message.Message):
    __slots__ = ("forecast",)
    FORECAST_FIELD_NUMBER: _ClassVar[int]
    forecast: _ledger_pb2.Forecast
    def __init__(self, forecast: _Optional[_Union[_ledger_pb2.Forecast, _Mapping]] = ...) -> None: ...

class ListLossesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListLossesResponse(_message.Message):
    __slots__ = ("losses", "next_page_token")
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    losses: _containers.RepeatedCompositeFieldContainer[_ledger_pb2.Loss]
    next_page_token: str
    def __init__(self, losses: _Optional[_Iterable[_Union[_ledger_pb2.Loss, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class BackupQueueRequest(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class BackupQueueResponse(_message.Message):
    __slots__ = ("path", "size_bytes", "message_count", "dead_letter_count")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_COUNT_FIELD_NUMBER: _ClassVar[int]
    path: str
    size_bytes: int
    message_count: int
    dead_letter_count: int
    def __init__(self, path: _Optional[str] = ..., size_bytes: _Optional[int] = ..., message_count: _Optional[int] = ..., dead_letter_count: _Optional[int] = ...) -> None: ...

class GetConfigRequest(_message.Message):
    __slots__ = ("key_prefix",)
    KEY_PREFIX_FIELD_NUMBER: _ClassVar[int]
    key_prefix: str
    def __init__(self, key_prefix: _Optional[str] = ...) -> None: ...

class GetConfigResponse(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[_config_pb2.ConfigValue]
    def __init__(self, values: _Optional[_Iterable[_Union[_config_pb2.ConfigValue, _Mapping]]] = ...) -> None: ...

class PlanConfigRequest(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: str
    def __init__(self, document: _Optional[str] = ...) -> None: ...

class PlanConfigResponse(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: _config_pb2.ConfigPlan
    def __init__(self, plan: _Optional[_Union[_config_pb2.ConfigPlan, _Mapping]] = ...) -> None: ...

class ApplyConfigRequest(_message.Message):
    __slots__ = ("plan_id", "confirm_timeout", "request_id")
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    plan_id: str
    confirm_timeout: _duration_pb2.Duration
    request_id: str
    def __init__(self, plan_id: _Optional[str] = ..., confirm_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class ApplyConfigResponse(_message.Message):
    __slots__ = ("plan", "confirm_timeout", "restart_keys")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RESTART_KEYS_FIELD_NUMBER: _ClassVar[int]
    plan: _config_pb2.ConfigPlan
    confirm_timeout: _duration_pb2.Duration
    restart_keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, plan: _Optional[_Union[_config_pb2.ConfigPlan, _Mapping]] = ..., confirm_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., restart_keys: _Optional[_Iterable[str]] = ...) -> None: ...

class ConfirmConfigRequest(_message.Message):
    __slots__ = ("plan_id",)
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    plan_id: str
    def __init__(self, plan_id: _Optional[str] = ...) -> None: ...

class ConfirmConfigResponse(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: _config_pb2.ConfigPlan
    def __init__(self, plan: _Optional[_Union[_config_pb2.ConfigPlan, _Mapping]] = ...) -> None: ...

class ListAuditEventsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListAuditEventsResponse(_message.Message):
    __slots__ = ("audit_events", "next_page_token")
    AUDIT_EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    audit_events: _containers.RepeatedCompositeFieldContainer[_audit_event_pb2.AuditEvent]
    next_page_token: str
    def __init__(self, audit_events: _Optional[_Iterable[_Union[_audit_event_pb2.AuditEvent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
