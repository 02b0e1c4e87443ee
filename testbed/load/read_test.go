package load

import (
	"slices"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	const message = "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKp,SIP/2.0/UDP 127.16.0.1:5062;branch=z9hG4bKl1a;rport=5062\r\n" +
		"Via: SIP/2.0/UDP 10.0.0.1\r\nrecord-route: <sip:a;lr>, \"x\" <sip:b,c;lr>;x=1\r\nRecord-Route: <sip:d;lr>\r\n" +
		"F: <sip:x@y>;tag=l1\r\nTO:<sip:z@y>;tag=2\r\ni: a1-0-1-x@load\r\nCSeq: 1 INVITE\r\nContact: \"Z\" <sip:z@10.0.0.2:5060;a=b>;q=1\r\n" +
		"Service-Route: <sip:orig@s;lr>\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbody"
	var h heard
	if !h.read([]byte(message)) {
		t.Fatal("not read")
	}
	var records []string
	for _, r := range h.records {
		records = append(records, string(r))
	}
	if h.request || h.status != 200 || string(h.method) != "INVITE" || string(h.callID) != "a1-0-1-x@load" || !h.retryAfter ||
		!slices.Equal(records, []string{"<sip:a;lr>", `"x" <sip:b,c;lr>;x=1`, "<sip:d;lr>"}) || string(between(h.contact)) != "sip:z@10.0.0.2:5060;a=b" ||
		string(branch(h.topVia)) != "z9hG4bKp" || strings.Count(string(h.via), "\r\n") != 2 || !hasTag(h.to) || len(h.services) != 1 {
		t.Errorf("read %+v with records %q", h, records)
	}
	if !h.read([]byte("NOTIFY sip:x@y SIP/2.0\r\nVia: a\r\nX: y\r\nVia: b\r\nFrom: a\r\nTo: b\r\nCall-ID: c\r\nCSeq: 4 NOTIFY\r\nSubscription-State: terminated;reason=x\r\n\r\n")) ||
		!h.request || string(h.method) != "NOTIFY" || string(h.via) != "Via: a\r\nVia: b\r\n" || h.status != 0 || len(h.records) != 0 || string(h.subscription) != "terminated;reason=x" {
		t.Errorf("read %+v", h)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKl1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: a1-0-1-x@load\r\nCSeq: 1 INVITE\r\nContact: <sip:a@b>\r\nRecord-Route: <sip:p;lr>,<sip:q;lr>\r\n\r\n"))
	f.Add([]byte("INVITE sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKl1\r\nX: y\r\nVia: b\r\nf: a\r\nt: b\r\ni: r1-0-0-x@load\r\nCSeq: 1 INVITE\r\n\r\n"))
	f.Add([]byte("SIP/2.0 4"))
	e := &engine{run: "x@load", phones: make([]phone, 2)}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h heard
		if !h.read(b) {
			return
		}
		if len(h.via) == 0 || len(h.topVia) == 0 || len(h.callID) == 0 || len(h.cseq) == 0 || len(h.from) == 0 || len(h.to) == 0 {
			t.Errorf("read without what each message has: %+v", h)
		}
		if c, ok := e.readCallID(h.callID); ok && (c.from == nil || c.to == nil) {
			t.Errorf("%q is a call of nobody", h.callID)
		}
		_, _ = readBranch(h.topVia)
		_ = between(h.contact)
	})
}
