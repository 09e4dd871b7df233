import datetime

from gateway.telemetry.v1 import payload_pb2 as _payload_pb2
from gateway.telemetry.v1 import signed_telemetry_pb2 as _signed_telemetry_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeviceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEVICE_STATE_UNSPECIFIED: _ClassVar[DeviceState]
    DEVICE_STATE_ENABLED: _ClassVar[DeviceState]
    DEVICE_STATE_DISABLED: _ClassVar[DeviceState]
    DEVICE_STATE_DELETED: _ClassVar[DeviceState]

class SignaturePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIGNATURE_POLICY_UNSPECIFIED: _ClassVar[SignaturePolicy]
    SIGNATURE_POLICY_OFF: _ClassVar[SignaturePolicy]
    SIGNATURE_POLICY_OPTIONAL: _ClassVar[SignaturePolicy]
    SIGNATURE_POLICY_REQUIRED: _ClassVar[SignaturePolicy]
DEVICE_STATE_UNSPECIFIED: DeviceState
DEVICE_STATE_ENABLED: DeviceState
DEVICE_STATE_DISABLED: DeviceState
DEVICE_STATE_DELETED: DeviceState
SIGNATURE_POLICY_UNSPECIFIED: SignaturePolicy
SIGNATURE_POLICY_OFF: SignaturePolicy
SIGNATURE_POLICY_OPTIONAL: SignaturePolicy
SIGNATURE_POLICY_REQUIRED: SignaturePolicy

class Device(_message.Message):
    __slots__ = ("device_id", "display_name", "labels", "encoding", "signatures", "signing_keys", "state", "presence", "create_time", "update_time", "etag")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEYS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    display_name: str
    labels: _containers.ScalarMap[str, str]
    encoding: _payload_pb2.Encoding
    signatures: SignaturePolicy
    signing_keys: _containers.RepeatedCompositeFieldContainer[SigningKey]
    state: DeviceState
    presence: DevicePresence
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    def __init__(self, device_id: _Optional[str] = ..., display_name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., encoding: _Optional[_Union[_payload_pb2.Encoding, str]] = ..., signatures: _Optional[_Union[SignaturePolicy, str]] = ..., signing_keys: _Optional[_Iterable[_Union[SigningKey, _Mapping]]] = ..., state: _Optional[_Union[DeviceState, str]] = ..., presence: _Optional[_Union[DevicePresence, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ...) -> None: ...

class SigningKey(_message.Message):
    __slots__ = ("key_id", "algorithm", "public_key", "create_time")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    algorithm: _signed_telemetry_pb2.SignatureAlgorithm
    public_key: bytes
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, key_id: _Optional[str] = ..., algorithm: _Optional[_Union[_signed_telemetry_pb2.SignatureAlgorithm, str]] = ..., public_key: _Optional[bytes] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DevicePresence(_message.Message):
    __slots__ = ("connected", "last_seen_time", "change_time", "status", "remote_address", "boot_id", "sequence")
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    CHANGE_TIME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REMOTE_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    connected: bool
    last_seen_time: _timestamp_pb2.Timestamp
    change_time: _timestamp_pb2.Timestamp
    status: bytes
    remote_address: str
    boot_id: str
    sequence: int
    def __init__(self, connected: bool = ..., last_seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., change_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., status: _Optional[bytes] = ..., remote_address: _Optional[str] = ..., boot_id: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...
