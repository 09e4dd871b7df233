import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecordFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECORD_FORMAT_UNSPECIFIED: _ClassVar[RecordFormat]
    RECORD_FORMAT_NDJSON: _ClassVar[RecordFormat]
    RECORD_FORMAT_JSON: _ClassVar[RecordFormat]
    RECORD_FORMAT_PROTOBUF: _ClassVar[RecordFormat]
    RECORD_FORMAT_PARQUET: _ClassVar[RecordFormat]

class Compression(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPRESSION_UNSPECIFIED: _ClassVar[Compression]
    COMPRESSION_NONE: _ClassVar[Compression]
    COMPRESSION_GZIP: _ClassVar[Compression]
    COMPRESSION_ZSTD: _ClassVar[Compression]

class ConnectProtocol(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONNECT_PROTOCOL_UNSPECIFIED: _ClassVar[ConnectProtocol]
    CONNECT_PROTOCOL_CONNECT: _ClassVar[ConnectProtocol]
    CONNECT_PROTOCOL_GRPC: _ClassVar[ConnectProtocol]
    CONNECT_PROTOCOL_GRPC_WEB: _ClassVar[ConnectProtocol]
RECORD_FORMAT_UNSPECIFIED: RecordFormat
RECORD_FORMAT_NDJSON: RecordFormat
RECORD_FORMAT_JSON: RecordFormat
RECORD_FORMAT_PROTOBUF: RecordFormat
RECORD_FORMAT_PARQUET: RecordFormat
COMPRESSION_UNSPECIFIED: Compression
COMPRESSION_NONE: Compression
COMPRESSION_GZIP: Compression
COMPRESSION_ZSTD: Compression
CONNECT_PROTOCOL_UNSPECIFIED: ConnectProtocol
CONNECT_PROTOCOL_CONNECT: ConnectProtocol
CONNECT_PROTOCOL_GRPC: ConnectProtocol
CONNECT_PROTOCOL_GRPC_WEB: ConnectProtocol

class Destination(_message.Message):
    __slots__ = ("file", "http", "connect", "s3", "kafka", "mqtt")
    FILE_FIELD_NUMBER: _ClassVar[int]
    HTTP_FIELD_NUMBER: _ClassVar[int]
    CONNECT_FIELD_NUMBER: _ClassVar[int]
    S3_FIELD_NUMBER: _ClassVar[int]
    KAFKA_FIELD_NUMBER: _ClassVar[int]
    MQTT_FIELD_NUMBER: _ClassVar[int]
    file: FileDestination
    http: HttpDestination
    connect: ConnectDestination
    s3: S3Destination
    kafka: KafkaDestination
    mqtt: MqttDestination
    def __init__(self, file: _Optional[_Union[FileDestination, _Mapping]] = ..., http: _Optional[_Union[HttpDestination, _Mapping]] = ..., connect: _Optional[_Union[ConnectDestination, _Mapping]] = ..., s3: _Optional[_Union[S3Destination, _Mapping]] = ..., kafka: _Optional[_Union[KafkaDestination, _Mapping]] = ..., mqtt: _Optional[_Union[MqttDestination, _Mapping]] = ...) -> None: ...

class FileDestination(_message.Message):
    __slots__ = ("dir",)
    DIR_FIELD_NUMBER: _ClassVar[int]
    dir: str
    def __init__(self, dir: _Optional[str] = ...) -> None: ...

class HttpDestination(_message.Message):
    __slots__ = ("url", "format", "compression", "headers", "credentials", "tls", "timeout")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    URL_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    url: str
    format: RecordFormat
    compression: Compression
    headers: _containers.ScalarMap[str, str]
    credentials: Credentials
    tls: TlsSettings
    timeout: _duration_pb2.Duration
    def __init__(self, url: _Optional[str] = ..., format: _Optional[_Union[RecordFormat, str]] = ..., compression: _Optional[_Union[Compression, str]] = ..., headers: _Optional[_Mapping[str, str]] = ..., credentials: _Optional[_Union[Credentials, _Mapping]] = ..., tls: _Optional[_Union[TlsSettings, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ConnectDestination(_message.Message):
    __slots__ = ("url", "protocol", "compression", "credentials", "tls", "timeout")
    URL_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    url: str
    protocol: ConnectProtocol
    compression: Compression
    credentials: Credentials
    tls: TlsSettings
    timeout: _duration_pb2.Duration
    def __init__(self, url: _Optional[str] = ..., protocol: _Optional[_Union[ConnectProtocol, str]] = ..., compression: _Optional[_Union[Compression, str]] = ..., credentials: _Optional[_Union[Credentials, _Mapping]] = ..., tls: _Optional[_Union[TlsSettings, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class S3Destination(_message.Message):
    __slots__ = ("endpoint", "bucket", "prefix", "region", "format", "path_style", "credentials", "tls")
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    PATH_STYLE_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    endpoint: str
    bucket: str
    prefix: str
    region: str
    format: RecordFormat
    path_style: bool
    credentials: Credentials
    tls: TlsSettings
    def __init__(self, endpoint: _Optional[str] = ..., bucket: _Optional[str] = ..., prefix: _Optional[str] = ..., region: _Optional[str] = ..., format: _Optional[_Union[RecordFormat, str]] = ..., path_style: bool = ..., credentials: _Optional[_Union[Credentials, _Mapping]] = ..., tls: _Optional[_Union[TlsSettings, _Mapping]] = ...) -> None: ...

class KafkaDestination(_message.Message):
    __slots__ = ("brokers", "topic", "format", "compression", "credentials", "tls")
    BROKERS_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    brokers: _containers.RepeatedScalarFieldContainer[str]
    topic: str
    format: RecordFormat
    compression: Compression
    credentials: Credentials
    tls: TlsSettings
    def __init__(self, brokers: _Optional[_Iterable[str]] = ..., topic: _Optional[str] = ..., format: _Optional[_Union[RecordFormat, str]] = ..., compression: _Optional[_Union[Compression, str]] = ..., credentials: _Optional[_Union[Credentials, _Mapping]] = ..., tls: _Optional[_Union[TlsSettings, _Mapping]] = ...) -> None: ...

class MqttDestination(_message.Message):
    __slots__ = ("url", "topic", "format", "client_id", "credentials", "tls")
    URL_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    url: str
    topic: str
    format: RecordFormat
    client_id: str
    credentials: Credentials
    tls: TlsSettings
    def __init__(self, url: _Optional[str] = ..., topic: _Optional[str] = ..., format: _Optional[_Union[RecordFormat, str]] = ..., client_id: _Optional[str] = ..., credentials: _Optional[_Union[Credentials, _Mapping]] = ..., tls: _Optional[_Union[TlsSettings, _Mapping]] = ...) -> None: ...

class Credentials(_message.Message):
    __slots__ = ("bearer_token", "password", "access_key")
    BEARER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    ACCESS_KEY_FIELD_NUMBER: _ClassVar[int]
    bearer_token: str
    password: PasswordCredentials
    access_key: AccessKeyCredentials
    def __init__(self, bearer_token: _Optional[str] = ..., password: _Optional[_Union[PasswordCredentials, _Mapping]] = ..., access_key: _Optional[_Union[AccessKeyCredentials, _Mapping]] = ...) -> None: ...

class PasswordCredentials(_message.Message):
    __slots__ = ("username", "password", "mechanism")
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    PASSWORD_FIELD_NUMBER: _ClassVar[int]
    MECHANISM_FIELD_NUMBER: _ClassVar[int]
    username: str
    password: str
    mechanism: str
    def __init__(self, username: _Optional[str] = ..., password: _Optional[str] = ..., mechanism: _Optional[str] = ...) -> None: ...

class AccessKeyCredentials(_message.Message):
    __slots__ = ("access_key_id", "secret_access_key")
    ACCESS_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SECRET_ACCESS_KEY_FIELD_NUMBER: _ClassVar[int]
    access_key_id: str
    secret_access_key: str
    def __init__(self, access_key_id: _Optional[str] = ..., secret_access_key: _Optional[str] = ...) -> None: ...

class TlsSettings(_message.Message):
    __slots__ = ("ca_file", "cert_file", "key_file", "server_name")
    CA_FILE_FIELD_NUMBER: _ClassVar[int]
    CERT_FILE_FIELD_NUMBER: _ClassVar[int]
    KEY_FILE_FIELD_NUMBER: _ClassVar[int]
    SERVER_NAME_FIELD_NUMBER: _ClassVar[int]
    ca_file: str
    cert_file: str
    key_file: str
    server_name: str
    def __init__(self, ca_file: _Optional[str] = ..., cert_file: _Optional[str] = ..., key_file: _Optional[str] = ..., server_name: _Optional[str] = ...) -> None: ...
