package diameter

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"

	"github.com/gocscf/gocscf/testbed/conformance"
)

const (
	mv = avp.Mbit | avp.Vbit
	v  = avp.Vbit
)

func sessionAVP() []byte { return goodAVP(avp.SessionID, avp.Mbit, 0, []byte("raw;1;2")) }
func nameAVP() []byte    { return goodAVP(testName, mv, Vendor3GPP, []byte("name")) }

func body(avps ...[]byte) []byte {
	return append(append(sessionAVP(), nameAVP()...), bytes.Join(avps, nil)...)
}

// nested makes groups inside groups.
func nested(depth int) []byte {
	b := goodAVP(testNumber, mv, Vendor3GPP, []byte{0, 0, 0, 1})
	for range depth {
		b = goodAVP(testGroup, mv, Vendor3GPP, b)
	}
	return b
}

// hostile are messages that the sender is owed an error for.
var hostile = []struct {
	name   string
	frame  []byte
	want   ResultCode
	failed uint32 // code of the innermost AVP in Failed-AVP, 0 for none
	size   int    // octets of that AVP's value, -1 for any
}{
	{"unknown command of a known application", rawMessage(body(), func(h *diam.Header) { h.CommandCode = 901 }), CommandUnsupported, 0, 0},
	{"base command under an application", rawMessage(body(), func(h *diam.Header) { h.CommandCode = DeviceWatchdog }), CommandUnsupported, 0, 0},
	{"unknown command of the base protocol", rawMessage(body(), func(h *diam.Header) { h.ApplicationID, h.CommandCode = 0, 274 }), CommandUnsupported, 0, 0},
	{"unknown application", rawMessage(body(), func(h *diam.Header) { h.ApplicationID = 16777217 }), ApplicationUnsupported, 0, 0},
	{"version 2", rawMessage(body(), func(h *diam.Header) { h.Version = 2 }), UnsupportedVersion, 0, 0},
	{"length not a multiple of 4", func() []byte {
		return append(rawMessage(body(), func(h *diam.Header) { h.MessageLength += 2 }), 0, 0)
	}(), InvalidMessageLength, 0, 0},
	{"R and E bit", rawMessage(body(), func(h *diam.Header) { h.CommandFlags |= FlagError }), InvalidHdrBits, 0, 0},
	{"header alone", rawMessage(nil, nil), Success, 0, 0}, // what is missing is the application's to say
	{"over the bound", rawMessage(body(goodAVP(9999, 0, 0, make([]byte, defaultMaxMessage))), nil), InvalidMessageLength, 0, 0},

	{"four octets after the last AVP", rawMessage(body([]byte{0, 0, 1, 7}), nil), InvalidAVPLength, 263, 0},
	{"AVP length 0", rawMessage(body(rawAVP(testNumber, mv, Vendor3GPP, 0, nil)), nil), InvalidAVPLength, testNumber, 4},
	{"AVP length 7", rawMessage(body(rawAVP(avp.UserName, avp.Mbit, 0, 7, nil)), nil), InvalidAVPLength, avp.UserName, 0},
	{"AVP with V bit, length 8", rawMessage(body(rawAVP(testName, mv, Vendor3GPP, 8, nil)), nil), InvalidAVPLength, testName, 0},
	{"AVP with V bit ends before the vendor", rawMessage(body(rawAVP(9999, v, Vendor3GPP, 12, nil)[:8]), nil), InvalidAVPLength, 9999, 0},
	{"AVP longer than the message", rawMessage(body(rawAVP(testName, mv, Vendor3GPP, 500, []byte("x"))), nil), InvalidAVPLength, testName, 0},
	{"AVP of 16 MiB", rawMessage(body(rawAVP(testName, mv, Vendor3GPP, 0xffffff, []byte("x"))), nil), InvalidAVPLength, testName, 0},
	{"unknown AVP longer than the message", rawMessage(body(rawAVP(9999, 0, 0, 500, []byte("x"))), nil), InvalidAVPLength, 9999, 0},
	{"Unsigned32 of 3 octets", rawMessage(body(goodAVP(testNumber, mv, Vendor3GPP, []byte{1, 2, 3})), nil), InvalidAVPLength, testNumber, 4},
	{"Unsigned32 of 8 octets", rawMessage(body(goodAVP(testNumber, mv, Vendor3GPP, make([]byte, 8))), nil), InvalidAVPLength, testNumber, 4},
	{"Unsigned64 of 4 octets", rawMessage(body(goodAVP(avp.OCFeatureVector, 0, 0, make([]byte, 4))), nil), InvalidAVPLength, avp.OCFeatureVector, 8},
	{"Time of 5 octets", rawMessage(body(goodAVP(avp.EventTimestamp, avp.Mbit, 0, make([]byte, 5))), nil), InvalidAVPLength, avp.EventTimestamp, 4},
	{"group that ends inside a member's header", rawMessage(body(goodAVP(testGroup, mv, Vendor3GPP, []byte{0, 0, 35})), nil), InvalidAVPLength, 0x2300, 0},
	{"group with a member longer than itself", rawMessage(body(goodAVP(testGroup, mv, Vendor3GPP, rawAVP(testNumber, mv, Vendor3GPP, 99, make([]byte, 4)))), nil), InvalidAVPLength, testNumber, 4},
	{"group with a member of length 0", rawMessage(body(goodAVP(testGroup, mv, Vendor3GPP, make([]byte, 8))), nil), InvalidAVPLength, 0, 0},
	{"groups nest beyond the bound", rawMessage(body(nested(maxDepth+1)), nil), InvalidAVPValue, testGroup, -1},
	{"more AVPs than the bound", rawMessage(body(bytes.Repeat(goodAVP(9999, 0, 0, nil), maxAVPs)), nil), UnableToComply, 0, 0},

	{"UTF8String that is not UTF-8", rawMessage(body(goodAVP(avp.UserName, avp.Mbit, 0, []byte("a\xff"))), nil), InvalidAVPValue, avp.UserName, 2},
	{"DiameterIdentity with a space", rawMessage(body(goodAVP(avp.OriginHost, avp.Mbit, 0, []byte("a b"))), nil), InvalidAVPValue, avp.OriginHost, 3},
	{"DiameterIdentity that is empty", rawMessage(body(goodAVP(avp.OriginHost, avp.Mbit, 0, nil)), nil), InvalidAVPValue, avp.OriginHost, 0},
	{"Address of family 0", rawMessage(body(goodAVP(9004, v, Vendor3GPP, make([]byte, 6))), nil), InvalidAVPValue, 9004, 6},
	{"Address of family IPv4 with 16 octets", rawMessage(body(goodAVP(9004, v, Vendor3GPP, append([]byte{0, 1}, make([]byte, 16)...))), nil), InvalidAVPValue, 9004, 18},

	{"unknown AVP with the M bit", rawMessage(body(goodAVP(9999, avp.Mbit, 0, []byte("abcd"))), nil), AVPUnsupported, 9999, 4},
	{"unknown vendor with the M bit and a known code", rawMessage(body(goodAVP(testGroup, mv, 50, []byte("ab"))), nil), AVPUnsupported, testGroup, 2},
	{"unknown AVP with the M bit inside a group", rawMessage(body(goodAVP(testGroup, mv, Vendor3GPP,
		append(goodAVP(testNumber, mv, Vendor3GPP, make([]byte, 4)), goodAVP(9999, avp.Mbit, 0, []byte("abcd"))...))), nil), AVPUnsupported, 9999, 4},
	{"reserved flag bits", rawMessage(body(goodAVP(avp.UserName, avp.Mbit|1, 0, []byte("u"))), nil), InvalidAVPBits, avp.UserName, 1},

	{"for another host", rawMessage(body(goodAVP(avp.DestinationHost, avp.Mbit, 0, []byte("else.example.net"))), nil), UnableToDeliver, 0, 0},
	{"for another realm", rawMessage(body(goodAVP(avp.DestinationRealm, avp.Mbit, 0, []byte("example.org"))), nil), RealmNotServed, 0, 0},
}

// harmless are messages that look odd and are served.
var harmless = map[string][]byte{
	"as it should be":                   rawMessage(body(), nil),
	"unknown AVP without the M bit":     rawMessage(body(goodAVP(494, v, 50, []byte("kam"))), nil),
	"unknown vendor, code of a group":   rawMessage(body(goodAVP(testGroup, v, 50, []byte("no AVP"))), nil),
	"unknown vendor, code of a number":  rawMessage(body(goodAVP(testNumber, v, 50, []byte("x"))), nil),
	"vendor 0xffffffff":                 rawMessage(body(goodAVP(testGroup, v, 0xffffffff, []byte("x"))), nil),
	"V bit with vendor 0":               rawMessage(body(goodAVP(avp.UserName, mv, 0, []byte("u"))), nil),
	"P bit on an AVP":                   rawMessage(body(goodAVP(avp.UserName, avp.Mbit|avp.Pbit, 0, []byte("u"))), nil),
	"reserved bits in the header":       rawMessage(body(), func(h *diam.Header) { h.CommandFlags |= 0x0f }),
	"empty group":                       rawMessage(body(goodAVP(avp.OCSupportedFeatures, 0, 0, nil)), nil),
	"padding that is not zero":          rawMessage(body(append(goodAVP(avp.UserName, avp.Mbit, 0, []byte("abc"))[:11], 0xff)), nil),
	"no padding at the end of a group":  rawMessage(body(goodAVP(avp.OCSupportedFeatures, 0, 0, goodAVP(9999, 0, 0, []byte("abc"))[:11])), nil),
	"groups at the bound":               rawMessage(body(nested(maxDepth)), nil),
	"broken AVP inside Failed-AVP":      rawMessage(body(goodAVP(avp.FailedAVP, avp.Mbit, 0, rawAVP(testNumber, mv, Vendor3GPP, 99, nil))), nil),
	"number of 0 octets in Failed-AVP":  rawMessage(body(goodAVP(avp.FailedAVP, avp.Mbit, 0, goodAVP(testNumber, mv, Vendor3GPP, nil))), nil),
	"the host's name in another case":   rawMessage(body(goodAVP(avp.DestinationHost, avp.Mbit, 0, []byte("HSS.Example.NET"))), nil),
	"this host, a realm made from it":   rawMessage(body(goodAVP(avp.DestinationHost, avp.Mbit, 0, []byte("hss.example.net")), goodAVP(avp.DestinationRealm, avp.Mbit, 0, []byte("net"))), nil),
	"an AVP just under the bound":       rawMessage(body(goodAVP(9999, 0, 0, make([]byte, defaultMaxMessage-200))), nil),
	"as many AVPs as the bound":         rawMessage(body(bytes.Repeat(goodAVP(9999, 0, 0, nil), maxAVPs-2)), nil),
	"a retransmission without original": rawMessage(body(), func(h *diam.Header) { h.CommandFlags |= FlagRetransmitted; h.EndToEndID = 99 }),
}

// innermost follows groups of one member.
func innermost(a *AVP) *AVP {
	for {
		g := Group(a)
		if len(g) != 1 {
			return a
		}
		a = g[0]
	}
}

func TestHostileOctetsGetTheirCodeAndTheConnectionLives(t *testing.T) {
	conformance.Shows(t, "CX-25")
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		server(t, mem, "hss.example.net", "hss:3868", nil)
		p := dialRaw(t, mem, "hss:3868")
		p.handshake("raw.example.net")
		for _, c := range hostile {
			p.write(c.frame)
			m := p.read()
			if m.HopByHop != 4711 || m.EndToEnd != 4712 || m.IsRequest() {
				t.Errorf("%s: answer is %v", c.name, m)
			}
			if got := result(m); got != c.want {
				t.Errorf("%s: answered %v, want %v (%q)", c.name, got, c.want, errorMessage(m))
			}
			if e := m.Flags&FlagError != 0; e != c.want.isProtocolError() {
				t.Errorf("%s: E bit %v with %v", c.name, e, c.want)
			}
			if m.OriginHost() != "hss.example.net" {
				t.Errorf("%s: Origin-Host %q", c.name, m.OriginHost())
			}
			failed := Group(m.Find(avp.FailedAVP, 0))
			if (len(failed) == 1) != (c.failed != 0 || c.name == "group with a member of length 0") {
				t.Errorf("%s: Failed-AVP holds %d AVPs", c.name, len(failed))
			} else if len(failed) == 1 {
				f := innermost(failed[0])
				if f.Code != c.failed || c.size >= 0 && f.Data.Len() != c.size {
					t.Errorf("%s: Failed-AVP holds AVP %d of %d octets, want %d of %d", c.name, f.Code, f.Data.Len(), c.failed, c.size)
				}
			}
			p.alive()
		}
		for name, frame := range harmless {
			p.write(frame)
			if m := p.read(); result(m) != Success {
				t.Errorf("%s: answered %v (%q)", name, result(m), errorMessage(m))
			}
			p.alive()
		}
		for _, b := range [][]byte{body(), {1, 2, 3, 4}} {
			p.write(rawMessage(b, func(h *diam.Header) { h.CommandFlags = 0 }))
			p.alive()
		}
	})
}

func TestFramesThatLoseTheBoundariesEndTheConnection(t *testing.T) {
	for _, c := range []struct {
		name   string
		octets []byte
		answer bool
	}{
		{"length 19, whole header", rawMessage(nil, func(h *diam.Header) { h.MessageLength = 19 }), true},
		{"length 0, whole header", rawMessage(nil, func(h *diam.Header) { h.MessageLength = 0 }), true},
		{"length 4, nothing more", []byte{1, 0, 0, 4}, false},
		{"nine headers of version 2 in a row", bytes.Repeat(rawMessage(nil, func(h *diam.Header) { h.Version = 2; h.CommandFlags = 0 }), maxBadFrames+1), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := newMemNet()
				server(t, mem, "hss.example.net", "hss:3868", nil)
				p := dialRaw(t, mem, "hss:3868")
				p.handshake("raw.example.net")
				p.write(c.octets)
				if c.answer {
					if m := p.read(); result(m) != InvalidMessageLength {
						t.Errorf("answered %v", result(m))
					}
				}
				p.expectClosed(time.Second)
				// The node itself goes on.
				q := dialRaw(t, mem, "hss:3868")
				q.handshake("raw.example.net")
				q.alive()
			})
		})
	}
}

func TestErrorAnswersRepeatWhatTheSenderNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		server(t, mem, "hss.example.net", "hss:3868", nil)
		p := dialRaw(t, mem, "hss:3868")
		p.handshake("raw.example.net")
		proxy := goodAVP(avp.ProxyInfo, avp.Mbit, 0, append(goodAVP(avp.ProxyHost, avp.Mbit, 0, []byte("dra")), goodAVP(avp.ProxyState, avp.Mbit, 0, []byte("s"))...))
		for name, frame := range map[string][]byte{
			"refused by the header": rawMessage(body(proxy), func(h *diam.Header) { h.CommandCode = 901 }),
			"refused by an AVP":     rawMessage(body(proxy, goodAVP(9999, avp.Mbit, 0, nil)), nil),
			"served":                rawMessage(body(proxy), nil),
		} {
			p.write(frame)
			m := p.read()
			if m.SessionID() != "raw;1;2" || m.All()[0].Code != avp.SessionID {
				t.Errorf("%s: Session-Id %q", name, m.SessionID())
			}
			if Text(Find(Group(m.Find(avp.ProxyInfo, 0)), avp.ProxyHost, 0)) != "dra" {
				t.Errorf("%s: Proxy-Info is lost", name)
			}
			if s, ok := Enumerated(m.Find(avp.AuthSessionState, 0)); !ok || s != 1 {
				t.Errorf("%s: Auth-Session-State is lost", name)
			}
		}
	})
}

func TestErrorsHoldNoValues(t *testing.T) {
	const key = "K0123456789abcde"
	for _, flags := range []uint8{mv, mv | 1} {
		for _, cut := range []int{0, 3} {
			b := goodAVP(testName, flags, Vendor3GPP, []byte(key))
			b[7] += byte(cut)
			_, fault := testDictionary.Decode(rawMessage(b, nil))
			if flags == mv && cut == 0 {
				continue
			}
			if fault == nil {
				t.Fatal("no fault")
			}
			for _, s := range []string{fault.Error(), fmt.Sprintf("%v", fault.Reason)} {
				if bytes.Contains([]byte(s), []byte(key[:8])) {
					t.Errorf("the value shows in %q", s)
				}
			}
		}
	}
}
