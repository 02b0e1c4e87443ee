package proxy

import (
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/internal/torture"
)

// FuzzForward sends whatever comes through a core that forwards everything:
// nothing may crash, and what leaves is well formed.
func FuzzForward(f *testing.F) {
	for _, c := range torture.RFC4475 {
		f.Add(c.Raw())
	}
	f.Add("MESSAGE sip:192.0.2.1;lr SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKx\r\nRoute: <sip:192.0.2.1;lr>, <sip:192.0.2.9>\r\n" +
		"Route: <sip:bob@[2001:db8::1]:5061;transport=tcp;maddr=192.0.2.1>\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n" +
		"Max-Forwards: 1\r\nMax-Breadth: 2\r\nProxy-Require: a,b\r\nContent-Length: 0\r\n\r\n")
	f.Fuzz(func(t *testing.T, raw string) {
		out := checking{t: t}
		r := newRigTo(t, handlerFunc(func(x *Exchange) {
			_ = x.TopRoute()
			x.Forward(Target{RecordRoute: &Own{User: "f"}}, Target{URI: "sip:other@192.0.2.9"})
		}), out)
		receiver{r.core}.Receive(r.flow, raw)
		if m, err := sip.Parse(raw); err == nil {
			done := make(chan struct{})
			r.core.Shard(m.CallID()).Post(func() { close(done) })
			<-done
		}
		r.core.Close()
	})
}

// checking is a sender that reads what is sent.
type checking struct{ t *testing.T }

func (c checking) Send(_ sip.Flow, data []byte, _ func(error)) {
	m, err := sip.Parse(string(data))
	if err != nil {
		c.t.Errorf("sent what cannot be read: %v\n%q", err, data)
		return
	}
	if p := sip.Validate(m); p != nil && m.IsRequest() {
		c.t.Errorf("sent what is malformed: %v\n%q", p, data)
	}
	if m.IsRequest() && !strings.Contains(m.First(sip.HVia), "192.0.2.1:5060") {
		c.t.Errorf("sent without our Via:\n%q", data)
	}
}
