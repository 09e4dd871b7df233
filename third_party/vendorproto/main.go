// Command vendorproto prints buf/validate/validate.proto from the descriptor
// inside the Go module that the server validates with. The contracts are thus
// compiled against exactly the rules that the server runs, without a schema
// registry and without a network.
//
//	go run . > ../buf/validate/validate.proto
//
// It is a module of its own, so that the printer stays out of the product's
// go.mod. The test in this folder fails when the printed file, or the version
// that it was printed from, is not the server's.
package main

import (
	"fmt"
	"io"
	"os"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/jhump/protoreflect/desc"
	"github.com/jhump/protoreflect/desc/protoprint"
)

// notice heads the file: what it is, whose it is, how it got here.
const notice = `// Copyright 2023-2026 Buf Technologies, Inc.
// Licensed under the Apache License, Version 2.0 (third_party/buf/LICENSE).
//
// Printed by third_party/vendorproto from the descriptor in the Go module
// buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go. Do not edit.

`

func main() {
	if err := printRules(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vendorproto:", err)
		os.Exit(1)
	}
}

// printRules writes the .proto source of the rules.
func printRules(to io.Writer) error {
	file, err := desc.WrapFile(validate.File_buf_validate_validate_proto)
	if err != nil {
		return fmt.Errorf("read descriptor: %w", err)
	}
	if _, err := io.WriteString(to, notice); err != nil {
		return err
	}
	printer := protoprint.Printer{Compact: true}
	return printer.PrintProtoFile(file, to)
}
