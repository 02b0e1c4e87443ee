package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

// soakCalls is how many calls go through two proxies over a bad network.
const soakCalls = 300

// element is a core with one socket.
func element(t *testing.T, n *memnet.Network, ip string, h Handler) *Core {
	t.Helper()
	c, err := New(Config{
		Net: n.Host(ip), Shards: 2,
		Listen: []transport.Listen{{Addr: netip.AddrPortFrom(netip.MustParseAddr(ip), 5060), UDP: true, TCP: true}},
	}, h)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// callee answers calls: it rings, then takes the call, is busy, or rings until
// cancelled, and repeats its 200 until the ACK comes (RFC 3261 13.3.1.4).
type callee struct {
	t     *testing.T
	acked [2]map[string]bool // by shard: no lock
	index map[any]int
}

func (u *callee) acks(x *Exchange) map[string]bool { return u.acked[u.index[x.Shard]] }

func (u *callee) Request(x *Exchange) {
	call := x.Req.CallID()
	switch {
	case x.Req.Method() == "BYE":
		x.Reply(200, "")
	case x.Req.Method() != "INVITE":
		x.Reply(200, "")
	default:
		x.Reply(180, "")
		x.Shard.After(2*time.Second, func() {
			if x.Done() { // cancelled
				return
			}
			switch call[len(call)-1] {
			case '7':
				x.Reply(486, "")
			case '8', '9': // rings until it is cancelled
			default:
				u.take(x, call)
			}
		})
	}
}

func (u *callee) take(x *Exchange, call string) {
	b := x.Response(200, "").Add(sip.HContact, "<sip:bob@192.0.2.4>")
	x.Send(200, b)
	wait, total := 500*time.Millisecond, time.Duration(0)
	var again func()
	again = func() {
		if u.acks(x)[call] || total > 32*time.Second {
			return
		}
		x.Server().Respond(200, b.Bytes())
		total += wait
		wait = min(2*wait, 4*time.Second)
		x.Shard.After(wait, again)
	}
	x.Shard.After(wait, again)
}

func (u *callee) Ack(x *Exchange) { u.acks(x)[x.Req.CallID()] = true }

// callOutcome is what a caller saw.
type callOutcome struct {
	call   string
	status int
	bye    int
}

func TestSoak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(42)
		n.SetDefault(memnet.Link{
			Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond,
			Loss: 0.1, Duplicate: 0.05, Reorder: 0.1, ReorderBy: 200 * time.Millisecond,
		})
		record := &Own{User: "soak"}
		relay := func(next string) Handler {
			return handlerFunc(func(x *Exchange) {
				target := Target{}
				if x.Route.User != record.User {
					target = Target{Hop: hop(next), RecordRoute: record}
				}
				if x.Req.CallID()[1]%2 == 0 { // some after a while, as behind Cx
					go func() {
						time.Sleep(30 * time.Millisecond)
						x.Post(func() { x.Forward(target) })
					}()
					return
				}
				x.Forward(target)
			})
		}
		u := &callee{t: t, acked: [2]map[string]bool{{}, {}}, index: map[any]int{}}
		a := element(t, n, "192.0.2.1", to())
		p1 := element(t, n, "192.0.2.2", relay("192.0.2.3:5060"))
		p2 := element(t, n, "192.0.2.3", relay("192.0.2.4:5060"))
		b := element(t, n, "192.0.2.4", u)
		for i := 0; len(u.index) < 2; i++ {
			if sh := b.Shard(fmt.Sprint(i)); u.index[any(sh)] == 0 {
				if _, ok := u.index[any(sh)]; !ok {
					u.index[any(sh)] = len(u.index)
				}
			}
		}

		results := make(chan callOutcome, soakCalls)
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range soakCalls {
			time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
			call := fmt.Sprintf("c%d-%d", rng.IntN(10), i)
			a.Shard(call).Post(func() { dial(t, a, call, results) })
		}
		got := map[string]int{}
		for range soakCalls {
			select {
			case r := <-results:
				want := 200
				switch r.call[len(r.call)-1] {
				case '7':
					want = 486
				case '8', '9':
					want = 487
				}
				if r.status != want || want == 200 && r.bye != 200 {
					t.Errorf("call %s: %d, BYE %d; want %d", r.call, r.status, r.bye, want)
				}
				got[fmt.Sprint(r.status)]++
			case <-time.After(time.Hour):
				t.Fatalf("only %v calls have ended", got)
			}
		}
		t.Logf("outcomes: %v", got)

		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for i, c := range []*Core{a, p1, p2, b} {
			st := c.Stats()
			if tr := st.Transaction; tr.Servers+tr.Clients+tr.Timers+tr.Open+tr.Lingering != 0 {
				t.Errorf("element %d keeps %+v", i, tr)
			}
			if st.Unanswered+st.Refused+st.TimerC != 0 {
				t.Errorf("element %d: %+v", i, st)
			}
			c.Close()
		}
	})
}

// dial makes a call through the proxies and reports how it ended.
func dial(t *testing.T, a *Core, call string, results chan<- callOutcome) {
	const first = "<sip:192.0.2.2;lr>"
	build := func(method, uri string, cseq int, to string, routes ...string) *sip.Message {
		b := sip.NewRequest(method, uri).Add(sip.HMaxForwards, "70")
		for _, r := range routes {
			b.Add(sip.HRoute, r)
		}
		m, err := b.Add(sip.HFrom, "<sip:alice@test>;tag=a").Add(sip.HTo, to).Add(sip.HCallID, call).
			Add(sip.HCSeq, fmt.Sprintf("%d %s", cseq, method)).Add(sip.HContact, "<sip:alice@192.0.2.1>").Message()
		if err != nil {
			t.Error(err)
		}
		return m
	}
	var ack *sip.Message
	report := callOutcome{call: call}
	invite := &Origin{Req: build("INVITE", "sip:bob@test", 1, "<sip:bob@test>", first)}
	invite.Failed = func(_ *Exchange, status int, err error) {
		t.Logf("call %s failed: %d %v", call, status, err)
		results <- callOutcome{call: call, status: status}
	}
	invite.Response = func(x *Exchange, m *sip.Message) {
		switch {
		case m.Status() < 200:
		case m.Status() >= 300:
			results <- callOutcome{call: call, status: m.Status()}
		case ack != nil: // the ACK was lost
			if err := a.SendAck(ack, Target{}); err != nil {
				t.Error(err)
			}
		default:
			routes := slices.Collect(m.Values(sip.HRecordRoute))
			slices.Reverse(routes)
			contact, err := sip.ParseNameAddr(m.First(sip.HContact))
			if err != nil {
				t.Error(err)
			}
			ack = build("ACK", contact.URI, 1, m.Get(sip.HTo), routes...)
			if err := a.SendAck(ack, Target{}); err != nil {
				t.Error(err)
			}
			report.status = m.Status()
			bye := &Origin{Req: build("BYE", contact.URI, 2, m.Get(sip.HTo), routes...)}
			bye.Response = func(_ *Exchange, m *sip.Message) {
				report.bye = m.Status()
				results <- report
			}
			bye.Failed = func(_ *Exchange, status int, err error) {
				t.Logf("BYE of %s failed: %d %v", call, status, err)
				report.bye = status
				results <- report
			}
			x.Shard.After(10*time.Second, func() {
				if _, err := a.Originate(bye); err != nil {
					t.Error(err)
				}
			})
		}
	}
	x, err := a.Originate(invite)
	if err != nil {
		t.Error(err)
	}
	if c := call[len(call)-1]; c == '8' || c == '9' {
		x.Shard.After(40*time.Second, func() { x.Cancel() })
	}
}
