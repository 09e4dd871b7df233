"""Decodes the golden vectors with the generated Python code, compares the values
with decoded.txt, and encodes them again to the same bytes.

    PYTHONPATH=gen/py python test/vectors/py/vectors_test.py
"""

import pathlib
import struct
import unittest

from gateway.telemetry.v1.signed_telemetry_pb2 import SignedTelemetry
from gateway.telemetry.v1.telemetry_pb2 import Metric, Telemetry

VECTORS = pathlib.Path(__file__).parents[3] / "proto" / "vectors" / "valid"


def quote(text: str) -> str:
    """Bytes that are not printable ASCII, quotes and percent signs become %XX."""
    return '"%s"' % "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and chr(byte) not in '"%' else f"%{byte:02X}"
        for byte in text.encode()
    )


def value(metric: Metric) -> str:
    """Returns kind and value of a metric, a double by its bits."""
    match metric.WhichOneof("value"):
        case "number":
            return "number " + struct.pack(">d", metric.number).hex()
        case "integer":
            return f"integer {metric.integer}"
        case "boolean":
            return "boolean true" if metric.boolean else "boolean false"
        case "text":
            return "text " + quote(metric.text)
    return "nothing"


def dump(telemetry: Telemetry) -> str:
    """Returns the lines of decoded.txt."""
    lines = [f"schema_version {telemetry.schema_version}"]
    for name in ("device_id", "message_id", "boot_id"):
        if text := getattr(telemetry, name):
            lines.append(f"{name} {quote(text)}")
    if telemetry.HasField("sequence"):
        lines.append(f"sequence {telemetry.sequence}")
    if telemetry.HasField("observed_at_ms"):
        lines.append(f"observed_at_us {telemetry.observed_at_ms * 1000}")
    for metric in telemetry.metrics:
        lines.append(f"metric {quote(metric.name)} {value(metric)}")
    for attribute in telemetry.attributes:
        lines.append(f"attribute {quote(attribute.name)} {quote(attribute.value)}")
    return "\n".join(lines) + "\n"


def unwrap(payload: bytes) -> bytes:
    """Takes telemetry out of its envelope, if there is one."""
    if not 11 <= payload[0] >> 3 <= 14:
        return payload
    return SignedTelemetry.FromString(payload).payload


class VectorsTest(unittest.TestCase):
    def test_valid(self) -> None:
        payloads = sorted(VECTORS.glob("*/payload.binpb"))
        self.assertTrue(payloads)
        for path in payloads:
            with self.subTest(path.parent.name):
                payload = unwrap(path.read_bytes())
                telemetry = Telemetry.FromString(payload)
                decoded = (path.parent / "decoded.txt").read_text(encoding="ascii")
                self.assertEqual(dump(telemetry), decoded)
                self.assertEqual(telemetry.SerializeToString(deterministic=True), payload)
        print(f"Python: {len(payloads)} vectors")


if __name__ == "__main__":
    unittest.main()
