// Publishes one message with mqtt.js and exits when it is acknowledged:
//
//   node publish.mjs mqtt://127.0.0.1:1883 devices/dev-1/telemetry '{"schema_version":1,...}'
import mqtt from "mqtt";

const [url, topic, payload] = process.argv.slice(2);
const client = await mqtt.connectAsync(url, { protocolVersion: 5, connectTimeout: 10_000, reconnectPeriod: 0 });
await client.publishAsync(topic, payload, { qos: 1, properties: { contentType: "application/json" } });
await client.endAsync();
