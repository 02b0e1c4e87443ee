package cx

import (
	"testing"

	"github.com/fiorix/go-diameter/v4/diam"

	"github.com/gocscf/gocscf/diameter"
)

func frame(command uint32, flags uint8, body []byte) []byte {
	h := diam.Header{Version: 1, MessageLength: uint32(diameter.HeaderLen + len(body)), CommandFlags: flags, CommandCode: command, ApplicationID: Application}
	return append(h.Serialize(), body...)
}

func emptyAnswer(command uint32) Answer {
	return map[uint32]Answer{UserAuthorization: &UAA{}, ServerAssignment: &SAA{}, LocationInfo: &LIA{},
		MultimediaAuth: &MAA{}, RegistrationTermination: &RTA{}, PushProfile: &PPA{}}[command]
}

// fuzzCommand decodes octets as the request and as the answer of one command.
// What decodes is encoded and decoded again, with the same outcome.
func fuzzCommand(f *testing.F, command uint32) {
	n := newNode(f, "fuzz", nil)
	for i, q := range requests() {
		if q.command() != command {
			continue
		}
		f.Add(EncodeRequest(n, q).Append(nil)[diameter.HeaderLen:])
		a := answers()[i]
		c := newEncoder()
		a.fields(c)
		f.Add(append(c.b, (&diameter.Message{AVPs: []*diameter.AVP{a.header().Result.AVP()}}).Append(nil)[diameter.HeaderLen:]...))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<16 {
			return
		}
		if raw := frame(command, diameter.FlagRequest, body); len(Redact(raw)) != len(raw) {
			t.Fatal("Redact changed the length")
		}
		if m, fault := dictionary.Decode(frame(command, diameter.FlagRequest, body)); fault == nil {
			q := emptyRequest(command)
			if DecodeRequest(m, q) == nil {
				again, fault := dictionary.Decode(EncodeRequest(n, q).Append(nil))
				if fault != nil {
					t.Fatal(fault)
				}
				DecodeRequest(again, emptyRequest(command))
			}
		}
		if m, fault := dictionary.Decode(frame(command, 0, body)); fault == nil {
			a := emptyAnswer(command)
			DecodeAnswer(m, a)
			c := newEncoder()
			a.fields(c)
			if len(c.b) > 2*len(body)+64 {
				t.Fatalf("%d octets became %d", len(body), len(c.b))
			}
			c.free()
		}
	})
}

func FuzzUserAuthorization(f *testing.F)       { fuzzCommand(f, UserAuthorization) }
func FuzzServerAssignment(f *testing.F)        { fuzzCommand(f, ServerAssignment) }
func FuzzLocationInfo(f *testing.F)            { fuzzCommand(f, LocationInfo) }
func FuzzMultimediaAuth(f *testing.F)          { fuzzCommand(f, MultimediaAuth) }
func FuzzRegistrationTermination(f *testing.F) { fuzzCommand(f, RegistrationTermination) }
func FuzzPushProfile(f *testing.F)             { fuzzCommand(f, PushProfile) }

func BenchmarkUAR(b *testing.B) {
	n := newNode(b, "bench", nil)
	q := &UAR{RequestHeader: RequestHeader{DestinationRealm: domain}, UserName: impi, PublicIdentity: impu, VisitedNetworkID: domain}
	raw := EncodeRequest(n, q).Append(nil)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, 1024)
		for range b.N {
			buf = EncodeRequest(n, q).Append(buf[:0])
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			m, fault := dictionary.Decode(raw)
			if fault != nil {
				b.Fatal(fault)
			}
			if fault = DecodeRequest(m, new(UAR)); fault != nil {
				b.Fatal(fault)
			}
		}
	})
}
