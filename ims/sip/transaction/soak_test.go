package transaction

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// lossy joins two layers by a network that loses, delays, doubles and reorders.
type lossy struct {
	mu   sync.Mutex
	rand *rand.Rand
	to   *Layer
}

func (n *lossy) Send(f sip.Flow, data []byte, _ func(error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	copies := 1
	switch p := n.rand.IntN(100); {
	case p < 20:
		copies = 0
	case p < 25:
		copies = 2
	}
	raw := string(data)
	back := sip.Flow{Proto: f.Proto, Role: f.Role, Local: f.Remote, Remote: f.Local}
	for range copies {
		time.AfterFunc(time.Duration(n.rand.IntN(100))*time.Millisecond, func() { n.to.Receive(back, raw) })
	}
}

// callee answers according to the first letter of the user part; nobody answers "n".
type callee struct {
	t  *testing.T
	mu sync.Mutex
	n  map[string]int // requests by Call-ID
}

func (u *callee) Request(s *Server) {
	u.mu.Lock()
	u.n[s.Req.CallID()]++
	u.mu.Unlock()
	switch s.Req.RequestURI()[4] {
	case 'o': // ok, after ringing
		if s.Req.Method() == "INVITE" {
			answer(s, 180)
		}
		s.Shard.After(700*time.Millisecond, func() { answer(s, 200) })
		for i := 1; i < 12 && s.Req.Method() == "INVITE"; i++ { // the UAS core repeats its 2xx
			s.Shard.After(700*time.Millisecond+time.Duration(i)*2*time.Second, func() { answer(s, 200) })
		}
	case 'b':
		answer(s, 486)
	case 's': // slow
		s.Shard.After(5*time.Second, func() { answer(s, 404) })
	case 'n': // a proxy behind which nobody answers: 408 is for INVITE alone
		s.Shard.After(40*time.Second, func() {
			if s.Req.Method() == "INVITE" {
				answer(s, 408)
			}
			s.Abandon()
		})
	}
}

func (u *callee) Cancel(s *Server, _ *sip.Message)           { answer(s, 487) }
func (u *callee) Ack(_ *Shard, _ sip.Flow, _ *sip.Message)   {}
func (u *callee) Stray(_ *Shard, _ sip.Flow, _ *sip.Message) { u.t.Error("the callee got a response") }

// After 10,000 transactions of all sorts over a bad network every one has had
// exactly one outcome and nothing is left, on either side.
func TestSoak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const total = 10000
		source := rand.New(rand.NewPCG(1, 2))
		forth, back := &lossy{rand: source}, &lossy{rand: rand.New(rand.NewPCG(3, 4))}
		uas := &callee{t: t, n: map[string]int{}}
		uac := &tu{}
		client := New(Config{Sender: forth, User: uac, Shards: 2})
		server := New(Config{Sender: back, User: uas, Shards: 2})
		forth.to, back.to = server, client
		defer client.Close()
		defer server.Close()

		var mu sync.Mutex
		finals := make([]int, total)
		statuses := map[string]int{}
		done := func(i int, what string) {
			mu.Lock()
			defer mu.Unlock()
			finals[i]++
			statuses[what]++
		}
		flow := sip.Flow{Proto: sip.UDP, Local: addr("192.0.2.1:5060"), Remote: addr("192.0.2.9:5060")}
		for i := range total {
			method := [...]string{"INVITE", "MESSAGE", "SUBSCRIBE"}[i%3]
			id, user := fmt.Sprint("soak", i), [...]string{"ok", "busy", "slow", "ok", "nobody"}[i%5]
			cancel := method == "INVITE" && i%2 == 0
			sh := client.Shard(id)
			sh.Post(func() {
				first := true
				c := sh.Client(ClientRequest{
					Method: method, Branch: "z9hG4bK" + id, Flow: flow,
					Render: func(sip.Flow) *sip.Buffer {
						b := sip.NewRequest(method, "sip:"+user+"@example.com")
						b.Add(sip.HVia, "SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK"+id)
						b.Add(sip.HFrom, "<sip:a@example.com>;tag=1").Add(sip.HTo, "<sip:b@example.com>")
						b.Add(sip.HCallID, id).Add(sip.HCSeq, "1 "+method).Add(sip.HMaxForwards, "70")
						return b.Buffer()
					},
					Response: func(_ *Client, _ sip.Flow, m *sip.Message) {
						if m.Status() >= 200 && first {
							first = false
							done(i, fmt.Sprint(m.Status()))
						}
					},
					Failed: func(_ *Client, err error) { done(i, err.Error()) },
				})
				if cancel {
					sh.After(300*time.Millisecond, func() { c.Cancel() })
				}
			})
			if i%10 == 0 {
				time.Sleep(3 * time.Millisecond)
			}
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		for i, n := range finals {
			if n != 1 {
				t.Errorf("transaction %d: %d outcomes", i, n)
			}
		}
		for id, n := range uas.n {
			if n != 1 {
				t.Errorf("%s reached the User %d times", id, n)
			}
		}
		for _, status := range []string{"200", "404", "408", "486", "487", ErrTimeout.Error()} {
			if statuses[status] == 0 {
				t.Errorf("none ended in %s: %v", status, statuses)
			}
		}
		for name, l := range map[string]*Layer{"client": client, "server": server} {
			s := l.Stats()
			if s.Servers+s.Clients+s.Open+s.Lingering+s.Timers+s.Queued != 0 {
				t.Errorf("%s: left behind: %+v", name, s)
			}
			for _, sh := range l.shards {
				if len(sh.servers)+len(sh.clients)+len(sh.timers.entries)+len(sh.later) != 0 {
					t.Errorf("%s: a table is not empty", name)
				}
			}
			if s.Retransmits == 0 || s.Absorbed == 0 {
				t.Errorf("%s: nothing was lost: %+v", name, s)
			}
		}
		t.Log(statuses)
	})
}
