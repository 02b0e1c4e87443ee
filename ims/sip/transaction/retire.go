package transaction

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
)

// An INVITE that a proxy has relayed the 2xx to is over but for two things, and they for
// 64·T1, 128 s on Gm: the INVITE itself may come again and must not be taken for a new
// one (RFC 6026 Timer L), and so may the 2xx, until its ACK has got through, or another
// one of a fork (Timer M). The first needs a key. The second, the same octet by octet,
// is answered with what was relayed before; only another one needs the User again, who
// gets back what he has left in a note. So nothing of such an INVITE has to stay but
// octets in past.

// Reviver is a User who retires Clients.
type Reviver interface {
	// Revive makes of the note what is needed for another 2xx, and returns who gets it,
	// and all that follow. c and s stand for those that were retired: the request of s
	// has no body any more, its Respond sends a 2xx, and does nothing else.
	Revive(c *Client, s *Server, note string) func(c *Client, f sip.Flow, m *sip.Message)
}

// Retire gives up an INVITE in whose Response the 2xx m has come, and has been relayed
// through s as data; further 2xx are relayed by the layer, or by whom Reviver.Revive
// names. It reports whether it is so; if not, all stays as it was. Nothing may be under
// way for s but c.
func (c *Client) Retire(s *Server, m *sip.Message, data []byte, note string) bool {
	sh, t := c.shard, c.tx
	if t == nil || t.kind != inviteClient || t.state != accepted || sh.layer.reviver == nil || len(data) > sip.MaxMessage {
		return false
	}
	up := s.tx
	if up == nil || up.kind != inviteServer || up.state != accepted || len(s.onEnd) > 0 {
		return false
	}
	b := binary.NativeEndian.AppendUint64(sh.octets[:0], maphash.String(sh.layer.seed, m.Raw()))
	for _, f := range [...]sip.Flow{s.to, s.fallback, s.Flow} {
		var ok bool
		if b, ok = appendFlow(b, f); !ok {
			return false
		}
	}
	at := len(b)
	b = appendDelta(binary.NativeEndian.AppendUint32(b, 0), m.Raw(), data)
	binary.NativeEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	req := strings.TrimSuffix(s.Req.Raw(), s.Req.Body())
	b = append(binary.NativeEndian.AppendUint32(b, uint32(len(req))), req...)
	b = append(b, note...)
	sh.octets = b[:0]
	t.last = b
	if !sh.past.add(t, t.timers.timeout()) {
		t.last = nil
		return false
	}
	t.last, t.client, c.tx = nil, nil, nil
	sh.timers.remove(&t.end)
	sh.reuse(sh.clients, t)
	if sh.past.add(up, up.timers.timeout()) {
		sh.timers.remove(&up.end)
		up.letGo()
		sh.reuse(sh.servers, up)
	}
	s.retired = true
	return true
}

// retired is what Retire has written.
type retired struct {
	hash               uint64 // of the 2xx
	to, fallback, flow sip.Flow
	delta, req, note   []byte // as the record has them; delta from the 2xx to what was relayed
}

func (r record) retired() (x retired) {
	_, b := readFlow(r[pastHeader:])
	b = b[4 : 4+binary.NativeEndian.Uint32(b)]
	x.hash = binary.NativeEndian.Uint64(b)
	x.to, b = readFlow(b[8:])
	x.fallback, b = readFlow(b)
	x.flow, b = readFlow(b)
	n := binary.NativeEndian.Uint32(b)
	x.delta, b = b[4:4+n], b[4+n:]
	n = binary.NativeEndian.Uint32(b)
	x.req, x.note = b[4:4+n], b[4+n:]
	return x
}

// anew takes a response that belongs to an INVITE of which past has the rest.
func (sh *Shard) anew(r record, f sip.Flow, m *sip.Message) {
	switch status := m.Status(); {
	case r.state() == completed:
		sh.layer.absorbed(f, m)
		if to, ack := r.response(); status >= 300 && len(ack) > 0 { // the ACK was lost
			sh.layer.cfg.Sender.Send(to, ack, nil)
		}
	case status < 200 || status >= 300:
	default:
		x := r.retired()
		if x.hash == maphash.String(sh.layer.seed, m.Raw()) {
			if data, ok := applyDelta(sh.octets[:0], m.Raw(), x.delta); ok {
				sh.octets = data[:0]
				sh.relayAgain(x.to, x.fallback, data)
				return
			}
		}
		sh.revive(r, x, f, m)
	}
}

// revive makes a transaction of a record, since another 2xx has come.
func (sh *Shard) revive(r record, x retired, f sip.Flow, m *sip.Message) {
	v, _ := m.TopVia()
	to := r.flow()
	t := sh.newTx(inviteClient, to, sh.layer.cfg.TimersFor(to))
	c := &Client{shard: sh, tx: t, flow: to, provisional: true, final: true}
	c.req = ClientRequest{Method: "INVITE", Branch: v.Branch, Flow: to, Timers: t.timers}
	s := &Server{Shard: sh, Flow: x.flow, to: x.to, fallback: x.fallback, retired: true}
	if s.Req = &s.msg; s.msg.Index(string(x.req)) == nil { // it was a message
		c.req.Response = sh.layer.reviver.Revive(c, s, string(x.note))
	}
	t.state, t.class, t.client = accepted, classLingering, c // it is counted
	sh.clientKey(v.Branch, "INVITE")
	t.key, t.pre = append(t.key[:0], sh.scratch...), len(sh.scratch)
	sh.clients.insert(t, r.hash())
	sh.timers.set(&t.end, r.ends())
	r.void()
	t.clientEvent(evSuccess, f, m, nil)
}

// relayAgain sends a 2xx that no transaction stands behind.
func (sh *Shard) relayAgain(to, fallback sip.Flow, data []byte) {
	var fail func(error)
	if to.Proto.Stream() && to != fallback {
		data := bytes.Clone(data)
		fail = func(error) { sh.Post(func() { sh.layer.cfg.Sender.Send(fallback, data, nil) }) }
	}
	sh.layer.cfg.Sender.Send(to, data, fail)
}
