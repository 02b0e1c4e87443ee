package diameter

import (
	"testing"
	"testing/synctest"
	"unsafe"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// testDuplicates shows what a server does with a request that comes again.
func testDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		var served []*Request
		server(t, mem, "hss.example.net", "hss:3868", func(r *Request) { served = append(served, r) })
		p1, p2 := dialRaw(t, mem, "hss:3868"), dialRaw(t, mem, "hss:3868")
		p1.handshake("raw1.example.net")
		p2.handshake("raw2.example.net")
		request := func(hop uint32, flags uint8, session string) *Message {
			m := NewRequest(testApp, testCommand)
			m.Flags |= flags
			m.HopByHop, m.EndToEnd = hop, 1234
			m.Add(newAVP(avp.SessionID, datatype.UTF8String(session)))
			m.Add(origin("raw.example.net")...)
			m.Add(testDictionary.Named(testApp, "Test-Name").New(datatype.UTF8String("n")))
			return m
		}
		p1.send(request(1, 0, "s1"))
		synctest.Wait()
		p2.send(request(2, FlagRetransmitted, "s1")) // by another way, while the first is served
		synctest.Wait()
		if len(served) != 1 {
			t.Fatalf("served %d times", len(served))
		}
		answers := make(chan *Message, 2)
		go func() { answers <- p1.read() }()
		go func() { answers <- p2.read() }()
		if err := served[0].Answer(served[0].NewAnswer(Result{Code: 2001, Experimental: true, Vendor: Vendor3GPP})); err != nil {
			t.Error(err)
		}
		hops := map[uint32]bool{(<-answers).HopByHop: true}
		if hops[(<-answers).HopByHop] = true; !hops[1] || !hops[2] {
			t.Errorf("answered %v", hops)
		}
		p1.send(request(3, FlagRetransmitted, "s1")) // after the answer
		if m := p1.read(); m.HopByHop != 3 || m.Find(avp.ExperimentalResult, 0) == nil {
			t.Errorf("the copy got %v", m)
		}
		// Not copies: no T on either, another session.
		p1.send(request(4, 0, "s1"))
		p1.send(request(5, FlagRetransmitted, "s2"))
		synctest.Wait()
		if len(served) != 3 {
			t.Errorf("served %d times, want 3", len(served))
		}
		for _, r := range served[1:] {
			go func() { _ = r.Answer(r.NewAnswer(Base(Success))) }()
			p1.read()
		}
	})
}

// TestDuplicatesKeepNoMessage: what is remembered of a request is not a part of it, or a
// thousand requests of a quarter of a mebibyte would be kept for their keys.
func TestDuplicatesKeepNoMessage(t *testing.T) {
	m := NewRequest(testApp, testCommand)
	m.Add(newAVP(avp.SessionID, datatype.UTF8String("s1")))
	m.Add(origin("raw.example.net")...)
	m, fault := testDictionary.Decode(m.Append(nil))
	if fault != nil {
		t.Fatal(fault)
	}
	d := newDuplicates(1)
	if again, _ := d.arrive(&Request{Message: m}); again || len(d.byKey) != 1 {
		t.Fatal("not remembered")
	}
	begin := uintptr(unsafe.Pointer(unsafe.StringData(string(m.body))))
	for key := range d.byKey {
		for _, s := range []string{key.origin, key.session} {
			at := uintptr(unsafe.Pointer(unsafe.StringData(s)))
			if s == "" || begin <= at && at < begin+uintptr(len(m.body)) {
				t.Errorf("%q is a part of the message", s)
			}
		}
	}
}
