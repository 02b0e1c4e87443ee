package proxy

import (
	"net/netip"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/uri"
)

// What a socket made ours is not ours once it is closed, unless it is an alias.
func TestUnlisten(t *testing.T) {
	run(t, handlerFunc(func(x *Exchange) { x.Reply(200, "") }), func(w *world) {
		is := func(s string) bool {
			u, err := uri.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			return w.core.IsSelf(u)
		}
		for _, a := range []string{"192.0.2.1:6100", "192.0.2.1:6101"} {
			l := transport.Listen{Addr: netip.MustParseAddrPort(a), UDP: true, Role: sip.RoleProtectedServer}
			if _, err := w.core.Listen(l); err != nil {
				t.Fatal(err)
			}
		}
		own := sip.Flow{Role: sip.RoleProtectedClient, Local: netip.MustParseAddrPort("192.0.2.1:5100")}
		if got := w.core.sentBy(own); got != "192.0.2.1:6100" || !is("sip:192.0.2.1:6100") {
			t.Errorf("sent-by %s of the first of two server ports", got)
		}
		for _, c := range []struct {
			addr   string
			closed bool
			sentBy string
		}{
			{"192.0.2.1:6100", true, "192.0.2.1:6101"},
			{"192.0.2.1:6100", false, "192.0.2.1:6101"},
			{"192.0.2.1:6101", true, "192.0.2.1:5100"},
		} {
			if got := w.core.Unlisten(netip.MustParseAddrPort(c.addr)); got != c.closed {
				t.Errorf("closing %s: %v", c.addr, got)
			}
			if got := w.core.sentBy(own); got != c.sentBy {
				t.Errorf("sent-by %s behind %s, want %s", got, c.addr, c.sentBy)
			}
			if is("sip:" + c.addr) {
				t.Errorf("%s is still ours", c.addr)
			}
		}
		w.core.Unlisten(netip.MustParseAddrPort(gmAddr))
		if !is("sip:"+gmAddr) || !is("sip:"+coreAddr) {
			t.Error("an alias, or the socket of another address, is ours no more")
		}
	}, func(c *Config) { c.Aliases = []string{gmAddr} })
}
