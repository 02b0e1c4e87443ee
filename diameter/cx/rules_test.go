package cx

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// required are the AVPs in braces of TS 29.229 6.1, without which a request is
// refused.
var required = map[uint32][]string{
	UserAuthorization:       {"User-Name", "Public-Identity", "Visited-Network-Identifier"},
	ServerAssignment:        {"Server-Name", "Server-Assignment-Type", "User-Data-Already-Available"},
	LocationInfo:            {"Public-Identity"},
	MultimediaAuth:          {"User-Name", "Public-Identity", "SIP-Auth-Data-Item", "SIP-Number-Auth-Items", "Server-Name"},
	RegistrationTermination: {"Destination-Host", "User-Name", "Deregistration-Reason"},
	PushProfile:             {"Destination-Host", "User-Name"},
}

var requiredOfAll = []string{"Session-Id", "Vendor-Specific-Application-Id", "Auth-Session-State", "Origin-Host", "Origin-Realm", "Destination-Realm"}

// without is a copy of the message that lacks an AVP.
func without(m *diameter.Message, d *diameter.Definition) *diameter.Message {
	out := *m
	out.SetEncoded(dictionary, nil)
	out.AVPs = slices.DeleteFunc(slices.Clone(m.All()), func(a *diameter.AVP) bool { return a.Code == d.Code && a.VendorID == d.Vendor })
	return &out
}

// raw sends a message as it is and returns the answer as it came.
func raw(n *diameter.Node, m *diameter.Message) *diameter.Message {
	ch := make(chan *diameter.Message, 1)
	n.Do(time.Time{}, m, func(a *diameter.Answer, _ error) {
		if a == nil {
			ch <- nil
			return
		}
		ch <- a.Message
	})
	return <-ch
}

func TestAMissingElementIsNamedInFailedAVP(t *testing.T) {
	conformance.Shows(t, "CX-02")
	synctest.Test(t, func(t *testing.T) {
		e := &echo{answers()}
		// One server that plays both parts, so that all six commands go one way.
		cscf, start := connect(t, nil, nil, "hss")
		start("hss", &Server{HSS: e, SCSCF: e})
		ready(t, cscf)
		for _, q := range requests() {
			q.header().DestinationHost = "hss." + domain
			name := CommandName(q.command(), true)
			if m := raw(cscf, EncodeRequest(cscf, q)); m == nil || m.Find(avp.FailedAVP, 0) != nil {
				t.Fatalf("%s is refused with everything in it: %v", name, m)
			}
			for _, missing := range append(requiredOfAll, required[q.command()]...) {
				d := def(missing)
				m := raw(cscf, without(EncodeRequest(cscf, q), d))
				if m == nil {
					t.Fatalf("%s without %s: no answer", name, missing)
				}
				if res, _ := m.Result(); !res.Is(diameter.MissingAVP) || m.Flags&diameter.FlagError != 0 {
					t.Errorf("%s without %s: %v, flags %#x", name, missing, res, m.Flags)
				}
				failed := diameter.Group(m.Find(avp.FailedAVP, 0))
				if len(failed) != 1 || failed[0].Code != d.Code || failed[0].VendorID != d.Vendor {
					t.Errorf("%s without %s: Failed-AVP %v", name, missing, failed)
				}
				if !strings.Contains(m.Text(avp.ErrorMessage, 0), missing) {
					t.Errorf("%s without %s: message %q", name, missing, m.Text(avp.ErrorMessage, 0))
				}
			}
		}
	})
}

func TestRequestsThatBreakTheRules(t *testing.T) {
	n := newNode(t, "client", nil)
	uar := func() *diameter.Message { return EncodeRequest(n, requests()[0]) }
	add := func(m *diameter.Message, a ...*diameter.AVP) *diameter.Message { m.Add(a...); return m }
	for _, c := range []struct {
		name string
		m    *diameter.Message
		want diameter.ResultCode // 0: served
		code uint32              // of the innermost failed AVP
	}{
		{"two Public-Identity in UAR", add(uar(), avpPublicIdentity.New(datatype.UTF8String("sip:b"))), diameter.AVPOccursTooManyTimes, 601},
		{"two Public-Identity in SAR", EncodeRequest(n, requests()[1]), 0, 0},
		{"UAR without User-Authorization-Type", without(uar(), avpUserAuthorizationType), 0, 0},
		{"SAR without User-Name", without(EncodeRequest(n, requests()[1]), avpUserName), 0, 0},
		{"AVP 494 of vendor 50, no M bit", add(uar(), diam.NewAVP(494, avp.Vbit, 50, datatype.OctetString("k"))), 0, 0},
		{"Deregistration-Reason without Reason-Code", add(without(EncodeRequest(n, requests()[4]), avpDeregistrationReason),
			avpDeregistrationReason.New(diameter.NewGroup(avpReasonInfo.New(datatype.UTF8String("x"))))), diameter.MissingAVP, 616},
		{"VSAI with the application first", add(without(uar(), def("Vendor-Specific-Application-Id")), def("Vendor-Specific-Application-Id").New(diameter.NewGroup(
			def("Auth-Application-Id").New(datatype.Unsigned32(Application)), avpVendorID.New(datatype.Unsigned32(10415))))), 0, 0},
		{"a Route-Record in a request that was not relayed", add(EncodeRequest(n, requests()[4]), def("Route-Record").New(datatype.DiameterIdentity("hss"))), 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			fault := DecodeRequest(wire(t, c.m), emptyRequest(c.m.Command))
			if c.want == 0 {
				if fault != nil {
					t.Error(fault)
				}
				return
			}
			if fault == nil || fault.Code != c.want {
				t.Fatalf("%v, want %v", fault, c.want)
			}
			a := fault.AVP
			for g := diameter.Group(a); len(g) == 1; g = diameter.Group(a) {
				a = g[0]
			}
			if a.Code != c.code {
				t.Errorf("failed AVP %d, want %d", a.Code, c.code)
			}
		})
	}
}

func TestAServerRefusesWhatItDoesNotServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []diameter.ResultCode
		s := &Server{HSS: &echo{answers()}}
		s.Refuse = func(r *diameter.Request, q Request, fault *diameter.AVPError) bool {
			seen = append(seen, fault.Code)
			// Open5GS puts the base code into an Experimental-Result.
			_ = r.Answer(r.NewAnswer(Experimental(fault.Code).Result()))
			return true
		}
		cscf, start := connect(t, nil, nil, "hss")
		start("hss", s)
		ready(t, cscf)
		rtr := requests()[4]
		rtr.header().DestinationHost = "hss." + domain
		if res, _ := raw(cscf, EncodeRequest(cscf, rtr)).Result(); !res.Is(diameter.CommandUnsupported) {
			t.Errorf("RTR to an HSS: %v", res)
		}
		uar := requests()[0]
		uar.header().DestinationHost = ""
		if res, _ := raw(cscf, without(EncodeRequest(cscf, uar), avpUserName)).Result(); !Experimental(5005).Is(res) {
			t.Errorf("a mimicked refusal: %v", res)
		}
		if len(seen) != 1 || seen[0] != diameter.MissingAVP {
			t.Errorf("Refuse saw %v", seen)
		}
	})
}

// outcomes are results a handler may choose, with what has to be on the wire.
func TestAnswersHoldOneResultAndNever2005(t *testing.T) {
	conformance.Shows(t, "CX-34")
	synctest.Test(t, func(t *testing.T) {
		var next diameter.Result
		h := &chooser{result: &next}
		cscf, start := connect(t, nil, nil, "hss")
		start("hss", &Server{HSS: h})
		ready(t, cscf)
		client := NewClient(cscf, ClientConfig{})
		results := []diameter.Result{{}, diameter.Base(diameter.Success), diameter.Base(diameter.AuthorizationRejected), diameter.Base(diameter.TooBusy), serverSelection.Result()}
		for e := range experimentalNames {
			results = append(results, e.Result())
		}
		for _, res := range results {
			next = res
			want := res
			switch {
			case res.Code == 0:
				want = diameter.Base(diameter.UnableToComply)
			case serverSelection.Is(res):
				want = FirstRegistration.Result()
			}
			m := raw(cscf, EncodeRequest(cscf, &UAR{RequestHeader{DestinationRealm: domain}, impi, impu, domain, Registration, 0}))
			base, exp := m.Find(avp.ResultCode, 0) != nil, m.Find(avp.ExperimentalResult, 0) != nil
			if got, _ := m.Result(); base == exp || got != want {
				t.Errorf("%v went out as %v (Result-Code %v, Experimental-Result %v)", res, got, base, exp)
			}
			if (m.Flags&diameter.FlagError != 0) != (!want.Experimental && want.Code/1000 == 3) {
				t.Errorf("%v: flags %#x", res, m.Flags)
			}
			_, err := wait(func(f func(*UAA, error)) {
				client.UAR(time.Time{}, &UAR{UserName: impi, PublicIdentity: impu, VisitedNetworkID: domain}, f)
			})
			if (err == nil) != want.IsSuccess() {
				t.Errorf("%v reads as %v", res, err)
			}
			if err != nil && want.Experimental && (!IsResult(err, Experimental(want.Code)) || !strings.Contains(err.Error(), experimentalNames[Experimental(want.Code)])) {
				t.Errorf("%v reads as %v", res, err)
			}
		}
		// On receipt, 2005 reads as 2001.
		h.raw = true
		next = serverSelection.Result()
		a, err := wait(func(f func(*UAA, error)) {
			client.UAR(time.Time{}, &UAR{UserName: impi, PublicIdentity: impu, VisitedNetworkID: domain}, f)
		})
		if err != nil || !FirstRegistration.Is(a.Result) {
			t.Errorf("SERVER_SELECTION reads as %v, %v", a.Result, err)
		}
	})
}

// chooser answers UARs with a result of the test's choice.
type chooser struct {
	echo
	result *diameter.Result
	raw    bool // around the encoder
}

func (c *chooser) UAR(r *diameter.Request, _ *UAR, answer func(*UAA) error) {
	if c.raw {
		_ = r.Answer(r.NewAnswer(*c.result))
		return
	}
	_ = answer(&UAA{AnswerHeader: AnswerHeader{Result: *c.result}})
}

// TestTrapsOfRealHSSes reads answers as the HSSes in the field send them.
func TestTrapsOfRealHSSes(t *testing.T) {
	base := diameter.Base(diameter.Success).AVP()
	item := func(avps ...*diameter.AVP) *diameter.AVP { return avpSIPAuthDataItem.New(diameter.NewGroup(avps...)) }
	answer := func(avps ...*diameter.AVP) *diameter.Message {
		return wire(t, &diameter.Message{Command: MultimediaAuth, Application: Application, AVPs: avps})
	}
	t.Run("items without number, or all 0, stay in order", func(t *testing.T) {
		for _, number := range [][]*diameter.AVP{{}, {avpSIPItemNumber.New(datatype.Unsigned32(0))}} {
			var a MAA
			DecodeAnswer(answer(base, item(append(number, avpSIPAuthenticationScheme.New(datatype.UTF8String("digest-akav1-md5")))...),
				item(append(number, avpSIPAuthenticationScheme.New(datatype.UTF8String("second")))...)), &a)
			if len(a.Items) != 2 || !a.Items[0].SchemeIs(SchemeAKAv1) || a.Items[1].Scheme != "second" {
				t.Errorf("%+v", a.Items)
			}
		}
	})
	t.Run("numbered items are put in order", func(t *testing.T) {
		var a MAA
		DecodeAnswer(answer(base, item(avpSIPItemNumber.New(datatype.Unsigned32(2))), item(avpSIPItemNumber.New(datatype.Unsigned32(1)))), &a)
		if a.Items[0].ItemNumber != 1 || a.Items[1].ItemNumber != 2 {
			t.Errorf("%+v", a.Items)
		}
	})
	t.Run("UAA without name and capabilities", func(t *testing.T) {
		var a UAA
		DecodeAnswer(answer(FirstRegistration.Result().AVP()), &a)
		if a.ServerName != "" || a.Capabilities != nil || !FirstRegistration.Is(a.Result) {
			t.Errorf("%+v", a)
		}
	})
	t.Run("capabilities without content are there", func(t *testing.T) {
		var a UAA
		DecodeAnswer(answer(base, avpServerCapabilities.New(diameter.NewGroup())), &a)
		if a.Capabilities == nil {
			t.Error("not there")
		}
	})
	t.Run("no result at all", func(t *testing.T) {
		var a SAA
		DecodeAnswer(answer(), &a)
		if a.Result != (diameter.Result{}) {
			t.Errorf("%v", a.Result)
		}
	})
	t.Run("an AVP of another vendor with a Cx code", func(t *testing.T) {
		var a UAA
		DecodeAnswer(answer(base, diam.NewAVP(602, avp.Vbit, 50, datatype.OctetString("not a name")), avpServerName.New(datatype.UTF8String("sip:s"))), &a)
		if a.ServerName != "sip:s" {
			t.Errorf("%q", a.ServerName)
		}
	})
	t.Run("charging functions that are no URIs", func(t *testing.T) {
		var a SAA
		DecodeAnswer(answer(base, avpChargingInformation.New(diameter.NewGroup(avpPrimaryCollection.New(datatype.DiameterURI("pcrf"))))), &a)
		if a.Charging == nil || a.Charging.PrimaryCollection != "pcrf" {
			t.Errorf("%+v", a.Charging)
		}
	})
	t.Run("Originating-Request is its presence", func(t *testing.T) {
		for _, v := range []int32{0, 1} {
			var q LIR
			DecodeRequest(&diameter.Message{Application: Application, Command: LocationInfo, AVPs: []*diameter.AVP{avpOriginatingRequest.New(datatype.Enumerated(v))}}, &q)
			if !q.Originating {
				t.Errorf("value %d is not seen", v)
			}
		}
	})
}

func TestTheClientAlwaysSendsWhatEveryHSSNeeds(t *testing.T) {
	n := newNode(t, "client", nil)
	for q, names := range map[Request][]string{
		&UAR{UserName: impi, PublicIdentity: impu, VisitedNetworkID: domain}:         {"Visited-Network-Identifier"},
		&MAR{UserName: impi, PublicIdentity: impu, ServerName: "sip:s"}:              {"SIP-Number-Auth-Items", "SIP-Auth-Data-Item", "Server-Name"},
		&SAR{UserName: impi, PublicIdentities: []string{impu}, ServerName: "sip:s"}:  {"User-Data-Already-Available", "Server-Assignment-Type", "Server-Name"},
		&LIR{PublicIdentity: impu, Originating: true}:                                {"Originating-Request"},
		&RTR{UserName: impi, RequestHeader: RequestHeader{DestinationHost: "scscf"}}: {"Deregistration-Reason", "Destination-Host"},
	} {
		m := encodeRequest(n, q, q.header().DestinationHost, domain)
		for _, name := range append(names, "Auth-Session-State", "Vendor-Specific-Application-Id", "Destination-Realm", "Session-Id") {
			if d := def(name); m.Find(d.Code, d.Vendor) == nil {
				t.Errorf("%s is sent without %s", CommandName(q.command(), true), name)
			}
		}
	}
}

func TestServerURI(t *testing.T) {
	for in, want := range map[string]string{
		"sip:scscf.x": "sip:scscf.x", "SIPS:scscf.x": "SIPS:scscf.x", "scscf.x": "sip:scscf.x", "scscf.x:6060": "sip:scscf.x:6060",
		" scscf.x:6060;transport=tcp ": "sip:scscf.x:6060;transport=tcp", "": "",
	} {
		if got := ServerURI(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestResultNamesKeepTheNumberSpacesApart(t *testing.T) {
	for _, c := range []struct {
		r    diameter.Result
		want string
	}{
		{diameter.Base(5004), "DIAMETER_INVALID_AVP_VALUE"},
		{Experimental(5004).Result(), "DIAMETER_ERROR_ROAMING_NOT_ALLOWED"},
		{diameter.Base(5005), "DIAMETER_MISSING_AVP"},
		{Experimental(5005).Result(), "DIAMETER_ERROR_IDENTITY_ALREADY_REGISTERED"},
		{Experimental(5010).Result(), "Experimental-Result-Code 5010 (vendor 10415)"},
		{diameter.Result{Code: 5001, Experimental: true, Vendor: 13019}, "Experimental-Result-Code 5001 (vendor 13019)"},
		{diameter.Result{}, "no result"},
	} {
		if got := ResultName(c.r); got != c.want {
			t.Errorf("%+v is %q, want %q", c.r, got, c.want)
		}
	}
}

func TestKeysNeverShow(t *testing.T) {
	n := newNode(t, "client", nil)
	secrets := []string{"xresxres", "ckckckck", "ikikikik", "ha1", "ha2", "7872657378726573", "eHJlc3hyZXM"}
	q := requests()[3].(*MAR)
	j, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	a := &MAA{Items: []AuthDataItem{fullItem}}
	verbs := "%+v %#v %x %q" // not a constant, or vet objects to what is shown here
	for _, s := range []string{
		string(j), fmt.Sprint(q), fmt.Sprintf(verbs, q, q.Item, q.Item, q.Item), fmt.Sprintf("%s %x %d", fullItem.Authorization, fullItem.ConfidentialityKey, fullItem.IntegrityKey),
		fmt.Sprintf("%+v %#v", a.Items, a.Items[0].Digest), EncodeRequest(n, q).String(),
	} {
		for _, secret := range secrets {
			if strings.Contains(s, secret) {
				t.Errorf("%s shows in %.80q", secret, s)
			}
		}
	}
	frame := EncodeRequest(n, q).Append(nil)
	whole := string(frame)
	hidden := string(Redact(frame))
	if string(frame) != whole || len(hidden) != len(whole) {
		t.Error("Redact changed what it was given, or the length")
	}
	for _, secret := range secrets[:5] {
		if !strings.Contains(whole, secret) || strings.Contains(hidden, secret) {
			t.Errorf("%s: in the message %v, after Redact %v", secret, strings.Contains(whole, secret), strings.Contains(hidden, secret))
		}
	}
	if !strings.Contains(hidden, impi) || !strings.Contains(hidden, "0123456789abcdef0123456789ABCDEF") {
		t.Error("Redact hides more than keys")
	}
	cut := append([]byte{}, frame...)
	cut = cut[:strings.Index(whole, "ikikikik")+4]
	if strings.Contains(string(Redact(cut)), "ikik") {
		t.Error("a key shows in a message that breaks off")
	}
	plain := EncodeRequest(n, requests()[0]).Append(nil)
	if &Redact(plain)[0] != &plain[0] {
		t.Error("a message without keys was copied")
	}
}
