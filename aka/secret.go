package aka

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strconv"
)

// Secret holds key material: K, OP, OPc, TOP, TOPc, CK, IK, RES or a digest
// password. It shows only its length however it is printed, marshalled or logged.
//
// Copies share the same octets, so that Wipe reaches all of them. The zero value
// is the empty secret, which is the password of a response that carries auts.
type Secret struct {
	// Comparing with == would compare addresses; this makes it not compile.
	_ [0]func()
	// fmt calls no methods on unexported fields of other people's structs. It
	// prints a nested pointer as an address, but with a verb that does not suit
	// pointers it follows the first; so the octets stand behind two.
	p *secretBox
}

type secretBox struct{ octets *[]byte }

// NewSecret copies b, of any length, into a Secret. The caller keeps b and may
// clear it.
func NewSecret(b []byte) Secret {
	if len(b) == 0 {
		return Secret{}
	}
	// All in one allocation: keys are short, and there are several for each phone.
	m := new(struct {
		secretBox
		own  []byte
		room [32]byte
	})
	m.own = append(m.room[:0], b...)
	m.octets = &m.own
	return Secret{p: &m.secretBox}
}

// ownSecret takes b over without copying.
func ownSecret(b []byte) Secret { return Secret{p: &secretBox{&b}} }

// ParseSecret reads hexadecimal digits, two an octet, in either case. It fails
// with a *ParseError that does not repeat the text.
func ParseSecret(s string) (Secret, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return Secret{}, &ParseError{Field: "key", Problem: hexProblem(s, err)}
	}
	return NewSecret(b), nil
}

// Bytes returns the octets themselves, not a copy: do not change them, and copy
// what must outlive Wipe.
func (s Secret) Bytes() []byte {
	if s.p == nil {
		return nil
	}
	return *s.p.octets
}

// Len is the number of octets.
func (s Secret) Len() int { return len(s.Bytes()) }

// Equal compares in a time that depends on the lengths alone.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare(s.Bytes(), other.Bytes()) == 1
}

// Wipe overwrites the octets with zeros, for this Secret and all its copies; the
// length stays. What was taken out with Bytes and copied is not reached.
func (s Secret) Wipe() { clear(s.Bytes()) }

// String gives the length only.
func (s Secret) String() string { return "[hidden, " + strconv.Itoa(s.Len()) + " octets]" }

// GoString gives the length only.
func (s Secret) GoString() string { return "aka.Secret" + s.String() }

// Format gives the length only, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText gives the length only, and so cannot be read back.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON gives the length only, and so cannot be read back.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(strconv.Quote(s.String())), nil }

// LogValue gives log/slog the length only.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// UnmarshalText reads hexadecimal digits as ParseSecret does, for configuration
// files.
func (s *Secret) UnmarshalText(text []byte) error {
	v, err := ParseSecret(string(text))
	if err != nil {
		return err
	}
	*s = v
	return nil
}
