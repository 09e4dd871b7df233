package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// redacted is what is shown in place of a secret.
const redacted = "[redacted]"

// maxSecretBytes bounds the contents of a file that holds a secret.
const maxSecretBytes = 64 << 10

// Secret is text that is never printed: whoever formats, logs or encodes it gets
// "[redacted]", or nothing when it is empty. The text is behind a pointer because
// fmt calls no methods on unexported fields of a struct that holds a Secret.
type Secret struct{ text *string }

// NewSecret hides text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text, for the one place that sends it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.text == nil }

// Equal reports whether both hide the same text.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }

func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// GoString serves %#v.
func (s Secret) GoString() string { return fmt.Sprintf("config.Secret(%q)", s.String()) }

// MarshalText serves encoders, JSON and YAML among them.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue serves slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// readSecret returns the contents of a file without one trailing newline. Who may
// read the file is not judged: container platforms mount secrets for everybody
// inside the container. Its errors say nothing of the contents.
func readSecret(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", errors.New("cannot be opened: " + cause(err))
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSecretBytes+1))
	switch text := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r"); {
	case err != nil:
		return "", errors.New("cannot be read: " + cause(err))
	case len(content) > maxSecretBytes:
		return "", fmt.Errorf("is larger than %s", Size(maxSecretBytes))
	case text == "":
		return "", errors.New("is empty")
	default:
		return text, nil
	}
}
