package esp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/wmnsk/milenage"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A Samsung SM-T515 registers at Kamailio 5, 2020-04-17 (a public capture of the
// Open5GS project): the keys of its SIM, the challenge, and the first packet on the
// SA, a TCP SYN from port 6301 to 6100.
const (
	recordedK      = "8baf473f2f8fd09487cccbd7097c6862"
	recordedOPc    = "8e27b6af0e692e750f32667a3b14605d"
	recordedRAND   = "a0944c75ff3c4f0853a2f910aa1f104f"
	recordedPacket = "0000006500000001189d17d4ac39de1100000000a002fffffa3a0000020405140402080a0002e3df000000000103030701020206d24a1d02f9017e7695c87fc0"
)

// recordedTransform has the keys that follow from the SIM's.
func recordedTransform(t testing.TB) *Transform {
	t.Helper()
	_, ck, ik, _, err := milenage.NewWithOPc(unhex(t, recordedK), unhex(t, recordedOPc), unhex(t, recordedRAND), 0, 0).F2345()
	if err != nil {
		t.Fatal(err)
	}
	p := ipsec.Pair{Alg: ipsec.HMACMD5}
	tr, err := NewTransform(p, ipsec.Expand(p, ipsec.Key(ck), ipsec.Key(ik)))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestRecordedPacketOpensAndSealsToTheSameOctets(t *testing.T) {
	conformance.Shows(t, "IP-05")
	tr, packet := recordedTransform(t), unhex(t, recordedPacket)
	payload, next, err := tr.Open(bytes.Clone(packet))
	if err != nil || next != protoTCP {
		t.Fatalf("next header %d, %v; want TCP", next, err)
	}
	if got := fmt.Sprintf("%d->%d flags %02x", int(payload[0])<<8|int(payload[1]), int(payload[2])<<8|int(payload[3]), payload[13]); got != "6301->6100 flags 02" {
		t.Errorf("within is %s, want a SYN from 6301 to 6100", got)
	}
	buf := make([]byte, 1500)
	copy(buf[tr.Head():], payload)
	if got := tr.Seal(buf, len(payload), protoTCP, 101, 1); !bytes.Equal(got, packet) {
		t.Errorf("sealed %x\nwant   %x", got, packet)
	}
	packet[len(packet)-13] ^= 1
	if _, _, err := tr.Open(packet); !errors.Is(err, ErrICV) {
		t.Errorf("a changed packet gives %v", err)
	}
}

// newTransforms returns both ends of a pair, with keys made up.
func newTransforms(t testing.TB, p ipsec.Pair) (*Transform, *Transform) {
	t.Helper()
	m := ipsec.Expand(p, ipsec.Key([]byte("0123456789abcdef")), ipsec.Key([]byte("fedcba9876543210")))
	a, err1 := NewTransform(p, m)
	b, err2 := NewTransform(p, m)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func TestEveryLengthOfEveryPairComesBack(t *testing.T) {
	for _, p := range ipsec.Pairs {
		a, b := newTransforms(t, p)
		buf := make([]byte, 300)
		for n := range 200 {
			payload := bytes.Repeat([]byte{byte(n)}, n)
			copy(buf[a.Head():], payload)
			packet := a.Seal(buf, n, protoUDP, 0xc0ffee00, uint32(n+1))
			if len(packet) != a.Size(n) || len(packet) > n+MaxOverhead {
				t.Fatalf("%v: %d octets make %d, Size says %d, MaxOverhead %d", p, n, len(packet), a.Size(n), n+MaxOverhead)
			}
			if end := len(packet) - int(a.icvLen); end%4 != 0 {
				t.Fatalf("%v: the ICV stands at %d, not on a 4-octet boundary (RFC 4303 2.4)", p, end)
			}
			got, next, err := b.Open(packet)
			if err != nil || next != protoUDP || !bytes.Equal(got, payload) {
				t.Fatalf("%v: %d octets come back as %x, next %d, %v", p, n, got, next, err)
			}
		}
	}
}

func TestEveryChangedOctetFailsTheCheck(t *testing.T) {
	for _, p := range ipsec.Pairs {
		a, b := newTransforms(t, p)
		buf := make([]byte, 200)
		packet := bytes.Clone(a.Seal(buf, 61, protoUDP, 1<<31, 1))
		for i := range packet {
			changed := bytes.Clone(packet)
			changed[i] ^= 0x10
			if _, _, err := b.Open(changed); !errors.Is(err, ErrICV) {
				t.Fatalf("%v: octet %d changed gives %v", p, i, err)
			}
		}
		for n := range packet {
			if _, _, err := b.Open(bytes.Clone(packet[:n])); err == nil {
				t.Fatalf("%v: cut to %d octets it opens", p, n)
			}
		}
	}
}

func TestIVs(t *testing.T) {
	for _, p := range ipsec.Pairs {
		a, other := newTransforms(t, p)
		if a.ivLen == 0 {
			continue
		}
		seen := make(map[string]bool)
		for range 500 {
			for _, tr := range []*Transform{a, other} {
				iv := string(tr.Seal(make([]byte, 100), 20, protoUDP, 300, 1)[headerLen:tr.Head()])
				if seen[iv] {
					t.Fatalf("%v: IV %x comes twice under one key", p, iv)
				}
				seen[iv] = true
			}
		}
	}
}

func TestSealAndOpenAllocateNothing(t *testing.T) {
	for _, p := range ipsec.Pairs {
		a, b := newTransforms(t, p)
		buf := make([]byte, 1500)
		if n := testing.AllocsPerRun(200, func() {
			if _, _, err := b.Open(a.Seal(buf, 1000, protoUDP, 300, 7)); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v: %v allocations for sealing and opening a packet", p, n)
		}
	}
}
