package main

import (
	"bytes"
	"os"
	"regexp"
	"testing"
)

const printed = "../buf/validate/validate.proto"

// The file in the repository is what the pinned module prints.
func TestPrint_NoDrift(t *testing.T) {
	want, err := os.ReadFile(printed)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := printRules(&got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s has drifted: run `go run . > %s` in third_party/vendorproto", printed, printed)
	}
}

// The pinned module is the one that the server validates with.
func TestModule_SameAsServer(t *testing.T) {
	here, server := pinned(t, "go.mod"), pinned(t, "../../go.mod")
	if here != server {
		t.Errorf("go.mod pins %s, the server's pins %s: `go get` the latter here and print again", here, server)
	}
}

// pinned returns the version of the rules' module that a go.mod names.
func pinned(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`buf\.build/gen/go/bufbuild/protovalidate/protocolbuffers/go (v\S+)`).FindSubmatch(text)
	if match == nil {
		t.Fatalf("%s does not name the module of the rules", name)
	}
	return string(match[1])
}
