package scscf

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// What a registered user with one private identity, two public ones, one contact and no
// filter criteria may take of the heap. The collector looks at each object whenever it
// marks, and most are in no cache: with many users that is what the slowest requests wait
// for. They were 18 objects of 1823 octets once the phone had refreshed its contact.
const (
	objectsPerUser = 7
	octetsPerUser  = 1600
)

// Whatever becomes of a registration, nothing of the one before stays.
func TestARegisteredUserIsSmall(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		heap := func() (objects, octets int) {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int(m.HeapObjects), int(m.HeapAlloc)
		}
		const count = 4000
		settle(t, h.s, count, 1, true) // the first has what all share, the second is of its template
		settle(t, h.s, count+1, 1, true)
		objects, octets := heap()
		for _, tt := range []struct {
			what string
			do   func(n int)
		}{
			{"registered", func(n int) { settle(t, h.s, n, 1, true) }},
			{"refreshed", func(n int) { settle(t, h.s, n, 2, false) }},
			{"refreshed again", func(n int) { settle(t, h.s, n, 3, false) }},
			{"registered anew", func(n int) { settle(t, h.s, n, 4, true) }},
			{"with another profile", func(n int) { push(t, h.s, n) }},
			{"refreshed with it", func(n int) { settle(t, h.s, n, 5, false) }},
		} {
			for n := range count {
				tt.do(n)
			}
			o, size := heap()
			each, size := float64(o-objects)/count, (size-octets)/count
			t.Logf("%s: %.2f objects and %d octets for each user", tt.what, each, size)
			if each > objectsPerUser+0.5 || size > octetsPerUser {
				t.Errorf("who is %s takes %.2f objects and %d octets of the heap, want at most %d and %d", tt.what, each, size, objectsPerUser, octetsPerUser)
			}
		}
		if n := h.s.store.Len(); n != count+2 {
			t.Errorf("%d users are registered, want %d", n, count+2)
		}
	})
}

// settle puts in what a REGISTER of user n and the HSS's answer to its SAR would, without
// the messages: a profile is in that answer where the HSS is asked for one.
func settle(t *testing.T, s *Server, n, cseq int, withProfile bool) {
	t.Helper()
	name := nameOfUser(n)
	impu := "sip:" + name + "@" + home
	m, err := sip.Parse(fmt.Sprintf("REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK%s\r\nFrom: <%s>;tag=1\r\nTo: <%[3]s>\r\n"+
		"Call-ID: %[4]s@10.0.0.1\r\nCSeq: %[5]d REGISTER\r\nP-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010000001\r\nP-Visited-Network-ID: \"visited.test\"\r\n"+
		"Path: <sip:token-%[4]s@192.0.2.1;lr>\r\nContact: <sip:%[4]s@10.0.0.1:5060>;expires=3600;+sip.instance=\"<urn:gsma:imei:%[4]s>\"\r\n"+
		"Authorization: Digest username=\"%[4]s@%[6]s\"\r\nContent-Length: 0\r\n\r\n", scscfAddr, name, impu, name, cseq, home))
	if err != nil {
		t.Fatal(err)
	}
	r := &registration{s: s, x: &proxy.Exchange{Req: m}, cred: new(sip.Credentials)}
	if ref, bad := r.read(); bad {
		t.Fatal(ref.Text)
	}
	a := &cx.SAA{Charging: &cx.ChargingInformation{PrimaryCollection: "aaa://ccf1"}}
	a.OriginHost = "hss." + home
	if withProfile {
		a.UserData = userDataOf(n)
	}
	old := s.store.Get(impu)
	now, err := r.registered(old, a)
	if err == nil {
		err = s.store.Put(old, now)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// push is a profile that the HSS pushes for user n.
func push(t *testing.T, s *Server, n int) {
	t.Helper()
	if r := (hssRequests{s}).replace(nameOfUser(n)+"@"+home, &cx.PPR{UserData: userDataOf(n)}); r != diameter.Base(diameter.Success) {
		t.Fatal(r)
	}
}

func nameOfUser(n int) string { return fmt.Sprintf("%015d", n) }

// userDataOf is the User-Data of user n.
func userDataOf(n int) string {
	p := user(nil, id("sip:"+nameOfUser(n)+"@"+home), id(fmt.Sprintf("tel:+%d", 15550000000+n)))
	p.PrivateID = identity.IMPI(nameOfUser(n) + "@" + home)
	return string(p.Marshal())
}
