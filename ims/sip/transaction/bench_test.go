package transaction

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
)

// loop joins a layer to itself. Turning what was sent into a string is what a
// transport does with what it reads: one allocation a message that is not ours.
type loop struct{ l *Layer }

func (w *loop) Send(f sip.Flow, data []byte, _ func(error)) {
	f.Local, f.Remote = f.Remote, f.Local
	w.l.Receive(f, string(data))
}

// fixed answers every request with the same text, so that the benchmark measures
// this package and not the making of responses.
type fixed struct{ response []byte }

func (u *fixed) Request(s *Server)                    { s.Respond(200, u.response) }
func (u *fixed) Cancel(*Server, *sip.Message)         {}
func (u *fixed) Ack(*Shard, sip.Flow, *sip.Message)   {}
func (u *fixed) Stray(*Shard, sip.Flow, *sip.Message) {}

type bench struct {
	l    *Layer
	sh   *Shard
	req  ClientRequest
	done chan struct{}
}

func newBench(tb testing.TB, proto sip.Proto) *bench {
	w, u := &loop{}, &fixed{}
	b := &bench{done: make(chan struct{}, 1)}
	b.l = New(Config{Sender: w, User: u, Shards: 1, MaxLingering: 1000})
	tb.Cleanup(b.l.Close)
	w.l = b.l
	b.sh = b.l.Shard(callID)
	text := requestVia("MESSAGE", "SIP/2.0/"+proto.String()+" 192.0.2.1;branch=z9hG4bKbench", "", "P-Charging-Vector: icid-value=1\r\nRoute: <sip:scscf.example.com;lr>\r\n")
	m, err := sip.Parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	u.response = sip.NewResponse(m, 200, "", "us").Bytes()
	flow := sip.Flow{Proto: proto, Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort("192.0.2.1:5060")}
	if proto.Stream() {
		flow.Conn = 1
	}
	raw := []byte(text)
	b.req = ClientRequest{
		Method: "MESSAGE", Branch: "z9hG4bKbench", Flow: flow,
		Render:   func(sip.Flow) *sip.Buffer { return sip.BufferOf(raw) },
		Response: func(*Client, sip.Flow, *sip.Message) { b.done <- struct{}{} },
	}
	return b
}

// one runs a client and a server transaction to their end.
func (b *bench) one(start func()) {
	b.sh.Post(start)
	<-b.done
}

// BenchmarkNonInvite is one client and one server transaction over a stream, so
// that nothing lingers and the same branch can be used again.
func BenchmarkNonInvite(b *testing.B) {
	x := newBench(b, sip.TCP)
	start := func() { x.sh.Client(x.req) }
	b.ReportAllocs()
	for b.Loop() {
		x.one(start)
	}
}

// BenchmarkLingering is the server side alone, over UDP: each transaction stays
// until the bound on lingering ones is reached.
func BenchmarkLingering(b *testing.B) {
	l := New(Config{Sender: senderFunc(func(sip.Flow, []byte, func(error)) {}), User: &fixed{[]byte("SIP/2.0 200 OK\r\n\r\n")}, Shards: 1})
	defer l.Close()
	raws := make([]string, 1<<12)
	for i := range raws {
		raws[i] = request("MESSAGE", sip.NewBranch(), "")
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.Receive(udp, raws[i%len(raws)])
		if i%1024 == 1023 { // not faster than the shard
			done := make(chan struct{})
			l.Shard(callID).Post(func() { close(done) })
			<-done
		}
	}
}

// BenchmarkFromPhone is that for a request whose Via has to be completed, handled by who
// has read it.
func BenchmarkFromPhone(b *testing.B) {
	l := New(Config{Sender: senderFunc(func(sip.Flow, []byte, func(error)) {}), User: &fixed{[]byte("SIP/2.0 200 OK\r\n\r\n")}, Shards: 1})
	defer l.Close()
	raws := make([]string, 1<<12)
	for i := range raws {
		raws[i] = requestVia("REGISTER", "SIP/2.0/UDP 192.0.2.1:5060;rport;branch="+sip.NewBranch(), "",
			"Contact: <sip:192.0.2.1>;expires=600000\r\nSupported: path\r\nAuthorization: "+strings.Repeat("x", 300)+"\r\n")
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.ReceiveNow(gmUDP, raws[i%len(raws)], 0, 0)
	}
}

// A transaction allocates its Server with the request in it, its Client and what
// hears of a failure; the response's Message; and for the failure of a response
// on a stream a function. Two more are the strings that the loop makes.
func TestAllocations(t *testing.T) {
	x := newBench(t, sip.TCP)
	start := func() { x.sh.Client(x.req) }
	for range 100 {
		x.one(start)
	}
	if n := testing.AllocsPerRun(1000, func() { x.one(start) }); n > 8 {
		t.Errorf("a client and a server transaction allocate %.1f times, not 8 at most", n)
	} else {
		t.Logf("%.1f allocations", n)
	}
}
