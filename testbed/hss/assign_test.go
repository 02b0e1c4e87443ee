package hss

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// TestSARByStateAndType writes the whole table of Server-Assignment-Type and state:
// a row for each type, a column for each state at scscf1, and in each cell the
// result, what the answer holds and the state afterwards.
func TestSARByStateAndType(t *testing.T) {
	conformance.Shows(t, "CX-10", "CX-12", "CX-13", "CX-15")
	h := start(t, nil)
	icscf, scscf := h.connect("icscf", nil), h.connect("scscf", nil)
	columns := []string{"not registered", "pending", "registered", "unregistered"}
	datadriven.RunTest(t, "testdata/assign.txt", func(t *testing.T, d *datadriven.TestData) string {
		sub := subscriber(func(s *Subscriber) {
			if d.HasArg("services") {
				s.IFC = []string{mailIFC}
			}
		})
		by := scscf1
		if d.HasArg("other") {
			by = scscf2
		}
		from, to := int(cx.NoAssignment), int(cx.Restoration)+1
		d.MaybeScanArgs(t, "from", &from)
		d.MaybeScanArgs(t, "to", &to)
		var b strings.Builder
		for typ := cx.ServerAssignmentType(from); typ <= cx.ServerAssignmentType(to); typ++ {
			fmt.Fprintf(&b, "%v\n", typ)
			for _, state := range columns {
				h.renew(sub)
				h.bring(scscf, state)
				if d.HasArg("reassign") {
					icscf.uar(t, cx.UAR{Type: cx.RegistrationAndCapabilities})
				}
				a := scscf.sar(t, cx.SAR{Type: typ, ServerName: by})
				cell := cx.ResultName(a.Result)
				if len(a.UserData) > 0 {
					cell += " data"
				}
				if a.ServerName != "" {
					cell += " names " + short(a.ServerName)
				}
				got, _ := h.State(alice)
				fmt.Fprintf(&b, "  %-14s → %-55s %v", state, cell, got.State)
				if got.AuthPending {
					b.WriteString(" pending")
				}
				if got.ServerName != "" {
					b.WriteString(" at " + short(got.ServerName))
				}
				b.WriteByte('\n')
			}
		}
		return b.String()
	})
}

func short(scscf string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(scscf, "sip:"), ".")
	return name
}

func TestAuthenticationFailureEndsTheAttemptAlone(t *testing.T) {
	conformance.Shows(t, "CX-14")
	const bob = "b@" + domain
	second := subscriber(func(s *Subscriber) { s.IMPI, s.IMPUs, s.Barred = bob, []string{aliceTel}, nil })
	for _, typ := range []cx.ServerAssignmentType{cx.AuthenticationFailure, cx.AuthenticationTimeout} {
		h := start(t, nil, subscriber(nil), second)
		scscf := h.connect("scscf", nil)
		q := cx.SAR{UserName: bob, PublicIdentities: []string{aliceTel}, Type: typ}
		// Alone, the attempt is forgotten, and so is the S-CSCF.
		scscf.mar(t, cx.MAR{UserName: bob, PublicIdentity: aliceTel})
		if got, _ := h.State(bob); !got.AuthPending || got.ServerName != scscf1 {
			t.Errorf("after the MAR: %+v", got)
		}
		scscf.sar(t, q)
		if got, _ := h.State(bob); got.AuthPending || got.ServerName != "" {
			t.Errorf("%v: %+v", typ, got)
		}
		// Beside a registered SIM with the same number, it alone ends.
		h.bring(scscf, "registered")
		scscf.mar(t, cx.MAR{UserName: bob, PublicIdentity: aliceTel})
		if a := scscf.sar(t, q); !a.Result.Is(diameter.Success) {
			t.Errorf("%v: %s", typ, cx.ResultName(a.Result))
		}
		if got, _ := h.State(bob); got.AuthPending || got.State != NotRegistered {
			t.Errorf("%v: %+v", typ, got)
		}
		h.wantState(Registered, false, scscf1)
		// A failed attempt of the registered one himself, at another S-CSCF.
		scscf.mar(t, cx.MAR{ServerName: scscf2})
		h.wantState(Registered, true, scscf2)
		scscf.sar(t, cx.SAR{ServerName: scscf2, Type: typ})
		h.wantState(Registered, false, scscf2)
	}
}

func TestSARGivesTheProfile(t *testing.T) {
	conformance.Shows(t, "CX-11")
	h := start(t, nil, subscriber(func(s *Subscriber) {
		s.IFC = []string{mailIFC}
		s.Charging = Charging{CCF: "aaa://ccf.example.org", ECF: "aaa://ecf.example.org"}
		s.DisplayNames = map[string]string{aliceSIP: "Alice <&>"}
	}))
	scscf := h.connect("scscf", nil)
	for _, typ := range []cx.ServerAssignmentType{cx.UnregisteredUser, cx.AssignRegistration, cx.AssignReRegistration, cx.NoAssignment} {
		a := scscf.sar(t, cx.SAR{Type: typ})
		p, err := profile.Parse(a.UserData)
		if err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		_, tmp := p.Find(aliceTmp)
		_, sip := p.Find(aliceSIP)
		if p.PrivateID != alice || tmp == nil || !tmp.Barred || sip == nil || sip.Barred || sip.DisplayName != "Alice <&>" {
			t.Errorf("%v: profile %+v", typ, p)
		}
		if c := p.ServiceProfiles[0].InitialFilterCriteria; len(c) != 1 || c[0].Part != profile.UnregisteredPart {
			t.Errorf("%v: criteria %+v", typ, c)
		}
		if a.Charging == nil || a.Charging.PrimaryCollection != "aaa://ccf.example.org" || a.Charging.PrimaryEvent != "aaa://ecf.example.org" {
			t.Errorf("%v: charging %+v", typ, a.Charging)
		}
		a = scscf.sar(t, cx.SAR{Type: typ, UserDataAlreadyAvailable: cx.UserDataAvailable})
		if !a.Result.Is(diameter.Success) || a.UserData != "" || a.Charging != nil {
			t.Errorf("%v with the data available: %s, %d octets, %+v", typ, cx.ResultName(a.Result), len(a.UserData), a.Charging)
		}
	}
}

func TestSARIdentities(t *testing.T) {
	h := start(t, nil, subscriber(nil), subscriber(func(s *Subscriber) {
		s.IMPI, s.IMPUs, s.Barred = "b@"+domain, []string{"sip:b@" + domain}, nil
	}))
	scscf := h.connect("scscf", nil)
	none := []string{}
	tests := []struct {
		name   string
		q      cx.SAR
		want   diameter.Result
		failed uint32 // code of the AVP in Failed-AVP
	}{
		{"unknown IMPI", cx.SAR{UserName: "x@" + domain, Type: cx.AssignRegistration}, cx.ErrorUserUnknown.Result(), 0},
		{"unknown IMPU", cx.SAR{PublicIdentities: []string{"sip:x@" + domain}, Type: cx.AssignRegistration}, cx.ErrorUserUnknown.Result(), 0},
		{"IMPU of another", cx.SAR{PublicIdentities: []string{"sip:b@" + domain}, Type: cx.AssignRegistration}, cx.ErrorIdentitiesDontMatch.Result(), 0},
		{"two IMPUs in a registration", cx.SAR{PublicIdentities: []string{aliceSIP, aliceTel}, Type: cx.AssignRegistration}, diameter.Base(diameter.AVPOccursTooManyTimes), 601},
		{"no IMPU in a registration", cx.SAR{PublicIdentities: none, Type: cx.AssignRegistration}, diameter.Base(diameter.MissingAVP), 601},
		{"no IMPI in a registration", cx.SAR{UserName: "-", Type: cx.AssignRegistration}, diameter.Base(diameter.MissingAVP), 1},
		{"no identity at all", cx.SAR{UserName: "-", PublicIdentities: none, Type: cx.UserDeregistration}, diameter.Base(diameter.MissingAVP), 601},
		{"Server-Name that is no SIP URI", cx.SAR{ServerName: "tel:+1", Type: cx.AssignRegistration}, diameter.Base(diameter.InvalidAVPValue), 602},
		{"unregistered user without IMPI", cx.SAR{UserName: "-", Type: cx.UnregisteredUser}, ok2001, 0},
		{"several in a deregistration, one of another", cx.SAR{PublicIdentities: []string{aliceSIP, "sip:b@" + domain}, Type: cx.UserDeregistration}, cx.ErrorIdentitiesDontMatch.Result(), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := scscf.sar(t, tt.q)
			if a.Result != tt.want {
				t.Errorf("%s (%s), want %s", cx.ResultName(a.Result), a.ErrorMessage, cx.ResultName(tt.want))
			}
			if tt.failed != 0 && (len(a.FailedAVP) != 1 || a.FailedAVP[0].Code != tt.failed) {
				t.Errorf("Failed-AVP %v, want %d", len(a.FailedAVP), tt.failed)
			}
			if tt.name == "unregistered user without IMPI" && a.UserName != alice {
				t.Errorf("User-Name %q", a.UserName)
			}
		})
	}
}

func TestImplicitRegistration(t *testing.T) {
	conformance.Shows(t, "CX-30")
	h := start(t, nil)
	icscf, scscf := h.connect("icscf", nil), h.connect("scscf", nil)
	located := func(state string, want diameter.Result) {
		t.Helper()
		for _, impu := range []string{aliceTmp, aliceSIP, aliceTel} {
			if a := icscf.lir(t, cx.LIR{PublicIdentity: impu}); a.Result != want {
				t.Errorf("%s: LIA for %s is %s", state, impu, cx.ResultName(a.Result))
			}
		}
	}
	gone := cx.ErrorIdentityNotRegistered.Result()
	for _, by := range []string{aliceTmp, aliceSIP, aliceTel} {
		h.renew(subscriber(nil))
		if a := scscf.mar(t, cx.MAR{PublicIdentity: by}); !a.Result.Is(diameter.Success) {
			t.Errorf("MAA for %s is %s", by, cx.ResultName(a.Result))
		}
		a := scscf.sar(t, cx.SAR{PublicIdentities: []string{by}, Type: cx.AssignRegistration})
		p, err := profile.Parse(a.UserData)
		if err != nil {
			t.Fatal(err)
		}
		for _, impu := range []identity.IMPU{aliceTmp, aliceSIP, aliceTel} {
			if _, found := p.Find(impu); found == nil {
				t.Errorf("registered by %s: %s is not in the profile", by, impu)
			}
		}
		located("registered by "+by, ok2001)
		scscf.sar(t, cx.SAR{PublicIdentities: []string{by}, Type: cx.UserDeregistration})
		located("deregistered by "+by, gone)
	}
	// Several, or none at all, take the set down once.
	for _, list := range [][]string{{aliceSIP, aliceTel}, {}} {
		h.bring(scscf, "registered")
		if a := scscf.sar(t, cx.SAR{PublicIdentities: list, Type: cx.TimeoutDeregistration}); !a.Result.Is(diameter.Success) {
			t.Errorf("deregistration of %v is %s", list, cx.ResultName(a.Result))
		}
		located(fmt.Sprint("deregistered ", list), gone)
	}
}

// S-CSCF names are URIs: case of the host, and of the scheme, do not tell them apart.
func TestServerNamesAreURIs(t *testing.T) {
	h := start(t, nil, subscriber(nil))
	scscf := h.connect("scscf", nil)
	h.bring(scscf, "registered")
	same := "SIP:SCSCF1." + strings.ToUpper(domain) + ":6060"
	if a := scscf.sar(t, cx.SAR{ServerName: same, Type: cx.AssignReRegistration}); !a.Result.Is(diameter.Success) {
		t.Errorf("%s for %s", cx.ResultName(a.Result), same)
	}
	other := "sip:scscf1." + domain + ":6061"
	if a := scscf.sar(t, cx.SAR{ServerName: other, Type: cx.AssignReRegistration}); !cx.ErrorIdentityAlreadyRegistered.Is(a.Result) || a.ServerName != same {
		t.Errorf("%s %q for %s", cx.ResultName(a.Result), a.ServerName, other)
	}
}

func TestServicesOfUnregisteredUsers(t *testing.T) {
	wrap := func(cnf string, spts ...string) string {
		return "<InitialFilterCriteria><Priority>0</Priority><TriggerPoint><ConditionTypeCNF>" + cnf + "</ConditionTypeCNF>" +
			strings.Join(spts, "") + "</TriggerPoint><ApplicationServer><ServerName>sip:as</ServerName></ApplicationServer></InitialFilterCriteria>"
	}
	spt := func(group, not, what string) string {
		return "<SPT><ConditionNegated>" + not + "</ConditionNegated><Group>" + group + "</Group>" + what + "</SPT>"
	}
	invite, register := "<Method>INVITE</Method>", "<Method>REGISTER</Method>"
	session := func(n string) string { return "<SessionCase>" + n + "</SessionCase>" }
	tests := []struct {
		name string
		doc  string
		want bool
	}{
		{"for unregistered users", mailIFC, true},
		{"for the registered part", strings.Replace(mailIFC, "<ProfilePartIndicator>1", "<ProfilePartIndicator>0", 1), false},
		{"no trigger", "<InitialFilterCriteria><Priority>0</Priority><ApplicationServer><ServerName>sip:as</ServerName></ApplicationServer></InitialFilterCriteria>", true},
		{"AND with another session case", wrap("1", spt("0", "0", invite), spt("1", "0", session("0"))), false},
		{"AND, one of two session cases", wrap("1", spt("0", "0", invite), spt("1", "0", session("1")), spt("1", "0", session("2"))), true},
		{"OR of ANDs, one possible", wrap("0", spt("0", "0", invite), spt("0", "0", session("0")), spt("1", "0", session("2"))), true},
		{"OR of ANDs, none possible", wrap("0", spt("0", "0", invite), spt("0", "0", session("0")), spt("1", "0", session("3"))), false},
		{"not originating", wrap("1", spt("0", "1", session("0"))), true},
		{"not terminating unregistered", wrap("1", spt("0", "1", session("2"))), false},
		{"third-party registration", wrap("1", spt("0", "0", register)), false},
		{"any INVITE", wrap("1", spt("0", "0", invite)), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, err := profile.ParseCriteria([]byte(tt.doc))
			if err != nil || len(list) != 1 {
				t.Fatal(len(list), err)
			}
			if got := servesUnregistered(list[0]); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
