package profile_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/testbed/conformance"
)

const ims = "ims.mnc001.mcc001.3gppnetwork.org"

func read(t testing.TB, name string) *profile.Profile {
	t.Helper()
	doc, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func user(u identity.IMPU) profile.PublicIdentity {
	return profile.PublicIdentity{Identity: u, PriorityLevel: -1}
}

func barred(u identity.IMPU) profile.PublicIdentity {
	return profile.PublicIdentity{Identity: u, PriorityLevel: -1, Barred: true}
}

func named(u identity.IMPU, name string) profile.PublicIdentity {
	return profile.PublicIdentity{Identity: u, PriorityLevel: -1, DisplayName: name}
}

// What the three HSSes in use send, with their deviations.
func TestParseAsHSSesSend(t *testing.T) {
	for _, tc := range []struct {
		file string
		want profile.Profile
	}{
		{"open5gs.xml", profile.Profile{
			PrivateID: "001010000000001@" + ims,
			ServiceProfiles: []profile.ServiceProfile{{
				PublicIdentities: []profile.PublicIdentity{
					barred("sip:001010000000001@" + ims), named("sip:0012345@"+ims, "0012345"), user("tel:0012345"),
				},
				InitialFilterCriteria: []profile.InitialFilterCriteria{{
					Priority: 2,
					TriggerPoint: &profile.TriggerPoint{CNF: true, SPTs: []profile.SPT{
						{Kind: profile.MethodSPT, Groups: []int32{0}, Text: "MESSAGE"},
						{Kind: profile.SIPHeaderSPT, Groups: []int32{1}, Text: "Content-Type", Content: "application/vnd.3gpp.sms", HasContent: true},
						{Kind: profile.SessionCaseSPT, Groups: []int32{2}, Case: profile.OriginatingRegistered},
					}},
					ApplicationServer: profile.ApplicationServer{ServerName: "sip:smsc." + ims + ":7090"},
				}},
			}},
		}},
		{"pyhss.xml", profile.Profile{
			PrivateID: "001010000000002@" + ims,
			ServiceProfiles: []profile.ServiceProfile{{
				PublicIdentities: []profile.PublicIdentity{user("sip:1002@" + ims), user("tel:1002")},
				InitialFilterCriteria: []profile.InitialFilterCriteria{{
					Priority: 30,
					TriggerPoint: &profile.TriggerPoint{CNF: true, SPTs: []profile.SPT{
						{Kind: profile.MethodSPT, Groups: []int32{0}, Text: "INVITE"},
						{Kind: profile.SIPHeaderSPT, Groups: []int32{1}, Text: "Recv-Info", Content: `"g.3gpp.ussd"`, HasContent: true},
					}},
					ApplicationServer: profile.ApplicationServer{ServerName: "sip:ussd." + ims + ":5060"},
				}, {
					Priority: 10,
					TriggerPoint: &profile.TriggerPoint{SPTs: []profile.SPT{
						{Kind: profile.MethodSPT, Groups: []int32{0}, Text: "REGISTER"},
					}},
					ApplicationServer: profile.ApplicationServer{ServerName: "sip:smsc." + ims + ":5060",
						IncludeRegisterRequest: true, IncludeRegisterResponse: true},
				}},
			}},
		}},
		{"fhoss.xml", profile.Profile{
			ServiceProfiles: []profile.ServiceProfile{{
				PublicIdentities: []profile.PublicIdentity{
					barred("sip:001010000000003@example.org"), named("sip:carol@example.org", "Carol & Co"),
					{Identity: "sip:list1@example.org", Type: profile.WildcardedPSI, Wildcard: "sip:list!.*!@example.org", PriorityLevel: -1},
					user("tel:+49301234"),
				},
				CoreNetworkServices: &profile.CoreNetworkServices{MediaProfileID: 3},
				InitialFilterCriteria: []profile.InitialFilterCriteria{{
					Priority: 1,
					TriggerPoint: &profile.TriggerPoint{SPTs: []profile.SPT{
						{Kind: profile.MethodSPT, Groups: []int32{0, 1}, Text: "REGISTER",
							RegistrationTypes: []profile.RegistrationType{profile.InitialRegistration, profile.DeRegistration}},
						{Kind: profile.SessionDescriptionSPT, Negated: true, Groups: []int32{1}, Text: "m", Content: "video", HasContent: true},
						{Kind: profile.RequestURISPT, Groups: []int32{2}, Text: `sip:.*@example\.org`},
					}},
					ApplicationServer: profile.ApplicationServer{ServerName: "sip:as.example.org:5065",
						DefaultHandling: profile.SessionTerminated, ServiceInfo: "<x> y "},
					Part: profile.RegisteredPart,
				}, {
					ApplicationServer: profile.ApplicationServer{ServerName: "sip:log.example.org"},
					Part:              profile.UnregisteredPart,
				}},
				SharedIFCSetIDs: []int32{7, 8},
			}},
			Warnings: []string{`IMSSubscription/PrivateID, line 3: "null", read as absent`},
		}},
	} {
		t.Run(tc.file, func(t *testing.T) {
			got := read(t, tc.file)
			if d := cmp.Diff(&tc.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			again, err := profile.Parse(got.Marshal())
			if err != nil {
				t.Fatalf("own document: %v\n%s", err, got.Marshal())
			}
			if d := cmp.Diff(got, again, cmpopts.IgnoreFields(profile.Profile{}, "Warnings")); d != "" {
				t.Errorf("Marshal lost something (-before +after):\n%s", d)
			}
		})
	}
}

func TestAllElements(t *testing.T) {
	conformance.Shows(t, "CX-32")
	p, err := profile.Parse([]byte(`<?xml version="1.0" encoding="ISO-8859-1"?>
<s:IMSSubscription xmlns:s="urn:x" unknown="1">
 <PrivateID>u@h</PrivateID>
 <ServiceProfile>
  <PublicIdentity>
   <BarringIndication>true</BarringIndication>
   <Identity>sip:a@H;transport=udp</Identity>
   <Extension><IdentityType>3</IdentityType><Future/><Extension>
     <DisplayName>J` + "\xfc" + `rgen</DisplayName><AliasIdentityGroupID>g1</AliasIdentityGroupID>
     <Extension><WildcardedIMPU>sip:![a-z]!@H</WildcardedIMPU><ServicePriorityLevel>2</ServicePriorityLevel>
       <Extension><ExtendedPriority><PriorityNamespace>wps</PriorityNamespace><PriorityLevel>2</PriorityLevel><New/></ExtendedPriority>
       <ExtendedPriority><PriorityLevel>0</PriorityLevel></ExtendedPriority><MaxNumOfAllowedSimultRegistrations>4</MaxNumOfAllowedSimultRegistrations></Extension></Extension></Extension></Extension>
   <x:Other xmlns:x="urn:y"><Identity>sip:not@this</Identity></x:Other>
  </PublicIdentity>
  <PublicIdentity><Identity>sip:198101</Identity></PublicIdentity>
  <CoreNetworkServicesAuthorization>
    <SubscribedMediaProfileId>5</SubscribedMediaProfileId>
    <Extension><ListOfServiceIds><ServiceId>urn:urn-7:3gpp-service.ims.icsi.mmtel</ServiceId></ListOfServiceIds></Extension>
  </CoreNetworkServicesAuthorization>
  <Extension/>
 </ServiceProfile>
 <ServiceProfile><PublicIdentity><Identity>tel:+1-2</Identity></PublicIdentity>` +
		"<InitialFilterCriteria><Priority>1</Priority>" + as + "</InitialFilterCriteria><InitialFilterCriteria>" + as + "<Priority>0</Priority><Extension><x/></Extension></InitialFilterCriteria>" + `</ServiceProfile>
 <Extension><Any><Depth/></Any></Extension>
</s:IMSSubscription>
<!-- end -->`))
	if err != nil {
		t.Fatal(err)
	}
	want := &profile.Profile{
		PrivateID: "u@h",
		ServiceProfiles: []profile.ServiceProfile{
			{
				PublicIdentities: []profile.PublicIdentity{
					{Identity: "sip:a@h", Barred: true, Type: profile.NonDistinctIMPU, Wildcard: "sip:![a-z]!@h", DisplayName: "Jürgen",
						AliasGroup: "g1", PriorityLevel: 2, Priorities: []profile.Priority{{Namespace: "wps", Level: "2"}}, MaxRegistrations: 4},
					user("sip:198101"),
				},
				CoreNetworkServices: &profile.CoreNetworkServices{MediaProfileID: 5, ServiceIDs: []string{"urn:urn-7:3gpp-service.ims.icsi.mmtel"}},
			},
			{
				PublicIdentities: []profile.PublicIdentity{user("tel:+12")},
				InitialFilterCriteria: []profile.InitialFilterCriteria{
					{Priority: 1, ApplicationServer: profile.ApplicationServer{ServerName: "sip:as"}},
					{Priority: 0, ApplicationServer: profile.ApplicationServer{ServerName: "sip:as"}},
				},
			},
		},
	}
	ignore := cmpopts.IgnoreFields(profile.Profile{}, "Warnings")
	if d := cmp.Diff(want, p, ignore); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "198101") {
		t.Errorf("warnings %q", p.Warnings)
	}
	again, err := profile.Parse(p.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p, again, ignore); d != "" {
		t.Errorf("Marshal lost something:\n%s", d)
	}
}

// doc wraps the inside of a ServiceProfile that has one identity.
func doc(inside string) string {
	return "<IMSSubscription><PrivateID>u@h</PrivateID><ServiceProfile><PublicIdentity><Identity>sip:a@h</Identity></PublicIdentity>\n" +
		inside + "</ServiceProfile></IMSSubscription>"
}

func ifc(inside string) string {
	return doc("<InitialFilterCriteria>" + inside + "</InitialFilterCriteria>")
}

const as = "<ApplicationServer><ServerName>sip:as</ServerName></ApplicationServer>"

func TestParseErrors(t *testing.T) {
	const cxIFC = "IMSSubscription/ServiceProfile/InitialFilterCriteria"
	for _, tc := range []struct {
		name, doc, element, says string
		line                     int
	}{
		{"empty", "", "document", "no element", 1},
		{"text", "hello", "document", "text before", 1},
		{"another document", "<reginfo/>", "reginfo", "no IMSSubscription", 1},
		{"not closed", "<IMSSubscription>", "IMSSubscription", "unexpected EOF", 1},
		{"crossed", "<IMSSubscription><a></b>", "IMSSubscription/a", "closed by", 1},
		{"no identity", "<IMSSubscription/>", "document", "no public identity", 1},
		{"two documents", doc("") + "<x/>", "document", "more than one", 2},
		{"text after", doc("") + "x", "document", "text after", 2},
		{"entity", doc("<X>&who;</X>"), "IMSSubscription/ServiceProfile/X", "entity", 2},
		{"document type", "<!DOCTYPE x [<!ENTITY a 'b'>]>" + doc(""), "document", "document type", 1},
		{"encoding", `<?xml version="1.0" encoding="utf-16"?>` + doc(""), "document", "utf-16", 1},
		{"identity", doc("<PublicIdentity>\n<Identity>carol</Identity></PublicIdentity>"), "IMSSubscription/ServiceProfile/PublicIdentity/Identity", "not a public identity", 3},
		{"identity missing", doc("<PublicIdentity/>"), "IMSSubscription/ServiceProfile", "without Identity", 2},
		{"wildcard", doc("<PublicIdentity><Identity>sip:x@h</Identity><Extension><IdentityType>2</IdentityType></Extension></PublicIdentity>"), "IMSSubscription/ServiceProfile", "wildcarded", 2},
		{"boolean", doc("<PublicIdentity><BarringIndication>yes</BarringIndication></PublicIdentity>"), "IMSSubscription/ServiceProfile/PublicIdentity/BarringIndication", `"yes"`, 2},
		{"no priority", ifc(as), "IMSSubscription/ServiceProfile", "without Priority", 2},
		{"priority", ifc("<Priority>high</Priority>" + as), cxIFC + "/Priority", `"high"`, 2},
		{"negative priority", ifc("<Priority>-1</Priority>" + as), cxIFC + "/Priority", `"-1"`, 2},
		{"no server", ifc("<Priority>1</Priority>"), "IMSSubscription/ServiceProfile", "without ServerName", 2},
		{"default handling", ifc("<Priority>1</Priority><ApplicationServer><DefaultHandling>2</DefaultHandling></ApplicationServer>"), cxIFC + "/ApplicationServer/DefaultHandling", `"2"`, 2},
		{"two conditions", ifc("<TriggerPoint><SPT><Method>A</Method>\n<SessionCase>0</SessionCase></SPT></TriggerPoint>"), cxIFC + "/TriggerPoint", "2 conditions", 3},
		{"condition without value", ifc("<TriggerPoint><SPT><SIPHeader/></SPT></TriggerPoint>"), cxIFC + "/TriggerPoint", "without a value", 2},
		{"depth", doc(strings.Repeat("<a>", 100)), "IMSSubscription/ServiceProfile/a/a/a/a/a/a", "deeper", 2},
		{"elements", doc(strings.Repeat("<a/>", 20001)), "IMSSubscription/ServiceProfile/a", "elements", 2},
		{"criteria", doc(strings.Repeat("<InitialFilterCriteria><Priority>1</Priority>"+as+"</InitialFilterCriteria>", 257)), cxIFC, "filter criteria", 2},
		{"identities", doc(strings.Repeat("<PublicIdentity><Identity>sip:a@h</Identity></PublicIdentity>", 1000)), "IMSSubscription/ServiceProfile/PublicIdentity", "public identities", 2},
		{"size", doc(strings.Repeat(" ", profile.MaxSize)), "document", "octets", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := profile.Parse([]byte(tc.doc))
			var e *profile.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %+v, %v; want a *profile.Error", p, err)
			}
			if e.Element != tc.element || e.Line != tc.line || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v\nwant %s, line %d, …%s…", err, tc.element, tc.line, tc.says)
			}
		})
	}
	if _, err := profile.Parse(make([]byte, profile.MaxSize+1)); !errors.Is(err, profile.ErrTooBig) {
		t.Errorf("%v is not ErrTooBig", err)
	}
}

func TestParseTolerates(t *testing.T) {
	for _, tc := range []struct{ name, doc, warning string }{
		{"byte order mark and trailing NUL", "\xef\xbb\xbf" + doc("") + "\x00", ""},
		{"us-ascii", `<?xml version="1.0" encoding="US-ASCII"?>` + doc(""), ""},
		{"comments and CDATA", doc("<PublicIdentity><Identity><!-- who -->sip:<![CDATA[b@h]]></Identity></PublicIdentity>"), ""},
		{"private identity without realm", strings.Replace(doc(""), "u@h", "u", 1), "not a private identity"},
		{"empty barring", doc("<PublicIdentity><BarringIndication/><Identity>sip:b@h</Identity></PublicIdentity>"), "read as 0"},
		{"trigger without condition", ifc("<Priority>1</Priority><TriggerPoint/>" + as), "every request matches"},
		{"no normal form", ifc("<Priority>1</Priority><TriggerPoint><SPT><Group>0</Group><Method>A</Method></SPT></TriggerPoint>" + as), "ConditionTypeCNF"},
		{"no group", ifc("<Priority>1</Priority><TriggerPoint><ConditionTypeCNF>1</ConditionTypeCNF><SPT><Method>A</Method></SPT></TriggerPoint>" + as), "without Group"},
		{"condition of the future", ifc("<Priority>1</Priority><TriggerPoint><ConditionTypeCNF>1</ConditionTypeCNF><SPT><Group>0</Group><Moon>full</Moon></SPT></TriggerPoint>" + as), "never matches"},
		{"broken wildcard of a user", doc("<PublicIdentity><Identity>sip:b@h</Identity><Extension><WildcardedIMPU>x</WildcardedIMPU></Extension></PublicIdentity>"), "ignored"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := profile.Parse([]byte(tc.doc))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(p.Warnings, "\n"); (got == "") != (tc.warning == "") || !strings.Contains(got, tc.warning) {
				t.Errorf("warnings %q, want one of %q", got, tc.warning)
			}
		})
	}
}

func TestIdentities(t *testing.T) {
	p := read(t, "fhoss.xml")
	if d := cmp.Diff([]identity.IMPU{"sip:carol@example.org", "tel:+49301234"}, p.Associated()); d != "" {
		t.Errorf("P-Associated-URI, neither barred nor wildcarded:\n%s", d)
	}
	if got := p.Default(); got != "sip:carol@example.org" {
		t.Errorf("default %s", got)
	}
	for u, want := range map[identity.IMPU]identity.IMPU{
		"sip:carol@example.org":           "sip:carol@example.org",
		"sip:001010000000003@example.org": "sip:001010000000003@example.org",
		"sip:list42@example.org":          "sip:list1@example.org", // by the wildcard
		"tel:+49301234":                   "tel:+49301234",
		"sip:dave@example.org":            "",
	} {
		sp, id := p.Find(u)
		switch {
		case (id == nil) != (want == "") || (sp == nil) != (id == nil):
			t.Errorf("%s: %v", u, id)
		case id != nil && id.Identity != want:
			t.Errorf("%s found as %s, want %s", u, id.Identity, want)
		}
	}

	var two profile.Profile
	two.ServiceProfiles = []profile.ServiceProfile{{PublicIdentities: []profile.PublicIdentity{
		{Identity: "tel:+1", AliasGroup: "g"}, {Identity: "sip:all!.*!@h", Type: profile.WildcardedIMPU, Wildcard: "sip:all!.*!@h"},
		{Identity: "sip:a@h", AliasGroup: "g"}, {Identity: "sip:b@h", AliasGroup: "h"}, {Identity: "sip:c@h"},
	}}, {PublicIdentities: []profile.PublicIdentity{
		{Identity: "sip:allx!.*!@h", Type: profile.WildcardedIMPU, Wildcard: "sip:allx!.*!@h"}, {Identity: "sip:d@h", AliasGroup: "g"},
	}}}
	if d := cmp.Diff([]identity.IMPU{"sip:a@h", "tel:+1", "sip:b@h", "sip:c@h", "sip:d@h"}, two.Associated()); d != "" {
		t.Errorf("the first sip URI does not lead:\n%s", d)
	}
	if d := cmp.Diff([]identity.IMPU{"sip:a@h"}, two.Aliases("tel:+1")); d != "" {
		t.Errorf("aliases of the same profile and group:\n%s", d)
	}
	if got := two.Aliases("sip:c@h"); got != nil {
		t.Errorf("no group, but aliases %v", got)
	}
	if _, id := two.Find("sip:allxy@h"); id == nil || id.Identity != "sip:allx!.*!@h" {
		t.Errorf("the more specific wildcard does not win: %v", id)
	}
	if got := (&profile.Profile{}).Default(); got != "" {
		t.Errorf("a default out of nothing: %s", got)
	}
}

func TestParseCriteria(t *testing.T) {
	one := "<InitialFilterCriteria><Priority>3</Priority>" + as + "</InitialFilterCriteria>"
	for name, d := range map[string]string{
		"one":  one,
		"many": "<AnyName>" + one + "<Other/>" + one + "</AnyName>",
	} {
		list, err := profile.ParseCriteria([]byte(d))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := profile.ParseCriteria(profile.MarshalCriteria(list))
		if err != nil || !cmp.Equal(list, again) || list[0].Priority != 3 {
			t.Errorf("%s: %+v came back as %+v, %v", name, list, again, err)
		}
	}
	for _, d := range []string{"", "<a/>", one + one, "<a><InitialFilterCriteria/></a>"} {
		if list, err := profile.ParseCriteria([]byte(d)); err == nil {
			t.Errorf("%q gives %+v", d, list)
		}
	}
}

func anyProfile() *rapid.Generator[*profile.Profile] {
	text := rapid.StringMatching(`[A-Za-z&<>"' ä!]{0,6}[A-Za-z<&]`)
	spt := rapid.Custom(func(t *rapid.T) profile.SPT {
		s := profile.SPT{
			Kind:    profile.SPTKind(rapid.IntRange(1, 5).Draw(t, "kind")),
			Negated: rapid.Bool().Draw(t, "negated"),
			Groups:  rapid.SliceOfN(rapid.Int32Range(0, 9), 1, 3).Draw(t, "groups"),
		}
		switch s.Kind {
		case profile.SessionCaseSPT:
			s.Case = profile.SessionCase(rapid.IntRange(0, 4).Draw(t, "case"))
		case profile.SIPHeaderSPT, profile.SessionDescriptionSPT:
			s.HasContent = rapid.Bool().Draw(t, "content")
			if s.HasContent {
				s.Content = strings.TrimSpace(text.Draw(t, "content"))
			}
			fallthrough
		default:
			s.Text = strings.TrimSpace(text.Draw(t, "text"))
		}
		return s
	})
	criterion := rapid.Custom(func(t *rapid.T) profile.InitialFilterCriteria {
		c := profile.InitialFilterCriteria{
			Priority: rapid.Int32Min(0).Draw(t, "priority"),
			Part:     profile.Part(rapid.IntRange(0, 2).Draw(t, "part")),
			ApplicationServer: profile.ApplicationServer{
				ServerName:              strings.TrimSpace(text.Draw(t, "server")),
				DefaultHandling:         profile.DefaultHandling(rapid.IntRange(0, 1).Draw(t, "handling")),
				ServiceInfo:             rapid.StringMatching(`[ \n\ta-z<>&]{0,8}`).Draw(t, "info"),
				IncludeRegisterRequest:  rapid.Bool().Draw(t, "request"),
				IncludeRegisterResponse: rapid.Bool().Draw(t, "response"),
			},
		}
		if spts := rapid.SliceOfN(spt, 0, 4).Draw(t, "spts"); len(spts) > 0 {
			c.TriggerPoint = &profile.TriggerPoint{CNF: rapid.Bool().Draw(t, "cnf"), SPTs: spts}
		}
		return c
	})
	return rapid.Custom(func(t *rapid.T) *profile.Profile {
		p := &profile.Profile{PrivateID: "u@h"}
		for range rapid.IntRange(1, 3).Draw(t, "profiles") {
			var sp profile.ServiceProfile
			for range rapid.IntRange(1, 3).Draw(t, "identities") {
				id := user(rapid.SampledFrom([]identity.IMPU{"sip:a@h", "tel:+1", "sip:b%20c@h"}).Draw(t, "identity"))
				id.Barred = rapid.Bool().Draw(t, "barred")
				id.DisplayName = strings.TrimSpace(text.Draw(t, "name"))
				id.PriorityLevel = rapid.Int8Range(-1, 4).Draw(t, "level")
				id.MaxRegistrations = rapid.Uint16().Draw(t, "max")
				for range rapid.IntRange(0, 2).Draw(t, "priorities") {
					id.Priorities = append(id.Priorities, profile.Priority{Namespace: rapid.SampledFrom([]string{"wps", "ets"}).Draw(t, "namespace"), Level: "1"})
				}
				if rapid.Bool().Draw(t, "wild") {
					id.Wildcard, id.Type = "sip:!.*!@h", profile.IdentityType(rapid.IntRange(0, 4).Draw(t, "type"))
				}
				sp.PublicIdentities = append(sp.PublicIdentities, id)
			}
			if list := rapid.SliceOfN(criterion, 0, 3).Draw(t, "criteria"); len(list) > 0 {
				sp.InitialFilterCriteria = list
			}
			p.ServiceProfiles = append(p.ServiceProfiles, sp)
		}
		return p
	})
}

func TestWhatIsWrittenReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyProfile().Draw(t, "profile")
		got, err := profile.Parse(want.Marshal())
		if err != nil {
			t.Fatalf("%v\n%s", err, want.Marshal())
		}
		if d := cmp.Diff(want, got, cmpopts.IgnoreFields(profile.Profile{}, "Warnings")); d != "" {
			t.Fatalf("(-written +read):\n%s\n%s", d, want.Marshal())
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"open5gs.xml", "pyhss.xml", "fhoss.xml"} {
		doc, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := profile.Parse(doc)
		if err != nil {
			var e *profile.Error
			if !errors.As(err, &e) {
				t.Fatalf("%v is no *profile.Error", err)
			}
			return
		}
		p.Default()
		out := p.Marshal()
		if len(out) > profile.MaxSize {
			return
		}
		again, err := profile.Parse(out)
		if err != nil {
			t.Fatalf("own document: %v\n%s", err, out)
		}
		if string(again.Marshal()) != string(out) {
			t.Fatalf("not stable:\n%s\n%s", out, again.Marshal())
		}
	})
}

func BenchmarkParse(b *testing.B) {
	doc, err := os.ReadFile("testdata/pyhss.xml")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if _, err := profile.Parse(doc); err != nil {
			b.Fatal(err)
		}
	}
}
