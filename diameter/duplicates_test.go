package diameter

import (
	"reflect"
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

// TestDuplicatesKeepNoNames: what is remembered of a request is as long for all, however
// long the names in it are, and different for different names.
func TestDuplicatesKeepNoNames(t *testing.T) {
	d := newDuplicates(8)
	arrive := func(session, host string) bool {
		m := NewRequest(testApp, testCommand)
		m.Flags |= FlagRetransmitted
		m.Add(newAVP(avp.SessionID, datatype.UTF8String(session)))
		m.Add(origin(host)...)
		again, _ := d.arrive(&Request{Message: m})
		return again
	}
	if size := unsafe.Sizeof(duplicateKey{}); size > 32 {
		t.Errorf("a key has %d octets", size)
	}
	for _, k := range reflect.VisibleFields(reflect.TypeFor[duplicateKey]()) {
		if k.Type.Kind() == reflect.String {
			t.Errorf("%s of a key is as long as whoever sends it likes", k.Name)
		}
	}
	for _, names := range [][2]string{{"s1", "a.example.net"}, {"s2", "a.example.net"}, {"s1", "b.example.net"}, {"s1a", ".example.net"}} {
		if arrive(names[0], names[1]) {
			t.Errorf("%v is taken for another", names)
		}
		if !arrive(names[0], names[1]) {
			t.Errorf("%v is not recognised", names)
		}
	}
}
