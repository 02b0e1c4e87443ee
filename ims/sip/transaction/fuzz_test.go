package transaction

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// fuzzUser does whatever a User may do, chosen by the message.
type fuzzUser struct{}

func (fuzzUser) Request(s *Server) {
	if s.Req.Method() == "ACK" || s.Req.Method() == "CANCEL" {
		panic("the layer's own request reached the User")
	}
	statuses := [...]int{100, 180, 200, 302, 486, 503, 603}
	n := len(s.Req.Raw())
	s.OnEnd(func() { s.Respond(200, nil) })
	answer(s, statuses[n%len(statuses)])
	s.Shard.After(time.Duration(n%40)*time.Second, func() { answer(s, statuses[n/7%len(statuses)]) })
	s.Shard.After(100*time.Second, s.Abandon)
	c := s.Shard.Client(ClientRequest{
		Method: s.Req.Method(), Branch: s.branch, Flow: s.Flow,
		// The request itself, as it came: what it holds is for makeAck to survive.
		Render:   func(sip.Flow) *sip.Buffer { return sip.BufferOf([]byte(s.Req.Raw())) },
		Response: func(c *Client, _ sip.Flow, m *sip.Message) { answer(s, m.Status()); c.Cancel() },
		Failed:   func(*Client, error) { s.Abandon() },
	})
	if n%2 == 0 {
		c.Cancel()
	}
	s.Shard.After(200*time.Second, func() { c.Cancel() }) // ends an INVITE that rings for ever
}

func (fuzzUser) Cancel(s *Server, m *sip.Message) {
	_ = m.Get(sip.HReason)
	answer(s, 487)
}
func (fuzzUser) Ack(_ *Shard, _ sip.Flow, m *sip.Message)   { _ = m.Raw() }
func (fuzzUser) Stray(_ *Shard, _ sip.Flow, m *sip.Message) { _ = m.Raw() }

// FuzzLayer feeds a layer any sequence of messages, separated by "\n%\n" ("%t"
// first: the next comes over a stream; "%s": time passes). It must not panic,
// and in the end nothing may be left.
func FuzzLayer(f *testing.F) {
	join := func(raw ...string) string { return strings.Join(raw, "\n%\n") }
	f.Add(join(request("INVITE", "1", ""), request("CANCEL", "1", ""), request("ACK", "1", "")))
	f.Add(join(request("MESSAGE", "1", ""), request("MESSAGE", "1", ""), "%s", response(200, "MESSAGE", "1")))
	f.Add(join(request("INVITE", "1", ""), response(183, "INVITE", "1"), response(486, "INVITE", "1"), "%t"+response(200, "INVITE", "1")))
	f.Add(join(requestVia("INVITE", "SIP/2.0/UDP ue.example.com;rport;branch=1", "", ""), requestVia("ACK", "SIP/2.0/UDP ue.example.com;rport;branch=1", "us", "")))
	f.Add(join("%t"+requestVia("INVITE", "SIP/2.0/TCP [2001:db8::1];received=x;maddr=y;branch=z9hG4bK1", "", "Route: <sip:x>\r\n"), "%s", response(603, "INVITE", "1")))
	f.Add(requestVia("MESSAGE", "SIP / 2.0 / UDP 10.0.0.1 (c;,\"x) ;rport=7 ; received=1.2.3.4;;a=\"b,c\" , SIP/2.0/UDP x", "", ""))
	torture, _ := filepath.Glob("../testdata/rfc4475/*.dat")
	for _, name := range torture {
		if b, err := os.ReadFile(name); err == nil {
			f.Add(string(b))
		}
	}
	f.Fuzz(func(t *testing.T, in string) {
		parts := strings.Split(in, "\n%\n")
		if len(parts) > 50 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			w := &wire{start: time.Now()}
			l := New(Config{Sender: w, User: fuzzUser{}, Shards: 1, MaxTransactions: 20})
			defer l.Close()
			for _, raw := range parts {
				flow := gmUDP
				if rest, ok := strings.CutPrefix(raw, "%t"); ok {
					flow, raw = tcp, rest
				}
				if raw == "%s" {
					time.Sleep(3 * time.Second)
					continue
				}
				l.Receive(flow, raw)
				synctest.Wait()
			}
			time.Sleep(20 * time.Minute)
			synctest.Wait()
			s := l.Stats()
			if s.Servers+s.Clients+s.Open+s.Lingering+s.Timers+s.Queued != 0 {
				t.Errorf("left behind: %+v", s)
			}
		})
	})
}
