package sip

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	sipgo "github.com/emiago/sipgo/sip"
	"pgregory.net/rapid"

	"github.com/gocscf/gocscf/ims/sip/internal/torture"
)

// sipgo's parser is an oracle: it was written by others. Where both accept a
// message, they must read the same. The differences that are known, with whose
// they are, stand in sipgoDiffers.

// observed is what a parser makes of a message, by name.
type observed map[string]string

func (o observed) add(key, value string) {
	for i := 0; ; i++ {
		k := fmt.Sprintf("%s[%d]", key, i)
		if _, ok := o[k]; !ok {
			o[k] = value
			return
		}
	}
}

// typedBySipgo are the headers it parses; the others it only splits off.
var typedBySipgo = map[ID]bool{HVia: true, HFrom: true, HTo: true, HContact: true, HRoute: true, HRecordRoute: true, HCSeq: true,
	HCallID: true, HMaxForwards: true, HContentLength: true, HContentType: true, HReferTo: true, HReferredBy: true}

func observeOurs(m *Message) (observed, error) {
	o := observed{"body": m.Body()}
	if m.IsRequest() {
		o["method"], o["Request-URI"] = m.Method(), m.RequestURI()
	} else {
		o["status"], o["reason"] = strconv.Itoa(m.Status()), m.Reason()
	}
	for i := range m.Len() {
		if id, name, v := m.Line(i); !typedBySipgo[id] {
			o.add(name, v)
		}
	}
	for _, id := range []ID{HCallID, HContentType} {
		for v := range m.Lines(id) {
			o.add(id.String(), v)
		}
	}
	for _, id := range []ID{HMaxForwards, HContentLength} {
		for v := range m.Lines(id) {
			n, ok := parseUint(v, 1<<32)
			if !ok {
				return nil, fmt.Errorf("%v", id)
			}
			o.add(id.String(), strconv.FormatUint(n, 10))
		}
	}
	for v := range m.Lines(HCSeq) {
		c, err := ParseCSeq(v)
		if err != nil {
			return nil, err
		}
		o.add("CSeq", c.String())
	}
	for s := range m.Values(HVia) {
		v, err := ParseVia(s)
		if err != nil {
			return nil, err
		}
		o.add("Via", strings.Join([]string{v.Transport, strings.Trim(v.Host, "[]"), strconv.Itoa(int(v.Port)), v.Branch, v.Received}, " "))
	}
	for _, id := range []ID{HFrom, HTo, HContact, HRoute, HRecordRoute} {
		for s := range m.Values(id) {
			if s == "*" {
				o.add(id.String(), "*")
				continue
			}
			a, err := ParseNameAddr(s)
			if err != nil {
				return nil, err
			}
			o.add(id.String(), a.Display+"|"+a.URI+"|"+a.Tag())
		}
	}
	return o, nil
}

func observeSipgo(raw string) (observed, error) {
	msg, err := sipgo.ParseMessage([]byte(raw))
	if err != nil {
		return nil, err
	}
	o := observed{"body": string(msg.Body())}
	hs := []sipgo.Header{}
	switch m := msg.(type) {
	case *sipgo.Request:
		o["method"], o["Request-URI"] = string(m.Method), m.Recipient.String()
		hs = m.Headers()
	case *sipgo.Response:
		o["status"], o["reason"] = strconv.Itoa(m.StatusCode), m.Reason
		hs = m.Headers()
	}
	addr := func(display string, u sipgo.Uri, p sipgo.HeaderParams) string {
		if u.Wildcard {
			return "*"
		}
		tag, _ := p.Get("tag")
		return Unquote(`"`+display+`"`) + "|" + u.String() + "|" + tag
	}
	for _, h := range hs {
		switch h := h.(type) {
		case *sipgo.ViaHeader:
			branch, _ := h.Params.Get("branch")
			received, _ := h.Params.Get("received")
			o.add("Via", strings.Join([]string{h.Transport, h.Host, strconv.Itoa(h.Port), branch, received}, " "))
		case *sipgo.FromHeader:
			o.add("From", addr(h.DisplayName, h.Address, h.Params))
		case *sipgo.ToHeader:
			o.add("To", addr(h.DisplayName, h.Address, h.Params))
		case *sipgo.ContactHeader:
			o.add("Contact", addr(h.DisplayName, h.Address, h.Params))
		case *sipgo.RouteHeader:
			o.add("Route", addr("", h.Address, nil))
		case *sipgo.RecordRouteHeader:
			o.add("Record-Route", addr("", h.Address, nil))
		case *sipgo.ReferToHeader, *sipgo.ReferredByHeader:
		default:
			o.add(h.Name(), h.Value())
		}
	}
	return o, nil
}

// compare returns what two parsers see differently.
func compare(ours, theirs observed) (out []string) {
	for k, v := range ours {
		if w, ok := theirs[k]; !ok || w != v {
			out = append(out, fmt.Sprintf("%s: ours %q, sipgo's %q", k, v, w))
		}
	}
	for k, w := range theirs {
		if _, ok := ours[k]; !ok {
			out = append(out, fmt.Sprintf("%s: sipgo's alone %q", k, w))
		}
	}
	return out
}

// sipgoDiffers are the messages of the RFCs that the two read differently.
var sipgoDiffers = map[string]string{
	"intmeth":  "sipgo turns methods into upper case; RFC 3261 §7.1 has them case-sensitive",
	"unkscm":   "sipgo turns the scheme into lower case; a Request-URI must leave as it came",
	"novelsc":  "sipgo refuses a scheme with a dot; RFC 3986 §3.1 allows it, and a proxy owes a 416",
	"inv2543":  "sipgo adds a Content-Length that the message does not have",
	"wsinv":    "sipgo keeps white space around slashes, semicolons and equals signs, which RFC 3261 §25.1 takes out",
	"tortuous": "sipgo keeps the space before a comma as part of the parameter",
}

func TestSameAsSipgoOverTheFixtures(t *testing.T) {
	cases := map[string]string{"REGISTER": sampleRegister, "INVITE": sampleInvite, "tortuous": tortuous}
	for _, c := range append(torture.RFC4475, torture.RFC5118...) {
		cases[c.Name] = c.Raw()
	}
	compared := 0
	for name, raw := range cases {
		m, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if Validate(m) != nil {
			continue
		}
		ours, err := observeOurs(m)
		if err != nil {
			t.Errorf("%s: we accept what we cannot read: %v", name, err)
			continue
		}
		theirs, err := observeSipgo(raw)
		var diffs []string
		if err != nil {
			diffs = []string{"sipgo refuses: " + err.Error()}
		} else {
			compared++
			diffs = compare(ours, theirs)
		}
		reason, known := sipgoDiffers[name]
		switch {
		case len(diffs) > 0 && !known:
			t.Errorf("%s:\n\t%s", name, strings.Join(diffs, "\n\t"))
		case len(diffs) == 0 && known:
			t.Errorf("%s is the same by now; it was listed as: %s", name, reason)
		}
	}
	if compared < 20 {
		t.Errorf("only %d messages were compared", compared)
	}
}

// genPlain draws messages of plain grammar, in the many forms it allows, without
// those of sipgoDiffers.
var genPlain = rapid.Custom(func(t *rapid.T) string {
	pick := func(label string, s ...string) string { return rapid.SampledFrom(s).Draw(t, label) }
	uri := func() string {
		return pick("uri", "sip:a@h", "sip:+15550001@h.example:5070;transport=tcp;lr", "sips:h", "sip:a@[2001:db8::1]:5060", "tel:+1-555;phone-context=h")
	}
	addr := func() string {
		return pick("display", "", `"A B" `, `"a \"b\", c" `, "Bob ") + "<" + uri() + ">"
	}
	tag := func() string { return pick("tag", "", ";tag=1", ";x=y;tag=a-b.c", ";tag=2;x=\"a;b\"") }
	name := func(long, short string) string {
		return pick("name", long, strings.ToLower(long), strings.ToUpper(long), short) + pick("colon", ":", ": ", ":  ")
	}
	via := func() string {
		return "SIP/2.0/" + pick("transport", "UDP", "TCP", "TLS") + " " + pick("host", "h", "192.0.2.1:5060", "h.example:9", "[2001:db8::1]:5061") +
			pick("params", ";branch=z9hG4bK1", ";rport;branch=z9hG4bKa.b", ";received=192.0.2.9;branch=z9hG4bK-;x")
	}
	method := pick("method", "INVITE", "MESSAGE", "REGISTER", "ODD")
	start := pick("start", method+" "+uri()+" SIP/2.0", "SIP/2.0 "+pick("status", "100 Trying", "200 OK", "487 Request Terminated", "699 a b  c"))
	lines := []string{
		name("Via", "v") + via(), name("From", "f") + addr() + tag(), name("To", "t") + addr() + tag(),
		name("Call-ID", "i") + pick("id", "1@h", "a(b)<c>", "x"), name("CSeq", "CSeq") + "7 " + method, name("Max-Forwards", "Max-Forwards") + pick("mf", "0", "70", "007"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "more") {
		lines = append(lines, rapid.SampledFrom([]func() string{
			func() string { return name("Via", "v") + via() },
			func() string { return name("Contact", "m") + addr() + tag() },
			func() string { return name("Route", "Route") + "<" + uri() + ">" },
			func() string { return name("Record-Route", "record-route") + "<" + uri() + ">" },
			func() string { return name("Supported", "k") + pick("options", "path", "a, b", "") },
			func() string { return name("X-Unknown", "x-y") + pick("unknown", "", "a", "a \r\n b", ";;,\"") },
		}).Draw(t, "line")())
	}
	lines = rapid.Permutation(lines).Draw(t, "order")
	body := pick("body", "", "x", "a\r\n\r\nb")
	lines = append(lines, name("Content-Length", "l")+strconv.Itoa(len(body)))
	return start + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n" + body
})

func TestSameAsSipgoOverGeneratedMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := genPlain.Draw(t, "message")
		m, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if p := Validate(m); p != nil {
			t.Fatalf("%v: %q", p, raw)
		}
		ours, err := observeOurs(m)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := observeSipgo(raw)
		if err != nil {
			t.Fatalf("sipgo: %v: %q", err, raw)
		}
		if d := compare(ours, theirs); len(d) > 0 {
			t.Fatalf("%s\n%q", strings.Join(d, "\n"), raw)
		}
	})
}
