/* Decodes the golden vectors with nanopb, as a board does, compares the values
 * with decoded.txt, and encodes them again to the same bytes.
 *
 *     vectors_test proto/vectors/valid/full/ ...
 *
 * Folders without payload.binpb are passed over. Exits 1 when anything differs,
 * and when nothing was compared. */

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <pb_decode.h>
#include <pb_encode.h>

#include "gateway/telemetry/v1/signed_telemetry.pb.h"
#include "gateway/telemetry/v1/telemetry.pb.h"

typedef gateway_telemetry_v1_Telemetry telemetry_t;
typedef gateway_telemetry_v1_SignedTelemetry signed_telemetry_t;
typedef gateway_telemetry_v1_Metric metric_t;
typedef gateway_telemetry_v1_Attribute attribute_t;

#define PAYLOAD_BYTES 65536 /* ingest.max_payload */
#define METRICS_MAX 256
#define ATTRIBUTES_MAX 64

/* A board handles one metric at a time; here they are kept, to be encoded
 * again. */
static struct {
    metric_t metrics[METRICS_MAX];
    size_t metric_count;
    attribute_t attributes[ATTRIBUTES_MAX];
    size_t attribute_count;
} kept;

/* A text that grows to a fixed size; what does not fit is a failure. */
typedef struct {
    char data[4 * PAYLOAD_BYTES];
    size_t length;
} text_t;

static text_t expected, actual;

static void text_printf(text_t *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t room = sizeof text->data - text->length;
    int wanted = vsnprintf(text->data + text->length, room, format, args);
    va_end(args);
    if (wanted > 0) {
        text->length += (size_t)wanted < room ? (size_t)wanted : room - 1;
    }
}

/* Bytes that are not printable ASCII, quotes and percent signs become %XX. */
static void text_quote(text_t *text, const char *value)
{
    text_printf(text, "\"");
    for (; *value != '\0'; value++) {
        unsigned char byte = (unsigned char)*value;
        bool plain = byte >= ' ' && byte <= '~' && byte != '"' && byte != '%';
        text_printf(text, plain ? "%c" : "%%%02X", byte);
    }
    text_printf(text, "\"");
}

static void dump_name(text_t *text, const char *field, const char *value)
{
    if (value[0] != '\0') {
        text_printf(text, "%s ", field);
        text_quote(text, value);
        text_printf(text, "\n");
    }
}

static void dump_metric(text_t *text, const metric_t *metric)
{
    text_printf(text, "metric ");
    text_quote(text, metric->name);
    switch (metric->which_value) {
    case gateway_telemetry_v1_Metric_number_tag: {
        uint64_t bits;
        memcpy(&bits, &metric->value.number, sizeof bits);
        text_printf(text, " number %016" PRIx64, bits);
        break;
    }
    case gateway_telemetry_v1_Metric_integer_tag:
        text_printf(text, " integer %" PRId64, metric->value.integer);
        break;
    case gateway_telemetry_v1_Metric_boolean_tag:
        text_printf(text, " boolean %s", metric->value.boolean ? "true" : "false");
        break;
    case gateway_telemetry_v1_Metric_text_tag:
        text_printf(text, " text ");
        text_quote(text, metric->value.text);
        break;
    default:
        text_printf(text, " nothing");
    }
    text_printf(text, "\n");
}

static void dump(text_t *text, const telemetry_t *telemetry)
{
    text->length = 0;
    text_printf(text, "schema_version %" PRIu32 "\n", telemetry->schema_version);
    dump_name(text, "device_id", telemetry->device_id);
    dump_name(text, "message_id", telemetry->message_id);
    dump_name(text, "boot_id", telemetry->boot_id);
    if (telemetry->has_sequence) {
        text_printf(text, "sequence %" PRIu64 "\n", telemetry->sequence);
    }
    if (telemetry->has_observed_at_ms) {
        text_printf(text, "observed_at_us %" PRId64 "\n", telemetry->observed_at_ms * 1000);
    }
    for (size_t i = 0; i < kept.metric_count; i++) {
        dump_metric(text, &kept.metrics[i]);
    }
    for (size_t i = 0; i < kept.attribute_count; i++) {
        text_printf(text, "attribute ");
        text_quote(text, kept.attributes[i].name);
        text_printf(text, " ");
        text_quote(text, kept.attributes[i].value);
        text_printf(text, "\n");
    }
}

/* nanopb calls these once for each metric and each attribute that it meets. */

static bool decode_metric(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    (void)field, (void)arg;
    return kept.metric_count < METRICS_MAX &&
           pb_decode(stream, gateway_telemetry_v1_Metric_fields, &kept.metrics[kept.metric_count++]);
}

static bool decode_attribute(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    (void)field, (void)arg;
    return kept.attribute_count < ATTRIBUTES_MAX &&
           pb_decode(stream, gateway_telemetry_v1_Attribute_fields, &kept.attributes[kept.attribute_count++]);
}

/* And these once for the whole list. */

static bool encode_metrics(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
    (void)arg;
    for (size_t i = 0; i < kept.metric_count; i++) {
        if (!pb_encode_tag_for_field(stream, field) ||
            !pb_encode_submessage(stream, gateway_telemetry_v1_Metric_fields, &kept.metrics[i])) {
            return false;
        }
    }
    return true;
}

static bool encode_attributes(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
    (void)arg;
    for (size_t i = 0; i < kept.attribute_count; i++) {
        if (!pb_encode_tag_for_field(stream, field) ||
            !pb_encode_submessage(stream, gateway_telemetry_v1_Attribute_fields, &kept.attributes[i])) {
            return false;
        }
    }
    return true;
}

/* The payload of a signed message: a stretch of a buffer that is there anyway. */
typedef struct {
    uint8_t data[PAYLOAD_BYTES];
    size_t length;
} bytes_t;

static bytes_t payload, inner, again;

static bool decode_bytes(pb_istream_t *stream, const pb_field_t *field, void **arg)
{
    (void)field;
    bytes_t *bytes = *arg;
    bytes->length = stream->bytes_left;
    return bytes->length <= sizeof bytes->data && pb_read(stream, bytes->data, bytes->length);
}

static bool encode_bytes(pb_ostream_t *stream, const pb_field_t *field, void *const *arg)
{
    const bytes_t *bytes = *arg;
    return pb_encode_tag_for_field(stream, field) && pb_encode_string(stream, bytes->data, bytes->length);
}

static const char *decode_telemetry(const bytes_t *bytes, telemetry_t *telemetry)
{
    *telemetry = (telemetry_t)gateway_telemetry_v1_Telemetry_init_zero;
    telemetry->metrics.funcs.decode = decode_metric;
    telemetry->attributes.funcs.decode = decode_attribute;
    kept.metric_count = kept.attribute_count = 0;
    pb_istream_t stream = pb_istream_from_buffer(bytes->data, bytes->length);
    return pb_decode(&stream, gateway_telemetry_v1_Telemetry_fields, telemetry) ? NULL : PB_GET_ERROR(&stream);
}

static const char *encode_telemetry(telemetry_t *telemetry, bytes_t *bytes)
{
    telemetry->metrics.funcs.encode = encode_metrics;
    telemetry->attributes.funcs.encode = encode_attributes;
    pb_ostream_t stream = pb_ostream_from_buffer(bytes->data, sizeof bytes->data);
    bool encoded = pb_encode(&stream, gateway_telemetry_v1_Telemetry_fields, telemetry);
    bytes->length = stream.bytes_written;
    return encoded ? NULL : PB_GET_ERROR(&stream);
}

/* A signed message begins with a field that Telemetry does not have. */
static bool is_signed(const bytes_t *bytes)
{
    return bytes->length > 0 && bytes->data[0] >> 3 >= 11 && bytes->data[0] >> 3 <= 14;
}

static bool same(const bytes_t *left, const bytes_t *right)
{
    return left->length == right->length && memcmp(left->data, right->data, left->length) == 0;
}

/* Takes the telemetry out of its envelope, and checks that the envelope can be
 * put around it again. */
static const char *open_envelope(void)
{
    signed_telemetry_t message = gateway_telemetry_v1_SignedTelemetry_init_zero;
    message.payload.funcs.decode = decode_bytes;
    message.payload.arg = &inner;
    pb_istream_t in = pb_istream_from_buffer(payload.data, payload.length);
    if (!pb_decode(&in, gateway_telemetry_v1_SignedTelemetry_fields, &message)) {
        return PB_GET_ERROR(&in);
    }
    message.payload.funcs.encode = encode_bytes;
    pb_ostream_t out = pb_ostream_from_buffer(again.data, sizeof again.data);
    if (!pb_encode(&out, gateway_telemetry_v1_SignedTelemetry_fields, &message)) {
        return PB_GET_ERROR(&out);
    }
    again.length = out.bytes_written;
    return same(&payload, &again) ? NULL : "the envelope is encoded to other bytes";
}

/* Reads a file of the folder; false when there is none. */
static bool read_file(const char *folder, const char *name, void *data, size_t size, size_t *length)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return false;
    }
    *length = fread(data, 1, size, file);
    fclose(file);
    return true;
}

/* Returns what is wrong with a vector, or NULL. */
static const char *check(const char *folder)
{
    telemetry_t telemetry;
    const char *error;
    if (!read_file(folder, "decoded.txt", expected.data, sizeof expected.data, &expected.length)) {
        return "decoded.txt is missing";
    }
    if (!is_signed(&payload)) {
        inner = payload;
    } else if ((error = open_envelope()) != NULL) {
        return error;
    }
    if ((error = decode_telemetry(&inner, &telemetry)) != NULL) {
        return error;
    }
    dump(&actual, &telemetry);
    if (actual.length != expected.length || memcmp(actual.data, expected.data, actual.length) != 0) {
        return "the values differ";
    }
    if ((error = encode_telemetry(&telemetry, &again)) != NULL) {
        return error;
    }
    /* nanopb drops fields that the schema does not know; what it writes is then
     * the beginning. */
    if (again.length > inner.length || memcmp(again.data, inner.data, again.length) != 0) {
        return "the values are encoded to other bytes";
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int compared = 0, failed = 0;
    for (int i = 1; i < argc; i++) {
        if (!read_file(argv[i], "payload.binpb", payload.data, sizeof payload.data, &payload.length)) {
            continue;
        }
        compared++;
        const char *error = check(argv[i]);
        if (error != NULL) {
            failed++;
            fprintf(stderr, "%s: %s\n", argv[i], error);
        }
    }
    printf("C: %d vectors, %d failed\n", compared, failed);
    return failed > 0 || compared == 0;
}
