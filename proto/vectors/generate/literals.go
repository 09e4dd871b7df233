package main

// literals returns the vectors that only JSON has: one value in several
// spellings, and what the schema does not know.
func literals() []vector {
	observed := func(us int64) telemetry {
		return telemetry{message: message(integer("n", 1)), observedUS: &us}
	}
	vectors := []vector{
		{
			name:  "json-numbers",
			about: "A number written without fraction and exponent that fits int64 is an integer, any other a double.",
			json: `{"schema_version":1,"metrics":{"whole":42,"fraction":42.0,"exponent":4.2e1,"capital":1E3,"plus":1e+3,"minus_zero":-0,` +
				`"above_int64":9223372036854775808,"below_int64":-9223372036854775809,"many_digits":0.1000000000000000055511151231257827,` +
				`"rounds_to_zero":1e-400}}`,
			telemetry: telemetry{message: message(integer("whole", 42), number("fraction", 42), number("exponent", 42), number("capital", 1000),
				number("plus", 1000), integer("minus_zero", 0), number("above_int64", 1<<63), number("below_int64", -1<<63),
				number("many_digits", 0.1), number("rounds_to_zero", 0))},
		},
		{
			name:      "json-whitespace",
			about:     "White space between tokens means nothing.",
			json:      "{ \"schema_version\" :\t1 ,\r\n  \"metrics\" : { \"n\" : 1 }\n}\n",
			telemetry: telemetry{message: message(integer("n", 1))},
		},
		{
			name:      "json-escaped-names",
			about:     "Names are compared after their escapes are resolved.",
			json:      `{"schema\u005fversion":1,"\u006detrics":{"\u006e":1}}`,
			telemetry: telemetry{message: message(integer("n", 1))},
		},
		{
			name:  "json-unknown-fields",
			about: "Fields that the schema does not know are no part of the record, down to the greatest depth of 4.",
			json: `{"schema_version":1,"vendor":{"a":{"b":{"c":null}},"list":[1,2.5,"x",[true]]},"metrics":{"n":1},"Metrics":{"n":2},` +
				`"extra":null,"correlation_id":"mine"}`,
			telemetry: telemetry{message: message(integer("n", 1))},
		},
		{
			name:      "json-observed-never",
			about:     "The first instant of the year 1 is how some languages write a time that was never set: absent.",
			json:      `{"schema_version":1,"observed_at":"0001-01-01T00:00:00Z","metrics":{"n":1}}`,
			telemetry: telemetry{message: message(integer("n", 1))},
		},
		{
			name:      "json-empty-attributes",
			about:     "No attributes and an empty object of them are the same.",
			json:      `{"schema_version":1,"metrics":{"n":1},"attributes":{}}`,
			telemetry: telemetry{message: message(integer("n", 1))},
		},
	}
	for _, o := range []struct {
		name, about, value string
		us                 int64
	}{
		{"seconds", "An observation on a whole second.", "2026-11-22T18:00:00Z", 1795370400000000},
		{"offset", "An observation with an offset comes out in UTC.", "2026-11-23T01:30:00.5+07:30", 1795370400500000},
		{"nanoseconds", "An observation finer than a microsecond is cut, not rounded.", "2026-11-22T18:00:00.123456999Z", 1795370400123456},
		{"first-year", "The earliest observation that can be told from none.", "0001-01-01T00:00:00.000001Z", -62135596799999999},
		{"last-year", "The latest observation that RFC 3339 can write.", "9999-12-31T23:59:59.999999Z", 253402300799999999},
	} {
		vectors = append(vectors, vector{
			name: "json-observed-" + o.name, about: o.about,
			json:      `{"schema_version":1,"observed_at":"` + o.value + `","metrics":{"n":1}}`,
			telemetry: observed(o.us),
		})
	}
	for i := range vectors {
		vectors[i].jsonOnly = true
	}
	return vectors
}
