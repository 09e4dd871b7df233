import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConfigLayer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONFIG_LAYER_UNSPECIFIED: _ClassVar[ConfigLayer]
    CONFIG_LAYER_DEFAULT: _ClassVar[ConfigLayer]
    CONFIG_LAYER_FILE: _ClassVar[ConfigLayer]
    CONFIG_LAYER_ENVIRONMENT: _ClassVar[ConfigLayer]
    CONFIG_LAYER_FLAG: _ClassVar[ConfigLayer]
    CONFIG_LAYER_API: _ClassVar[ConfigLayer]

class SinkEffectKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SINK_EFFECT_KIND_UNSPECIFIED: _ClassVar[SinkEffectKind]
    SINK_EFFECT_KIND_ADDED: _ClassVar[SinkEffectKind]
    SINK_EFFECT_KIND_CHANGED: _ClassVar[SinkEffectKind]
    SINK_EFFECT_KIND_REMOVED: _ClassVar[SinkEffectKind]
CONFIG_LAYER_UNSPECIFIED: ConfigLayer
CONFIG_LAYER_DEFAULT: ConfigLayer
CONFIG_LAYER_FILE: ConfigLayer
CONFIG_LAYER_ENVIRONMENT: ConfigLayer
CONFIG_LAYER_FLAG: ConfigLayer
CONFIG_LAYER_API: ConfigLayer
SINK_EFFECT_KIND_UNSPECIFIED: SinkEffectKind
SINK_EFFECT_KIND_ADDED: SinkEffectKind
SINK_EFFECT_KIND_CHANGED: SinkEffectKind
SINK_EFFECT_KIND_REMOVED: SinkEffectKind

class ConfigValue(_message.Message):
    __slots__ = ("key", "value", "layer", "origin", "secret", "needs_restart")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    NEEDS_RESTART_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    layer: ConfigLayer
    origin: str
    secret: bool
    needs_restart: bool
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ..., layer: _Optional[_Union[ConfigLayer, str]] = ..., origin: _Optional[str] = ..., secret: bool = ..., needs_restart: bool = ...) -> None: ...

class ConfigPlan(_message.Message):
    __slots__ = ("plan_id", "changes", "sink_effects", "problems", "expire_time")
    PLAN_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    SINK_EFFECTS_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    plan_id: str
    changes: _containers.RepeatedCompositeFieldContainer[ConfigChange]
    sink_effects: _containers.RepeatedCompositeFieldContainer[SinkEffect]
    problems: _containers.RepeatedCompositeFieldContainer[ConfigProblem]
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, plan_id: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[ConfigChange, _Mapping]]] = ..., sink_effects: _Optional[_Iterable[_Union[SinkEffect, _Mapping]]] = ..., problems: _Optional[_Iterable[_Union[ConfigProblem, _Mapping]]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ConfigChange(_message.Message):
    __slots__ = ("key", "old_value", "new_value", "secret", "needs_restart")
    KEY_FIELD_NUMBER: _ClassVar[int]
    OLD_VALUE_FIELD_NUMBER: _ClassVar[int]
    NEW_VALUE_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    NEEDS_RESTART_FIELD_NUMBER: _ClassVar[int]
    key: str
    old_value: str
    new_value: str
    secret: bool
    needs_restart: bool
    def __init__(self, key: _Optional[str] = ..., old_value: _Optional[str] = ..., new_value: _Optional[str] = ..., secret: bool = ..., needs_restart: bool = ...) -> None: ...

class SinkEffect(_message.Message):
    __slots__ = ("sink_name", "kind", "waiting_count", "dead_letter_count", "discarded_count", "backfill_count")
    SINK_NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    WAITING_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_COUNT_FIELD_NUMBER: _ClassVar[int]
    DISCARDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    BACKFILL_COUNT_FIELD_NUMBER: _ClassVar[int]
    sink_name: str
    kind: SinkEffectKind
    waiting_count: int
    dead_letter_count: int
    discarded_count: int
    backfill_count: int
    def __init__(self, sink_name: _Optional[str] = ..., kind: _Optional[_Union[SinkEffectKind, str]] = ..., waiting_count: _Optional[int] = ..., dead_letter_count: _Optional[int] = ..., discarded_count: _Optional[int] = ..., backfill_count: _Optional[int] = ...) -> None: ...

class ConfigProblem(_message.Message):
    __slots__ = ("key", "line", "message", "hint")
    KEY_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    key: str
    line: int
    message: str
    hint: str
    def __init__(self, key: _Optional[str] = ..., line: _Optional[int] = ..., message: _Optional[str] = ..., hint: _Optional[str] = ...) -> None: ...
