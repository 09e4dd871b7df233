package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"google.golang.org/protobuf/proto"

	"combotto.io/gateway/gen/go/gateway/telemetry/v1"
)

// signed writes the vector of a signed message, with the key that signed it.
//
// The key is derived from a public text, so that the vector can be written again
// and nobody mistakes the key for a secret. The signature is deterministic
// (RFC 6979); devices may use a random one, verification is the same.
func signed(files map[string][]byte) error {
	const folder = "valid/signed"
	key, err := testKey("combotto gateway telemetry test key, not a secret")
	if err != nil {
		return err
	}
	inner := &telemetryv1.Telemetry{
		SchemaVersion: 1, BootId: "a91f", Sequence: proto.Uint64(42),
		Metrics: []*telemetryv1.Metric{number("temperature_c", 23.5)},
	}
	payload, err := encode(inner)
	if err != nil {
		return err
	}
	s := stamped()
	s.About = "A payload signed with ECDSA P-256, verified with the key beside it."
	s.Verified = true
	signature, err := sign(key, s.DeviceID, payload)
	if err != nil {
		return err
	}
	envelope, err := encode(&telemetryv1.SignedTelemetry{
		Payload:   payload,
		KeyId:     "test-1",
		Algorithm: telemetryv1.SignatureAlgorithm_SIGNATURE_ALGORITHM_ECDSA_P256_SHA256,
		Signature: signature,
	})
	if err != nil {
		return err
	}
	if err := add(files, envelope, folder, "payload.binpb"); err != nil {
		return err
	}
	if err := spellKey(files, folder, key); err != nil {
		return err
	}
	return spellMeaning(files, folder, telemetry{message: inner}, s)
}

// sign signs what a device signs: the name of the schema, the device and the
// payload, parted by zero bytes that neither name can hold.
func sign(key *ecdsa.PrivateKey, deviceID string, payload []byte) ([]byte, error) {
	signed := append([]byte("gateway.telemetry.v1\x00"+deviceID+"\x00"), payload...)
	digest := sha256.Sum256(signed)
	return key.Sign(nil, digest[:], crypto.SHA256)
}

// testKey derives a key from a text. The hash is below the order of the curve,
// as all but one in 2^32 are.
func testKey(seed string) (*ecdsa.PrivateKey, error) {
	scalar := sha256.Sum256([]byte(seed))
	return ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
}

func spellKey(files map[string][]byte, folder string, key *ecdsa.PrivateKey) error {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode private key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encode public key: %w", err)
	}
	if err := add(files, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), folder, "test-1.private.pem"); err != nil {
		return err
	}
	return add(files, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), folder, "test-1.public.pem")
}
