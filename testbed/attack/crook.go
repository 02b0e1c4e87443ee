package attack

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/hss"
)

// crook registers and calls as phones do, and puts bent messages before, between and
// in place of the good ones.
type crook struct {
	*phone
	b    *Bender
	m    *mutation
	asks time.Duration // how long an answer may take

	mu      sync.Mutex // of what the reader uses
	second  *Bender
	ringing []ringing // the oldest first
}

// ringing is an INVITE that has had no final response, or a bent one. Most get one in
// the end: a P-CSCF passes so many calls of a phone on as are without, and what is bent
// would go no further.
type ringing struct {
	conn   net.Conn
	invite *sip.Message
	since  time.Time
}

// patience is how long a call rings then.
const patience = 3 * time.Second

func newCrook(m *mutation, sub hss.Subscriber, number int) (*crook, error) {
	c := &crook{m: m, b: NewBender(m.cfg.Seed + uint64(number)), second: NewBender(m.cfg.Seed + 1e6 + uint64(number)), asks: 300 * time.Millisecond}
	var err error
	c.phone, err = newPhone(m.target, sub, number, number%3 == 2, c.called)
	return c, err
}

// called answers what comes for the phone, bent once in three times.
func (c *crook) called(conn net.Conn, m *sip.Message) {
	if m.Method() == "ACK" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.ringing) > 0 && time.Since(c.ringing[0].since) > patience {
		r := c.ringing[0]
		c.ringing = c.ringing[1:]
		_, _ = r.conn.Write(sip.NewResponse(r.invite, 480, "", "t"+c.user()).Bytes())
	}
	b := c.second
	b.Learn(m.Raw())
	statuses := []int{200}
	final := false
	if m.Method() == "INVITE" {
		statuses = [][]int{{100, 180, 200}, {183, 200}, {486}, {180, 603}, {200, 200}, {302}, {180}}[b.rng.IntN(7)]
	}
	for _, status := range statuses {
		r := sip.NewResponse(m, status, "", "t"+c.user())
		r.Add(sip.HContact, "<sip:"+c.user()+"@"+conn.LocalAddr().String()+">")
		for v := range m.Values(sip.HRecordRoute) {
			r.Add(sip.HRecordRoute, v)
		}
		if m.Method() == "INVITE" && status < 300 {
			r.Body("application/sdp", sdp)
		}
		out := string(r.Bytes())
		bent := b.chance(3)
		if bent {
			out = b.Bend(out)
			c.m.sent.Add(1)
		}
		final = final || status >= 200 && !bent
		_, _ = conn.Write([]byte(out))
	}
	if m.Method() == "INVITE" && !final && !b.chance(20) { // the others ring until Timer C
		c.ringing = append(c.ringing, ringing{conn, m, time.Now()})
	}
}

const sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 49152 RTP/AVP 0\r\na=sendrecv\r\n"

// run has the crook at work until ctx ends.
func (c *crook) run(ctx context.Context) {
	defer c.close()
	for ctx.Err() == nil && c.m.enter(ctx) {
		c.session(ctx)
		c.m.leave()
	}
}

// fire sends a bent message, in whatever pieces.
func (c *crook) fire(good string) {
	c.b.Learn(good)
	bent := c.b.Bend(good)
	c.m.sent.Add(1)
	if !c.stream || c.b.chance(2) {
		c.write(bent)
		return
	}
	for bent != "" {
		n := min(len(bent), 1+c.b.rng.IntN(400))
		c.write(bent[:n])
		bent = bent[n:]
	}
	if c.b.chance(10) { // and the rest never comes
		c.conn.Close()
	}
}

// step sends some bent forms of a message and then the message, and returns the final
// response to that, nil when none comes.
func (c *crook) step(ctx context.Context, callID string, before int, build func() string) *sip.Message {
	for range before {
		if ctx.Err() != nil {
			return nil
		}
		c.fire(build())
		if c.b.chance(10) { // what another session has sent, in this one's place
			c.fire(c.b.Seen())
		}
	}
	good := build()
	c.b.Learn(good)
	c.write(good)
	if c.b.chance(6) {
		c.write(good)
	}
	r := c.await(c.asks, c.final(callID))
	c.m.asked(r != nil)
	return r
}

// session is a registration, what a phone does with it, and its end.
func (c *crook) session(ctx context.Context) {
	b := c.b
	r := c.step(ctx, c.callID, b.rng.IntN(4), func() string { return c.register(c.initial(), 600) })
	for try := 0; r != nil && r.Status() == 401 && try < 3; try++ {
		auth, err := c.answer(r)
		if err != nil {
			return
		}
		before := 0
		if b.chance(3) { // one of these may use the challenge up
			before = 1 + b.rng.IntN(3)
		}
		r = c.step(ctx, c.callID, before, func() string { return c.register(auth, 600) })
	}
	if r == nil || r.Status() != 200 {
		c.m.peer(c.wild())
		return
	}
	c.m.registered.Add(1)
	c.routes = c.routes[:0]
	for v := range r.Values(sip.HServiceRoute) {
		c.routes = append(c.routes, v)
	}
	for range 1 + b.rng.IntN(4) {
		switch b.rng.IntN(5) {
		case 0:
			c.single(ctx, "MESSAGE")
		case 1:
			c.single(ctx, [...]string{"OPTIONS", "SUBSCRIBE", "PUBLISH", "REFER", "INFO"}[b.rng.IntN(5)])
		default:
			c.call(ctx)
		}
		c.m.peer(c.wild())
	}
	if b.chance(3) {
		c.step(ctx, c.callID, b.rng.IntN(3), func() string { return c.register(c.initial(), 0) })
	}
}

// wild makes a message such as nodes of the core send each other.
func (c *crook) wild() string {
	good := c.register(c.initial(), 600)
	at := strings.Index(good, "\r\n") + 2
	return good[:at] + "Path: <sip:x@" + c.target.Mw.String() + ";lr>\r\nRequire: path\r\nP-Visited-Network-ID: \"" + c.target.Domain + "\"\r\nP-Charging-Vector: icid-value=\"x\"\r\n" + good[at:]
}

func (c *crook) other() string {
	return c.target.Crooks[c.b.rng.IntN(len(c.target.Crooks))].IMPUs[c.b.rng.IntN(2)]
}

func (c *crook) routed(more ...string) []string {
	l := []string{"Route: <sip:" + c.target.Gm.String() + ";lr>"}
	for _, r := range c.routes {
		l = append(l, "Route: "+r)
	}
	return append(append(l, "Contact: "+c.contact(), "P-Preferred-Identity: <"+c.impu()+">"), more...)
}

// single is a request outside of a dialog.
func (c *crook) single(ctx context.Context, method string) {
	to, callID := c.other(), sip.NewCallID()
	c.step(ctx, callID, c.b.rng.IntN(4), func() string {
		return c.lines(method, to, callID, "<"+to+">", c.routed("Event: reg", "Expires: 60", "Content-Type: text/plain", "\r\nhello")...)
	})
}

// call is an INVITE with what follows it.
func (c *crook) call(ctx context.Context) {
	b, to, callID := c.b, c.other(), sip.NewCallID()
	var sent []string
	// Most of what has had no answer is given up: the P-CSCF passes so many calls of one
	// phone on, and what is bent would go no further.
	defer func() {
		for _, s := range sent {
			if !b.chance(4) {
				c.write(strings.ReplaceAll(s, "INVITE", "CANCEL"))
			}
		}
	}()
	invite := func() string {
		s := c.lines("INVITE", to, callID, "<"+to+">", c.routed("Supported: 100rel,timer", "Session-Expires: 1800", "Content-Type: application/sdp", "\r\n"+sdp)...)
		sent = append(sent, s)
		return s
	}
	if b.chance(5) { // given up at once
		c.write(invite())
		seq := c.cseq
		c.cseq--
		cancel := strings.Replace(c.lines("INVITE", to, callID, "<"+to+">"), fmt.Sprintf("CSeq: %d INVITE", seq), fmt.Sprintf("CSeq: %d CANCEL", seq), 1)
		c.fire("CANCEL" + strings.TrimPrefix(cancel, "INVITE"))
		return
	}
	r := c.step(ctx, callID, b.rng.IntN(4), invite)
	if r == nil {
		return
	}
	remote, peer := r.Get(sip.HTo), to
	var set []string
	for v := range r.Values(sip.HRecordRoute) {
		set = append([]string{"Route: " + v}, set...)
	}
	if a, err := sip.ParseNameAddr(r.First(sip.HContact)); err == nil {
		peer = a.URI
	}
	ack := func() string {
		c.cseq--
		return c.lines("ACK", peer, callID, remote, set...)
	}
	if b.chance(2) {
		c.fire(ack())
	}
	c.write(ack())
	if r.Status() != 200 {
		return
	}
	c.m.answered.Add(1)
	if b.chance(2) {
		m := methods[b.rng.IntN(len(methods))]
		c.step(ctx, callID, b.rng.IntN(4), func() string {
			return c.lines(m, peer, callID, remote, append(set, "Contact: "+c.contact(), "Content-Type: application/sdp", "\r\n"+sdp)...)
		})
	}
	c.step(ctx, callID, b.rng.IntN(3), func() string { return c.lines("BYE", peer, callID, remote, set...) })
}
