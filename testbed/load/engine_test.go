package load

import (
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/aka"
)

// still makes an engine with phones whose P-CSCF hears them and says nothing.
func still(t *testing.T, phones int) (*engine, *net.UDPConn) {
	t.Helper()
	pcscf, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	key := aka.NewSecret(make([]byte, 16))
	cfg := Config{
		PCSCF: []netip.AddrPort{pcscf.LocalAddr().(*net.UDPAddr).AddrPort()}, Domain: "example.org", Phones: phones, First: 1010000000001, K: key, OPc: key, Mix: Only(Register),
	}
	cfg.defaults()
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	e, err := newEngine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = e.socket.conn.Close(), pcscf.Close() })
	return e, pcscf
}

// An attempt sends again by timer E and ends when its patience is over; one that has
// ended is left alone by the timers that it had.
func TestTimers(t *testing.T) {
	e, _ := still(t, 2)
	rec := &recorder{}
	o := e.newOffer(Only(Register), 2, 2, rec)
	traffic := &Traffic{}
	e.cfg.Traffic = traffic
	e.lock()
	defer e.mu.Unlock()
	e.now = 0
	e.load = o
	e.fill()
	if o.running != 2 || !o.ended {
		t.Fatalf("%d run, ended is %v", o.running, o.ended)
	}
	quits := e.phones[0].doing
	number := quits.number
	// T1 of 2 s doubles to T2 of 16 s: at 2, 6, 14 and 30 s.
	for _, at := range []struct{ seconds, again int }{{1, 0}, {2, 1}, {5, 1}, {6, 2}, {14, 3}, {29, 3}, {30, 4}} {
		e.now = time.Duration(at.seconds) * time.Second
		e.expire()
		if quits.retrans != at.again {
			t.Errorf("after %d s the REGISTER has been repeated %d times, want %d", at.seconds, quits.retrans, at.again)
		}
	}
	e.succeed(quits)
	e.now = 33 * time.Second
	e.expire()
	sum := rec.sum()
	if quits.number == number || sum.ok != 1 || sum.failed != 1 || sum.causes["REGISTER: no final answer"] != 1 || sum.retrans != 8 || sum.wrong != 2 {
		t.Errorf("one succeeded after 30 s, the other never: %+v", sum)
	}
	if c := traffic.Count(); c.Requests["REGISTER"] != 2 || len(c.Answers) != 0 {
		t.Errorf("two requests, each sent again and again, are %+v", c)
	}
	select {
	case <-o.done:
	default:
		t.Error("the offer has not ended")
	}
	if e.off.size != 2 || len(e.active) != 0 {
		t.Errorf("%d phones are free, %d attempts under way", e.off.size, len(e.active))
	}
}

// What comes too late, twice, or from nowhere does no harm: it belongs to nothing, or it is
// answered as a phone answers what it has forgotten.
func TestStrayMessages(t *testing.T) {
	e, pcscf := still(t, 2)
	e.lock()
	defer e.mu.Unlock()
	via := "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKl1\r\n"
	rest := "From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n"
	before := slices.Clone(e.phones)
	if err := pcscf.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, message string
		strays        uint64
		says          string // the first line of what the phone answers, without its URI; empty: nothing
	}{
		{"nothing", "", 1, ""},
		{"no headers", "SIP/2.0 200 OK\r\n\r\n", 1, ""},
		{"a call of somebody else", "SIP/2.0 200 OK\r\n" + via + rest + "Call-ID: x\r\nCSeq: 1 INVITE\r\n\r\n", 1, ""},
		{"a branch of somebody else", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKx\r\n" + rest + "Call-ID: a1-0-1-" + e.run + "\r\nCSeq: 1 INVITE\r\n\r\n", 1, ""},
		{"an answer to the other's call", "SIP/2.0 200 OK\r\n" + via + rest + "Call-ID: a1-1-0-" + e.run + "\r\nCSeq: 1 INVITE\r\n\r\n", 1, ""},
		{"a late 200 to an INVITE", "SIP/2.0 200 OK\r\n" + via + rest + "Call-ID: a1-0-1-" + e.run + "\r\nCSeq: 1 INVITE\r\nContact: <sip:a@b>\r\n\r\n", 0, "ACK"},
		{"a late refusal", "SIP/2.0 486 Busy\r\n" + via + rest + "Call-ID: a1-0-1-" + e.run + "\r\nCSeq: 1 INVITE\r\n\r\n", 0, "ACK"},
		{"a late challenge", "SIP/2.0 401 No\r\n" + via + rest + "Call-ID: r1-0-0-" + e.run + "\r\nCSeq: 1 REGISTER\r\n\r\n", 0, ""},
		{"NOTIFY without a subscription", "NOTIFY sip:a@b SIP/2.0\r\n" + via + rest + "Call-ID: s1-0-0-" + e.run + "\r\nCSeq: 1 NOTIFY\r\n\r\n", 0, "SIP/2.0 481"},
		{"ACK to nothing", "ACK sip:a@b SIP/2.0\r\n" + via + rest + "Call-ID: a1-0-1-" + e.run + "\r\nCSeq: 1 ACK\r\n\r\n", 0, ""},
		{"CANCEL of nothing", "CANCEL sip:a@b SIP/2.0\r\n" + via + rest + "Call-ID: a1-1-0-" + e.run + "\r\nCSeq: 1 CANCEL\r\n\r\n", 1, "SIP/2.0 481"},
		{"INVITE out of nowhere", "INVITE sip:a@b SIP/2.0\r\n" + via + rest + "Call-ID: x\r\nCSeq: 1 INVITE\r\n\r\n", 1, "SIP/2.0 481"},
	} {
		was := e.stray
		e.receive([]byte(tt.message), netip.MustParseAddr("127.0.0.99"))
		if e.stray != was+1 || e.socket.queue != 0 {
			t.Errorf("%s: %d strays, %d datagrams where there is no phone", tt.name, e.stray-was, e.socket.queue)
		}
		was = e.stray
		e.receive([]byte(tt.message), netip.AddrFrom4(e.phones[0].addr))
		if e.stray != was+tt.strays {
			t.Errorf("%s: %d strays, want %d", tt.name, e.stray-was, tt.strays)
		}
		answers := 0
		if tt.says != "" {
			answers = 1
		}
		sent := e.socket.queue
		if e.socket.flush(); sent != answers {
			t.Errorf("%s: %d datagrams in return, want %d", tt.name, sent, answers)
		}
		for range sent {
			var b [2000]byte
			if n, err := pcscf.Read(b[:]); err != nil || !strings.HasPrefix(string(b[:n]), tt.says) {
				t.Errorf("%s: in return comes %q, %v; want %s", tt.name, b[:n], err, tt.says)
			}
		}
	}
	if !reflect.DeepEqual(before, e.phones) || len(e.active) != 0 || e.off.size != 2 {
		t.Errorf("the phones are %+v, they were %+v; %d attempts are under way, %d phones free", e.phones, before, len(e.active), e.off.size)
	}
}

// TestStopsRinging: a phone does not ring on for a caller who has been refused, as is one
// whose I-CSCF dies behind the INVITE: nobody takes that back. One that has answered says
// no more.
func TestStopsRinging(t *testing.T) {
	e, pcscf := still(t, 2)
	e.cfg.Ring = time.Hour
	e.lock()
	defer e.mu.Unlock()
	if err := pcscf.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	heard := func() (first []string) {
		sent := e.socket.queue
		e.socket.flush()
		for range sent {
			var b [2000]byte
			n, err := pcscf.Read(b[:])
			if err != nil {
				t.Fatal(err)
			}
			line, _, _ := strings.Cut(string(b[:n]), "\r\n")
			first = append(first, line)
		}
		return first
	}
	o := e.newOffer(Only(Call), 0, 1, &recorder{})
	for _, tt := range []struct {
		kind Scenario
		last string // what the called phone says by itself
		end  []string
	}{
		{Call, "SIP/2.0 180 Ringing", []string{"SIP/2.0 480 Temporarily Unavailable"}},
		{Rejected, "SIP/2.0 486 Busy Here", nil},
	} {
		e.numbers++
		from, to := &e.phones[0], &e.phones[1]
		e.launch(o, &recorder{}, tt.kind, from, to, 0)
		a := from.doing
		heard()
		e.receive(a.main.request, netip.AddrFrom4(to.addr))
		if got := heard(); len(got) != 1 || got[0] != tt.last {
			t.Errorf("%s: the called phone says %q, want %q", tt.kind, got, tt.last)
		}
		e.fail(a, "INVITE: 504")
		if got := heard(); !slices.Equal(got, tt.end) {
			t.Errorf("%s: when the caller has been refused the called phone says %q, want %q", tt.kind, got, tt.end)
		}
		if from.doing != nil || to.doing != nil {
			t.Errorf("%s: the phones are still busy", tt.kind)
		}
	}
}

// How long a success takes counts from when it was due, as well if no phone was there at
// that time, and leaves out what the phone itself waits.
func TestLatencyCountsFromWhenItWasDue(t *testing.T) {
	const ms = time.Millisecond
	e, _ := still(t, 1)
	rec := &recorder{}
	o := e.newOffer(Only(Register), 0, 1, rec)
	e.lock()
	defer e.mu.Unlock()
	e.now = 150 * ms
	if !e.try(o, Register, 100*ms) {
		t.Fatal("no phone")
	}
	a := e.phones[0].doing
	e.now = 160 * ms
	e.after(a, 20*ms, answerChallenge)
	e.now = 180 * ms
	e.tick(a)
	e.now = 190 * ms
	e.succeed(a)
	sum := rec.sum()
	if l := sum.latency.latency(); l.Count != 1 || l.Max < 69 || l.Max > 72 {
		t.Errorf("%+v, want 90 ms less the 20 that the phone has waited", l)
	}
}

// How long a refusal takes counts for the request that is refused, not for what the
// attempt has done before it.
func TestRefusals(t *testing.T) {
	const ms = time.Millisecond
	for name, refuse := range map[string]struct {
		steps func(e *engine, a *attempt)
		want  time.Duration
	}{
		"the first, from when it was due": {func(e *engine, a *attempt) {
			e.now = 130 * ms
		}, 30 * ms},
		"the answer to a challenge, from when it was sent": {func(e *engine, a *attempt) {
			e.now = 150 * ms
			e.after(a, 20*ms, answerChallenge)
			e.now = 170 * ms
			e.tick(a)
			e.now = 180 * ms
		}, 10 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			e, _ := still(t, 1)
			rec := &recorder{}
			o := e.newOffer(Only(Register), 0, 1, rec)
			e.lock()
			defer e.mu.Unlock()
			e.now = 110 * ms // late by 10 ms
			if !e.try(o, Register, 100*ms) {
				t.Fatal("no phone")
			}
			a := e.phones[0].doing
			refuse.steps(e, a)
			e.refused(a, &heard{status: 503, method: []byte("REGISTER")})
			if l := rec.refused.latency(); l.Count != 1 || l.Max < 0.95*refuse.want.Seconds()*1000 || l.Max > 1.05*refuse.want.Seconds()*1000 {
				t.Errorf("%+v, want %v", l, refuse.want)
			}
		})
	}
}

// A subscription that nobody has answered begins anew with the next SUBSCRIBE: it has no
// dialog to send in.
func TestUnansweredSubscription(t *testing.T) {
	e, _ := still(t, 1)
	e.lock()
	defer e.mu.Unlock()
	p := &e.phones[0]
	calls := map[string]bool{}
	for n := range uint64(3) {
		a := &attempt{kind: Subscribe, from: p, number: n + 1, rec: &recorder{}}
		e.beginSubscribe(a)
		first, _, _ := strings.Cut(string(a.main.request), "\r\n")
		if want := "SUBSCRIBE sip:001010000000001@example.org SIP/2.0"; first != want || a.cseq != 1 {
			t.Errorf("the SUBSCRIBE is %q with CSeq %d, want %q with 1", first, a.cseq, want)
		}
		calls[string(a.callID)] = true
	}
	if len(calls) != 3 {
		t.Errorf("three subscriptions have the Call-IDs %v", calls)
	}
}
