package ifc_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/ims/ifc"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// request is a Request out of plain text.
type request struct {
	method, uri string
	headers     [][2]string
	sdp         []string
}

func (r *request) Method() string     { return r.method }
func (r *request) RequestURI() string { return r.uri }

func (r *request) Headers(yield func(name, value string) bool) {
	for _, h := range r.headers {
		if !yield(h[0], h[1]) {
			return
		}
	}
}

func (r *request) SDPLines(yield func(line string) bool) {
	for _, l := range r.sdp {
		if !yield(l) {
			return
		}
	}
}

func invite() *request {
	return &request{
		method: "INVITE", uri: "sip:bob@example.org;user=phone",
		headers: [][2]string{
			{"From", "<sip:alice@example.org>;tag=1"},
			{"To", "<sip:bob@example.org>"},
			{"Accept-Contact", `*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"`},
			{"Accept-Contact", "*;+g.3gpp.smsip;explicit"},
			{"Recv-Info", "g.3gpp.ussd"},
			{"Subject", "Hello World"},
		},
		sdp: []string{"v=0", "o=- 1 1 IN IP4 192.0.2.1", "m=audio 49170 RTP/AVP 97", "a=rtpmap:97 AMR/8000"},
	}
}

func method(m string, groups ...int32) profile.SPT {
	return profile.SPT{Kind: profile.MethodSPT, Text: m, Groups: groups}
}

func header(name, content string) profile.SPT {
	return profile.SPT{Kind: profile.SIPHeaderSPT, Text: name, Content: content, HasContent: content != "", Groups: []int32{0}}
}

func not(s profile.SPT) profile.SPT { s.Negated = true; return s }

func criterion(priority int32, server string, t *profile.TriggerPoint) profile.InitialFilterCriteria {
	return profile.InitialFilterCriteria{Priority: priority, TriggerPoint: t,
		ApplicationServer: profile.ApplicationServer{ServerName: server}}
}

func trigger(cnf bool, spts ...profile.SPT) *profile.TriggerPoint {
	return &profile.TriggerPoint{CNF: cnf, SPTs: spts}
}

func compile(t testing.TB, list ...profile.InitialFilterCriteria) *ifc.Chain {
	t.Helper()
	c, err := ifc.Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// matches evaluates one trigger point.
func matches(t testing.TB, tp *profile.TriggerPoint, r ifc.Request, s ifc.Session) bool {
	t.Helper()
	_, ok := compile(t, criterion(0, "sip:as", tp)).Next(0, r, s)
	return ok
}

func TestAbsentTriggerPointAlwaysMatches(t *testing.T) {
	conformance.Shows(t, "IF-02")
	for _, m := range []string{"INVITE", "REGISTER", "MESSAGE", "X-UNKNOWN"} {
		if !matches(t, nil, &request{method: m}, ifc.Session{}) {
			t.Errorf("%s does not match", m)
		}
	}
}

// bits makes SPTs whose conditions are the bits of a number: SPT i is true if
// the request has header Xi.
func bits(n, of int) *request {
	r := &request{}
	for i := range of {
		if n&(1<<i) != 0 {
			r.headers = append(r.headers, [2]string{fmt.Sprintf("X%d", i), ""})
		}
	}
	return r
}

// Truth tables of both normal forms over four SPTs in groups {0,1} {2} {0,3},
// SPT 0 being in two groups, with every combination of negations.
func TestNormalForms(t *testing.T) {
	conformance.Shows(t, "IF-03", "IF-04")
	const n = 4
	groups := [n][]int32{{7, 9}, {7}, {8}, {9}}
	for negations := range 1 << n {
		var spts []profile.SPT
		for i := range n {
			s := header(fmt.Sprintf("X%d", i), "")
			s.Groups, s.Negated = groups[i], negations&(1<<i) != 0
			spts = append(spts, s)
		}
		cnf, dnf := trigger(true, spts...), trigger(false, spts...)
		for v := range 1 << n {
			x := func(i int) bool { return (v^negations)&(1<<i) != 0 }
			wantCNF := (x(0) || x(1)) && x(2) && (x(0) || x(3))
			wantDNF := x(0) && x(1) || x(2) || x(0) && x(3)
			if got := matches(t, cnf, bits(v, n), ifc.Session{}); got != wantCNF {
				t.Errorf("CNF, values %04b, negations %04b: %v", v, negations, got)
			}
			if got := matches(t, dnf, bits(v, n), ifc.Session{}); got != wantDNF {
				t.Errorf("DNF, values %04b, negations %04b: %v", v, negations, got)
			}
		}
	}
}

func TestRequestURI(t *testing.T) {
	conformance.Shows(t, "IF-05")
	for expr, want := range map[string]bool{
		"sip:bob@example.org":            true, // found inside
		"^sip:bob@example.org$":          false,
		"^sip:.*;user=phone$":            true,
		`sip:(alice|bob)@example\.org`:   true,
		"tel:":                           false,
		"sip:BOB":                        false, // with case
		`^sip:[[:alpha:]]+@example\.org`: true,
	} {
		tp := trigger(true, profile.SPT{Kind: profile.RequestURISPT, Text: expr, Groups: []int32{0}})
		if got := matches(t, tp, invite(), ifc.Session{}); got != want {
			t.Errorf("%s: %v", expr, got)
		}
	}
}

func TestMethod(t *testing.T) {
	for m, want := range map[string]bool{"INVITE": true, "invite": false, "INV": false, "MESSAGE": false} {
		if got := matches(t, trigger(false, method(m, 0)), invite(), ifc.Session{}); got != want {
			t.Errorf("%s: %v", m, got)
		}
	}
}

func TestSIPHeader(t *testing.T) {
	conformance.Shows(t, "IF-06")
	for _, tc := range []struct {
		rule, name, content string
		want                bool
	}{
		{"presence", "Subject", "", true},
		{"absence", "Server", "", false},
		{"name without case", "sUbJeCt", "", true},
		{"name is the whole name", "Contact", "", false},
		{"name expression", "(Accept|Reject)-Contact", "", true},
		{"name expression without case", "accept-.*", "", true},
		{"content found inside", "Subject", "World", true},
		{"content with case", "Subject", "world", false},
		{"content of the second line of that name", "Accept-Contact", `\+g\.3gpp\.smsip`, true},
		{"content in another header", "Subject", "alice", false},
		{"name and content of different headers", "Recv-Info", "Hello", false},
		{"anchored", "Subject", "^Hello$", false},
	} {
		if got := matches(t, trigger(true, header(tc.name, tc.content)), invite(), ifc.Session{}); got != tc.want {
			t.Errorf("%s: %v", tc.rule, got)
		}
		if got := matches(t, trigger(true, not(header(tc.name, tc.content))), invite(), ifc.Session{}); got == tc.want {
			t.Errorf("%s, negated: %v", tc.rule, got)
		}
	}
}

func TestSessionDescription(t *testing.T) {
	conformance.Shows(t, "IF-07")
	for _, tc := range []struct {
		line, content string
		want, noSDP   bool
	}{
		{"m", "audio", true, false},
		{"m=", "audio", true, false},
		{"m", "video", false, false},
		{"m", "", true, false},
		{"b", "", false, false},
		{"a", "^rtpmap:97 AMR", true, false},
		{"a", "audio", false, false}, // another line
		{"m", "^m=", false, false},   // the letter is not part of the content
	} {
		s := profile.SPT{Kind: profile.SessionDescriptionSPT, Text: tc.line, Content: tc.content, HasContent: tc.content != "", Groups: []int32{0}}
		if got := matches(t, trigger(true, s), invite(), ifc.Session{}); got != tc.want {
			t.Errorf("%s %q: %v", tc.line, tc.content, got)
		}
		if matches(t, trigger(true, s), &request{method: "MESSAGE"}, ifc.Session{}) {
			t.Errorf("%s %q matches without SDP", tc.line, tc.content)
		}
	}
}

func TestSessionCase(t *testing.T) {
	conformance.Shows(t, "IF-08")
	for want := range profile.SessionCase(5) {
		tp := trigger(true, profile.SPT{Kind: profile.SessionCaseSPT, Case: want, Groups: []int32{0}})
		for c := range profile.SessionCase(5) {
			if got := matches(t, tp, invite(), ifc.Session{Case: c}); got != (c == want) {
				t.Errorf("criterion for %v, request in %v: %v", want, c, got)
			}
		}
	}
}

func TestRegistrationType(t *testing.T) {
	conformance.Shows(t, "IF-09")
	const (
		first  = profile.InitialRegistration
		again  = profile.ReRegistration
		dereg  = profile.DeRegistration
		anyOne = "any"
	)
	for _, tc := range []struct {
		types []profile.RegistrationType
		yes   []profile.RegistrationType
	}{
		{nil, []profile.RegistrationType{first, again, dereg}},
		{[]profile.RegistrationType{first}, []profile.RegistrationType{first}},
		{[]profile.RegistrationType{first, dereg}, []profile.RegistrationType{first, dereg}},
		{[]profile.RegistrationType{again}, []profile.RegistrationType{again}},
	} {
		s := method("REGISTER", 0)
		s.RegistrationTypes = tc.types
		for _, r := range []profile.RegistrationType{first, again, dereg} {
			want := false
			for _, y := range tc.yes {
				want = want || y == r
			}
			if got := matches(t, trigger(true, s), &request{method: "REGISTER"}, ifc.Session{Registration: r}); got != want {
				t.Errorf("types %v, request %v: %v", tc.types, r, got)
			}
		}
		if matches(t, trigger(true, s), invite(), ifc.Session{}) {
			t.Errorf("types %v match an INVITE", tc.types)
		}
	}
	// The extension says nothing about other methods.
	s := method("INVITE", 0)
	s.RegistrationTypes = []profile.RegistrationType{dereg}
	if !matches(t, trigger(true, s), invite(), ifc.Session{}) {
		t.Errorf("a registration type restricts INVITE (%s)", anyOne)
	}
}

func TestExpressions(t *testing.T) {
	conformance.Shows(t, "IF-10")
	for _, tc := range []struct {
		rule, name, content string
		want                bool
		warning             string
	}{
		{"embedded quotes, value without", "Recv-Info", `"g.3gpp.ussd"`, true, ""},
		{"embedded quotes, value with", "Accept-Contact", `"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"`, true, ""},
		{"quotes inside an expression stand for themselves", "Accept-Contact", `icsi-ref="urn`, true, ""},
		{"POSIX class", "Subject", "^[[:upper:]][[:lower:]]{4} ", true, ""},
		{"alternatives", "Subject", "^(Bye|Hello)", true, ""},
		{"interval", "Subject", "l{2}o", true, ""},
		{"dot", "Subject", "H.llo", true, ""},
		{"not POSIX", "Subject", `\bWorld\b`, true, "not POSIX"},
		{"leading plus", "Accept-Contact", "+g.3gpp.smsip", true, "begins with an operator"},
		{"empty alternative", "Subject", "x|", true, ""},
	} {
		c := compile(t, criterion(0, "sip:as", trigger(true, header(tc.name, tc.content))))
		if _, got := c.Next(0, invite(), ifc.Session{}); got != tc.want {
			t.Errorf("%s: %v", tc.rule, got)
		}
		if got := strings.Join(c.Warnings(), "\n"); (got == "") != (tc.warning == "") || !strings.Contains(got, tc.warning) {
			t.Errorf("%s: warnings %q, want %q", tc.rule, got, tc.warning)
		}
	}
}

func TestProfilePart(t *testing.T) {
	conformance.Shows(t, "IF-11")
	for _, tc := range []struct {
		session                  ifc.Session
		registered, unregistered bool
	}{
		{ifc.Session{Case: profile.OriginatingRegistered}, true, false},
		{ifc.Session{Case: profile.TerminatingRegistered}, true, false},
		{ifc.Session{Case: profile.TerminatingUnregistered}, false, true},
		{ifc.Session{Case: profile.OriginatingUnregistered}, false, true},
		{ifc.Session{Case: profile.OriginatingCDIV}, true, false},
		{ifc.Session{Case: profile.OriginatingCDIV, Unregistered: true}, false, true},
	} {
		for part, want := range map[profile.Part]bool{
			profile.BothParts: true, profile.RegisteredPart: tc.registered, profile.UnregisteredPart: tc.unregistered,
		} {
			f := criterion(0, "sip:as", nil)
			f.Part = part
			if _, got := compile(t, f).Next(0, invite(), tc.session); got != want {
				t.Errorf("part %d in %+v: %v", part, tc.session, got)
			}
		}
	}
}

// walk returns the servers that a request visits.
func walk(c *ifc.Chain, r ifc.Request, s ifc.Session) []string {
	var list []string
	var at ifc.Position
	for {
		f, ok := c.Next(at, r, s)
		if !ok {
			return list
		}
		list = append(list, f.Server.ServerName)
		at = f.After()
	}
}

func TestAscendingPriority(t *testing.T) {
	c := compile(t,
		criterion(30, "sip:third", nil), criterion(10, "sip:first", nil),
		criterion(20, "sip:a", trigger(true, method("MESSAGE", 0))), criterion(20, "sip:b", nil), criterion(20, "sip:c", nil),
		criterion(40, "sip:first", nil)) // the same server again is legal
	if d := cmp.Diff([]string{"sip:first", "sip:b", "sip:c", "sip:third", "sip:first"}, walk(c, invite(), ifc.Session{})); d != "" {
		t.Error(d)
	}
	if w := c.Warnings(); len(w) != 2 || !strings.Contains(w[0], "priority 20: another criterion has the same priority") {
		t.Errorf("warnings %q", w)
	}
	f, _ := c.Next(0, invite(), ifc.Session{})
	if f.Priority != 10 || f.URI.Host != "first" || !f.Continue() || c.At(0) != f || c.At(ifc.Position(c.Len())) != nil || c.At(-1) != nil {
		t.Errorf("%+v", f)
	}
	// The request may change between two servers.
	r := invite()
	f, _ = c.Next(f.After(), r, ifc.Session{})
	r.method = "MESSAGE"
	if g, _ := c.Next(0, r, ifc.Session{}); g.After() != 1 {
		t.Errorf("after %d", g.After())
	}
	if g, _ := c.Next(1, r, ifc.Session{}); g == f || g.Server.ServerName != "sip:a" {
		t.Errorf("the changed request visits %s", g.Server.ServerName)
	}
	for _, p := range []ifc.Position{99, ifc.Position(c.Len())} {
		if f, ok := c.Next(p, r, ifc.Session{}); ok {
			t.Errorf("beyond the end: %v", f)
		}
	}
	if _, ok := (*ifc.Chain)(nil).Next(0, r, ifc.Session{}); ok {
		t.Error("no chain, but a criterion")
	}
}

func TestDefaultHandling(t *testing.T) {
	f := criterion(0, "sip:as", nil)
	f.ApplicationServer.DefaultHandling = profile.SessionTerminated
	got, _ := compile(t, f).Next(0, invite(), ifc.Session{})
	if got.Continue() {
		t.Error("SESSION_TERMINATED continues")
	}
}

func TestSharedSets(t *testing.T) {
	conformance.Shows(t, "IF-12")
	sets := ifc.SharedSets{
		7: {criterion(5, "sip:seven-early", nil), criterion(25, "sip:seven-late", nil)},
		8: {criterion(15, "sip:eight", nil)},
	}
	sp := &profile.ServiceProfile{
		InitialFilterCriteria: []profile.InitialFilterCriteria{criterion(20, "sip:own-late", nil), criterion(10, "sip:own", nil)},
		SharedIFCSetIDs:       []int32{8, 7, 8},
	}
	c, err := ifc.NewCache(sets, 10).Chain(sp)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"sip:seven-early", "sip:own", "sip:eight", "sip:own-late", "sip:seven-late"}
	if d := cmp.Diff(want, walk(c, invite(), ifc.Session{})); d != "" {
		t.Error(d)
	}
	if len(sp.InitialFilterCriteria) != 2 {
		t.Errorf("the profile now holds the shared criteria: %d", len(sp.InitialFilterCriteria))
	}
	sp.SharedIFCSetIDs = []int32{9}
	if _, err := ifc.NewCache(sets, 10).Chain(sp); err == nil || !strings.Contains(err.Error(), "shared iFC set 9") || !strings.Contains(err.Error(), "shared_ifc_sets") {
		t.Errorf("an unknown set: %v", err)
	}
}

func TestCache(t *testing.T) {
	profileFor := func(server string) *profile.ServiceProfile {
		return &profile.ServiceProfile{InitialFilterCriteria: []profile.InitialFilterCriteria{criterion(1, server, nil)}}
	}
	cache := ifc.NewCache(nil, 2)
	chain := func(sp *profile.ServiceProfile) *ifc.Chain {
		c, err := cache.Chain(sp)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := profileFor("sip:x"), profileFor("sip:x")
	if chain(a) != chain(b) || &a.InitialFilterCriteria[0] != &b.InitialFilterCriteria[0] {
		t.Error("the same criteria are held twice")
	}
	if chain(profileFor("sip:y")) == chain(a) {
		t.Error("different criteria share a chain")
	}
	for i := range 10 {
		chain(profileFor(fmt.Sprintf("sip:z%d", i)))
	}
	if cache.Len() != 2 {
		t.Errorf("%d chains, bounded to 2", cache.Len())
	}
	if c := chain(&profile.ServiceProfile{}); c.Len() != 0 || cache.Len() != 2 {
		t.Errorf("%d criteria of none", c.Len())
	}
}

// Profiles that share their criteria are told apart by what else a chain is made of.
func TestCacheOfSharedCriteria(t *testing.T) {
	list := []profile.InitialFilterCriteria{criterion(1, "sip:x", nil), criterion(2, "sip:y", nil)}
	cache := ifc.NewCache(ifc.SharedSets{7: {criterion(3, "sip:z", nil)}}, 2)
	var kept *ifc.Chain
	for range 2 {
		for _, tc := range []struct {
			sp   profile.ServiceProfile
			want int
		}{
			{profile.ServiceProfile{InitialFilterCriteria: list}, 2},
			{profile.ServiceProfile{InitialFilterCriteria: list[:1]}, 1},
			{profile.ServiceProfile{InitialFilterCriteria: list, SharedIFCSetIDs: []int32{7}}, 3},
			{profile.ServiceProfile{InitialFilterCriteria: list[1:]}, 1},
			{profile.ServiceProfile{InitialFilterCriteria: list}, 2},
			{profile.ServiceProfile{InitialFilterCriteria: list}, 2},
		} {
			c, err := cache.Chain(&tc.sp)
			if err != nil || c.Len() != tc.want {
				t.Fatalf("%d criteria, want %d: %v", c.Len(), tc.want, err)
			}
			if tc.sp.SharedIFCSetIDs == nil && &tc.sp.InitialFilterCriteria[0] == &list[0] && tc.want == 2 {
				kept = c
			}
		}
		if c, _ := cache.Chain(&profile.ServiceProfile{InitialFilterCriteria: list}); c != kept {
			t.Error("the same criteria have two chains at a time")
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		f    profile.InitialFilterCriteria
		says string
	}{
		{"server", criterion(1, "urn:service:x", nil), "ServerName"},
		{"server that is no URI", criterion(1, "not a name", nil), "ServerName"},
		{"expression", criterion(3, "sip:as", trigger(true, method("A", 0), header("To", "(("))), "priority 3"},
		{"which SPT", criterion(3, "sip:as", trigger(true, method("A", 0), header("To", "(("))), "SPT 2 (SIPHeader)"},
		{"name expression", criterion(1, "sip:as", trigger(true, header("[", ""))), "SPT 1"},
		{"long expression", criterion(1, "sip:as", trigger(true, header("To", strings.Repeat("a", 2000)))), "2000 octets"},
		{"costly expression", criterion(1, "sip:as", trigger(true, header("To", "((a{100}){100}){100}"))), "SPT 1"},
		{"SDP line", criterion(1, "sip:as", trigger(true, profile.SPT{Kind: profile.SessionDescriptionSPT, Text: "media", Groups: []int32{0}})), "media"},
	} {
		c, err := ifc.Compile([]profile.InitialFilterCriteria{tc.f})
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, %v; want an error that says %q", tc.name, c, err, tc.says)
		}
	}
	if _, err := ifc.Compile(make([]profile.InitialFilterCriteria, ifc.MaxCriteria+1)); err == nil {
		t.Error("no bound on the chain")
	}
	if c := compile(t, criterion(0, "as.example.org:5060", nil)); c.At(0).URI.String() != "sip:as.example.org:5060" {
		t.Errorf("a name without scheme: %s", c.At(0).URI)
	}
}

func TestWhatIsNotUnderstoodNeverMatches(t *testing.T) {
	for name, tp := range map[string]*profile.TriggerPoint{
		"unknown kind in a DNF beside one that matches": trigger(false, method("INVITE", 0), profile.SPT{Groups: []int32{1}}),
		"unknown kind, negated":                         trigger(true, not(profile.SPT{Groups: []int32{0}})),
		"no group":                                      trigger(true, method("INVITE")),
	} {
		c := compile(t, criterion(0, "sip:as", tp))
		if _, ok := c.Next(0, invite(), ifc.Session{}); ok {
			t.Errorf("%s: it matches", name)
		}
		if len(c.Warnings()) != 1 {
			t.Errorf("%s: warnings %q", name, c.Warnings())
		}
	}
}

func TestExplain(t *testing.T) {
	registered := criterion(5, "sip:as", nil)
	registered.Part = profile.UnregisteredPart
	c := compile(t,
		registered,
		criterion(10, "sip:as", trigger(true, method("INVITE", 0), func() profile.SPT { s := header("Accept-Contact", "video"); s.Groups = []int32{1}; return s }())),
		criterion(20, "sip:as", trigger(true, method("MESSAGE", 3), method("REFER", 3))),
		criterion(30, "sip:as", trigger(false, method("MESSAGE", 0), func() profile.SPT { s := not(header("Subject", "")); s.Groups = []int32{1}; return s }())),
		criterion(40, "sip:as", trigger(true, profile.SPT{Groups: []int32{0}})),
		criterion(50, "sip:as", trigger(false, method("INVITE", 0), not(header("Server", "")),
			profile.SPT{Kind: profile.SessionCaseSPT, Groups: []int32{0}}, profile.SPT{Kind: profile.RequestURISPT, Text: "bob", Groups: []int32{0}},
			profile.SPT{Kind: profile.SessionDescriptionSPT, Text: "m", Content: "audio", HasContent: true, Groups: []int32{0}})),
		criterion(60, "sip:never-reached", nil),
	)
	var got []string
	for _, e := range c.Explain(0, invite(), ifc.Session{}) {
		got = append(got, e.Text)
		if e.Matched != (e.Criterion.Priority == 50) {
			t.Errorf("%s: matched %v", e.Text, e.Matched)
		}
	}
	if d := cmp.Diff([]string{
		"priority 5: it is for unregistered users only, and the user is registered",
		"priority 10: SPT 2 (SIPHeader Accept-Contact ~ video) did not match (group 1)",
		"priority 20: SPT 1 (Method MESSAGE) did not match and SPT 2 (Method REFER) did not match (group 3)",
		"priority 30: SPT 1 (Method MESSAGE) did not match and SPT 2 (SIPHeader Subject) matched, which its negation forbids",
		"priority 40: it has an SPT of an unknown kind, so it never matches",
		"priority 50: SPT 1 (Method INVITE) matched and SPT 2 (SIPHeader Server) did not match, as the negation asks and " +
			"SPT 3 (SessionCase ORIGINATING_REGISTERED) matched and SPT 4 (RequestURI ~ bob) matched and SPT 5 (SessionDescription m= ~ audio) matched (group 0)",
	}, got); d != "" {
		t.Error(d)
	}
	last := c.Explain(6, invite(), ifc.Session{})
	if len(last) != 1 || last[0].Text != "priority 60: it has no trigger point, so every request matches" {
		t.Errorf("%+v", last)
	}
	reg := method("REGISTER", 0)
	reg.RegistrationTypes = []profile.RegistrationType{0, 2}
	if e := compile(t, criterion(1, "sip:as", trigger(true, reg))).Explain(0, invite(), ifc.Session{}); e[0].Text !=
		"priority 1: SPT 1 (Method REGISTER INITIAL_REGISTRATION or DE_REGISTRATION) did not match (group 0)" {
		t.Error(e[0].Text)
	}
	if (*ifc.Chain)(nil).Explain(0, invite(), ifc.Session{}) != nil {
		t.Error("an explanation of nothing")
	}
}
