// Decodes the golden vectors with the generated TypeScript code, compares the
// values with decoded.txt, and encodes them again to the same bytes. It also
// writes the canonical record: JSON.stringify is by definition what RFC 8785
// asks of numbers and strings, so this is the second opinion on canonical.json.
//
// Run it from the root of the repository.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { fromBinary, toBinary } from "@bufbuild/protobuf";

import { SignedTelemetrySchema } from "../../../gen/ts/gateway/telemetry/v1/signed_telemetry_pb.js";
import { type Metric, type Telemetry, TelemetrySchema } from "../../../gen/ts/gateway/telemetry/v1/telemetry_pb.js";

const root = join("proto", "vectors", "valid");

for (const name of readdirSync(root)) {
  const folder = join(root, name);
  if (!existsSync(join(folder, "payload.binpb"))) {
    continue;
  }
  test(name, () => {
    const payload = unwrap(readFileSync(join(folder, "payload.binpb")));
    const telemetry = fromBinary(TelemetrySchema, payload);
    assert.equal(dump(telemetry), readFileSync(join(folder, "decoded.txt"), "ascii"));
    assert.deepEqual(Buffer.from(toBinary(TelemetrySchema, telemetry)), Buffer.from(payload));
    const stamps = JSON.parse(readFileSync(join(folder, "stamps.json"), "utf8")) as Stamps;
    assert.equal(canonical(telemetry, stamps), readFileSync(join(folder, "canonical.json"), "utf8"));
  });
}

/** Takes telemetry out of its envelope, if there is one. */
function unwrap(payload: Uint8Array): Uint8Array {
  const number = (payload[0] ?? 0) >> 3;
  return number >= 11 && number <= 14 ? fromBinary(SignedTelemetrySchema, payload).payload : payload;
}

/** Returns the lines of decoded.txt. */
function dump(telemetry: Telemetry): string {
  const lines = [`schema_version ${telemetry.schemaVersion}`];
  const names = { device_id: telemetry.deviceId, message_id: telemetry.messageId, boot_id: telemetry.bootId };
  for (const [name, text] of Object.entries(names)) {
    if (text !== "") {
      lines.push(`${name} ${quote(text)}`);
    }
  }
  if (telemetry.sequence !== undefined) {
    lines.push(`sequence ${telemetry.sequence}`);
  }
  if (telemetry.observedAtMs !== undefined) {
    lines.push(`observed_at_us ${telemetry.observedAtMs * 1000n}`);
  }
  for (const metric of telemetry.metrics) {
    lines.push(`metric ${quote(metric.name)} ${kindAndValue(metric)}`);
  }
  for (const attribute of telemetry.attributes) {
    lines.push(`attribute ${quote(attribute.name)} ${quote(attribute.value)}`);
  }
  return lines.join("\n") + "\n";
}

/** Returns kind and value of a metric, a double by its bits. */
function kindAndValue({ value }: Metric): string {
  switch (value.case) {
    case "number": {
      const bits = Buffer.alloc(8);
      bits.writeDoubleBE(value.value);
      return `number ${bits.toString("hex")}`;
    }
    case "integer":
    case "boolean":
      return `${value.case} ${value.value}`;
    case "text":
      return `text ${quote(value.value)}`;
    case undefined:
      return "nothing";
  }
}

/** Bytes that are not printable ASCII, quotes and percent signs become %XX. */
function quote(text: string): string {
  const bytes = Array.from(Buffer.from(text, "utf8"), (byte) =>
    byte >= 0x20 && byte <= 0x7e && byte !== 0x22 && byte !== 0x25
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`,
  );
  return `"${bytes.join("")}"`;
}

/** What the gateway adds to a payload (stamps.json). */
interface Stamps {
  correlation_id: string;
  gateway_id: string;
  device_id: string;
  receive_ts: string;
  message_id?: string;
  source: string;
  traceparent?: string;
  verified?: boolean;
  delivery: string;
  replay_id?: string;
  revision?: number;
}

/** Writes the canonical record; members that are absent are left out. */
function canonical(telemetry: Telemetry, stamps: Stamps): string {
  const milliseconds = telemetry.observedAtMs;
  return object([
    ["correlation_id", text(stamps.correlation_id)],
    ["gateway_id", text(stamps.gateway_id)],
    ["device_id", text(stamps.device_id)],
    ["receive_ts", text(stamps.receive_ts)],
    ["observed_at", milliseconds === undefined ? undefined : text(new Date(Number(milliseconds)).toISOString().replace("Z", "000Z"))],
    ["boot_id", text(telemetry.bootId)],
    ["sequence", telemetry.sequence?.toString()],
    ["message_id", text(stamps.message_id ?? telemetry.messageId)],
    ["schema_version", telemetry.schemaVersion.toString()],
    ["metrics", object(telemetry.metrics.map((metric) => [metric.name, jsonValue(metric)]))],
    [
      "attributes",
      telemetry.attributes.length === 0
        ? undefined
        : object(telemetry.attributes.map((attribute) => [attribute.name, JSON.stringify(attribute.value)])),
    ],
    ["source", text(stamps.source)],
    ["traceparent", text(stamps.traceparent)],
    ["verified", stamps.verified === true ? "true" : undefined],
    ["delivery", text(stamps.delivery)],
    ["replay_id", text(stamps.replay_id)],
    ["revision", stamps.revision?.toString()],
  ]);
}

function object(members: [name: string, json: string | undefined][]): string {
  const written = members.filter(([, json]) => json !== undefined).map(([name, json]) => `${JSON.stringify(name)}:${json}`);
  return `{${written.join(",")}}`;
}

function text(value: string | undefined): string | undefined {
  return value === undefined || value === "" ? undefined : JSON.stringify(value);
}

function jsonValue({ value }: Metric): string {
  if (value.case === "integer") {
    return value.value.toString();
  }
  // The one number that JSON.stringify does not keep.
  return Object.is(value.value, -0) ? "-0" : JSON.stringify(value.value);
}
