package cx

import (
	"bytes"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func ptr[T any](v T) *T { return &v }

var fullItem = AuthDataItem{
	ItemNumber: 1, Scheme: SchemeAKAv1, Authenticate: []byte("0123456789abcdef0123456789ABCDEF"),
	Authorization: Secret("xresxres"), Context: []byte{1}, ConfidentialityKey: Secret("ckckckckckckckck"),
	IntegrityKey: Secret("ikikikikikikikik"),
	Digest: &DigestAuthenticate{Realm: domain, Algorithm: "MD5", QoP: "auth", HA1: Secret("ha1"),
		AlternateAlgorithm: "SHA-256", AlternateHA1: Secret("ha2")},
	FramedIPAddress: []byte{10, 0, 0, 1}, FramedIPv6Prefix: []byte{0, 64, 0x20, 1}, FramedInterfaceID: 7,
	LineIdentifiers: [][]byte{{1, 2}, {3}},
}

var fullRestoration = SCSCFRestorationInfo{
	UserName: "001010000000001@" + domain,
	Restorations: []RestorationInfo{{
		Path: "<sip:pcscf;lr>", Contact: "<sip:ue@10.0.0.1>", InitialCSeq: 3, CallID: "abc",
		Subscription:      &SubscriptionInfo{CallID: "s", From: "<sip:a>;tag=1", To: "<sip:a>;tag=2", RecordRoute: "<sip:r;lr>", Contact: "<sip:c>"},
		PCSCFSubscription: &SubscriptionInfo{CallID: "p", From: "<sip:p>;tag=1", To: "<sip:p>;tag=2", Contact: "<sip:d>"},
	}, {Path: "<sip:p2>", Contact: "<sip:ue2>"}},
	RegistrationTimeOut: time.Unix(1_800_000_000, 0), Scheme: SchemeAKAv1,
}

var fullFeatures = []SupportedFeatures{{Vendor: diameter.Vendor3GPP, ListID: 1, List: 5, Required: true}, {Vendor: 0, ListID: 0, List: 0}}

func requestHeader() RequestHeader {
	return RequestHeader{DestinationHost: "peer." + domain, DestinationRealm: domain, SupportedFeatures: fullFeatures}
}

const impi, impu = "001010000000001@" + domain, "sip:001010000000001@" + domain

// requests has every field of every request set.
func requests() []Request {
	return []Request{
		&UAR{requestHeader(), impi, impu, domain, RegistrationAndCapabilities, UAREmergencyRegistration},
		&SAR{requestHeader(), impi, []string{impu, "tel:+491"}, "sip:!.*!", "sip:scscf." + domain, NoAssignment, UserDataAvailable,
			&fullRestoration, MultipleRegistration, ptr(SessionPriority(0)), SARPCSCFRestoration,
			&FailedPCSCF{"pcscf." + domain, []netip.Addr{netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("2001:db8::1")}}},
		&LIR{requestHeader(), impu, true, ptr(RegistrationAndCapabilities), ptr(SessionPriority(2))},
		&MAR{requestHeader(), impi, impu, 3, fullItem, "sip:scscf." + domain},
		&RTR{requestHeader(), impi, &Identities{[]string{impi, "other@" + domain}}, []string{impu}, DeregistrationReason{RemoveSCSCF, "bye"}, RTRReferenceLocationChange},
		&PPR{requestHeader(), impi, "<IMSSubscription/>", &ChargingInformation{"aaa://e1", "aaa://e2", "pcrf", "aaa://c2"}, &fullItem,
			&AllowedWebRTC{[]string{"waf"}, []string{"wwsf"}}},
	}
}

func answerHeader() AnswerHeader {
	return AnswerHeader{Result: diameter.Base(diameter.Success), SupportedFeatures: fullFeatures}
}

// answers has every field of every answer set.
func answers() []Answer {
	return []Answer{
		&UAA{answerHeader(), "scscf." + domain, &ServerCapabilities{[]uint32{1, 2}, []uint32{3}, []string{"sip:s1", "sip:s2"}}},
		&SAA{answerHeader(), impi, "<IMSSubscription/>", &ChargingInformation{PrimaryCollection: "pcrf"}, &Identities{[]string{impi}},
			&Identities{[]string{"x@y"}}, LooseRouteRequired, []SCSCFRestorationInfo{fullRestoration}, "sip:other", "sip:!.*!", PriviledgedSender,
			&AllowedWebRTC{[]string{"waf"}, nil}},
		&LIA{answerHeader(), "sip:scscf." + domain, &ServerCapabilities{Optional: []uint32{9}}, "sip:!.*!", LIAPSIDirectRouting},
		&MAA{answerHeader(), impi, impu, 2, []AuthDataItem{fullItem, {ItemNumber: 2, Scheme: SchemeAKAv1}}},
		&RTA{answerHeader(), &Identities{[]string{impi}}, []EmergencyRegistration{{impi, impu}}},
		&PPA{answerHeader()},
	}
}

func wire(t testing.TB, m *diameter.Message) *diameter.Message {
	t.Helper()
	out, fault := dictionary.Decode(m.Append(nil))
	if fault != nil {
		t.Fatal(fault)
	}
	return out
}

func TestEveryFieldOfEveryRequestSurvivesTheWire(t *testing.T) {
	n := newNode(t, "client", nil)
	for _, q := range requests() {
		t.Run(CommandName(q.command(), true), func(t *testing.T) {
			m := wire(t, EncodeRequest(n, q))
			got := emptyRequest(q.command())
			if fault := DecodeRequest(m, got); fault != nil {
				t.Fatal(fault)
			}
			h := got.header()
			if h.SessionID == "" || h.OriginHost != n.OriginHost() || h.OriginRealm != domain {
				t.Errorf("header %+v", h)
			}
			opts := cmpopts.IgnoreFields(RequestHeader{}, "SessionID", "OriginHost", "OriginRealm")
			if d := cmp.Diff(q, got, opts, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Error(d)
			}
		})
	}
}

func emptyRequest(command uint32) Request {
	return map[uint32]Request{UserAuthorization: &UAR{}, ServerAssignment: &SAR{}, LocationInfo: &LIR{},
		MultimediaAuth: &MAR{}, RegistrationTermination: &RTR{}, PushProfile: &PPR{}}[command]
}

// echo answers each request with the answer of the table.
type echo struct{ answers []Answer }

func answerOf[A any](e *echo) *A {
	for _, a := range e.answers {
		if v, ok := any(a).(*A); ok {
			return v
		}
	}
	panic("no such answer")
}

func (e *echo) UAR(_ *diameter.Request, _ *UAR, f func(*UAA) error) { _ = f(answerOf[UAA](e)) }
func (e *echo) SAR(_ *diameter.Request, _ *SAR, f func(*SAA) error) { _ = f(answerOf[SAA](e)) }
func (e *echo) LIR(_ *diameter.Request, _ *LIR, f func(*LIA) error) { _ = f(answerOf[LIA](e)) }
func (e *echo) MAR(_ *diameter.Request, _ *MAR, f func(*MAA) error) { _ = f(answerOf[MAA](e)) }
func (e *echo) RTR(_ *diameter.Request, _ *RTR, f func(*RTA) error) { _ = f(answerOf[RTA](e)) }
func (e *echo) PPR(_ *diameter.Request, _ *PPR, f func(*PPA) error) { _ = f(answerOf[PPA](e)) }

// TestAllCommandsBothWays runs every command with every field over one
// connection, the HSS's own down the same one, and looks at what is in every
// message whatever its command.
func TestAllCommandsBothWays(t *testing.T) {
	conformance.Shows(t, "CX-01", "CX-33")
	synctest.Test(t, func(t *testing.T) {
		var seen recorder
		e := &echo{answers()}
		cscf, start := connect(t, (&Server{SCSCF: e}).Handle, &seen, "hss")
		hss := start("hss", &Server{HSS: e})
		ready(t, cscf)
		up, down := NewClient(cscf, ClientConfig{}), NewClient(hss, ClientConfig{})
		to := func(q Request, host string) {
			h := q.header()
			h.DestinationHost = host + "." + domain
		}
		var got []Answer
		keep := func(a Answer, err error) {
			if err != nil {
				t.Errorf("%T: %v", a, err)
			}
			got = append(got, a)
		}
		for _, q := range requests() {
			switch q := q.(type) {
			case *UAR:
				to(q, "hss")
				a, err := wait(func(f func(*UAA, error)) { up.UAR(time.Time{}, q, f) })
				keep(a, err)
			case *SAR:
				to(q, "hss")
				a, err := wait(func(f func(*SAA, error)) { up.SAR(time.Time{}, q, f) })
				keep(a, err)
			case *LIR:
				to(q, "hss")
				a, err := wait(func(f func(*LIA, error)) { up.LIR(time.Time{}, q, f) })
				keep(a, err)
			case *MAR:
				to(q, "hss")
				a, err := wait(func(f func(*MAA, error)) { up.MAR(time.Time{}, q, f) })
				keep(a, err)
			case *RTR:
				to(q, "scscf")
				a, err := wait(func(f func(*RTA, error)) { down.RTR(time.Time{}, q, f) })
				keep(a, err)
			case *PPR:
				to(q, "scscf")
				a, err := wait(func(f func(*PPA, error)) { down.PPR(time.Time{}, q, f) })
				keep(a, err)
			}
		}
		opts := cmp.Options{cmpopts.IgnoreFields(AnswerHeader{}, "SessionID", "OriginHost", "OriginRealm"), cmpopts.EquateEmpty()}
		if d := cmp.Diff(answers(), got, opts); d != "" {
			t.Error(d)
		}
		checkEveryMessage(t, &seen)
	})
}

// checkEveryMessage holds all Cx messages against TS 29.229 5.3, 5.6 and 6.2, and
// the capabilities exchange against 5.3.
func checkEveryMessage(t *testing.T, seen *recorder) {
	t.Helper()
	n := 0
	for command := UserAuthorization; command <= PushProfile; command++ {
		for _, request := range []bool{true, false} {
			for _, m := range seen.of(t, command, request) {
				n++
				name := CommandName(command, request)
				if m.Application != 16777216 || m.Flags&diameter.FlagProxiable == 0 || m.SessionID() == "" {
					t.Errorf("%s: application %d, flags %#x, session %q", name, m.Application, m.Flags, m.SessionID())
				}
				vsai := diameter.Group(m.Find(avp.VendorSpecificApplicationID, 0))
				vendor, _ := diameter.Uint32(diameter.Find(vsai, avp.VendorID, 0))
				app, _ := diameter.Uint32(diameter.Find(vsai, avp.AuthApplicationID, 0))
				if vendor != 10415 || app != 16777216 {
					t.Errorf("%s: Vendor-Specific-Application-Id of %d, %d", name, vendor, app)
				}
				if s, ok := diameter.Enumerated(m.Find(avp.AuthSessionState, 0)); !ok || s != 1 {
					t.Errorf("%s: Auth-Session-State %d, %v", name, s, ok)
				}
				base, exp := m.Find(avp.ResultCode, 0) != nil, m.Find(avp.ExperimentalResult, 0) != nil
				if request && (base || exp) || !request && base == exp {
					t.Errorf("%s: Result-Code %v, Experimental-Result %v", name, base, exp)
				}
			}
		}
	}
	if n < 12 {
		t.Errorf("only %d Cx messages were seen", n)
	}
	for _, request := range []bool{true, false} {
		for _, m := range seen.of(t, diameter.CapabilitiesExchange, request) {
			if v, _ := diameter.Uint32(m.Find(avp.SupportedVendorID, 0)); v != 10415 {
				t.Errorf("capabilities exchange: Supported-Vendor-Id %d", v)
			}
		}
	}
}

// What goes out straight as octets is what go-diameter makes of the same AVPs.
func TestCommandsAreEncodedAsByGoDiameter(t *testing.T) {
	n := newNode(t, "differential", nil)
	for _, q := range requests() {
		m := EncodeRequest(n, q)
		again := *m
		again.SetEncoded(dictionary, nil)
		again.AVPs = m.All()
		if got, want := m.Append(nil), again.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("%T:\n%x, by go-diameter\n%x", q, got, want)
		}
	}
	for _, a := range answers() {
		c := newEncoder()
		a.fields(c)
		m := &diameter.Message{Application: Application}
		m.SetEncoded(dictionary, c.b)
		c.free()
		again := &diameter.Message{Application: Application, AVPs: m.All()}
		if got, want := m.Append(nil), again.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("%T:\n%x, by go-diameter\n%x", a, got, want)
		}
	}
}
