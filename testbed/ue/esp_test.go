package ue

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/reginfo"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
)

// espNetwork is the scripted network on the loopback with ESP in UDP; where that is
// taken comes with it.
func espNetwork(t *testing.T) (*network, *netstack.Stack, netip.AddrPort) {
	t.Helper()
	carrier, err := esp.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	stack, err := netstack.New(netstack.Config{Carriers: []esp.Carrier{carrier}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stack.Close() })
	addr := netip.MustParseAddrPort("127.0.0.1:0")
	w := newGatedNetwork(t, transport.Kernel(), addr, newGate(stack, transport.Kernel(), addr.Addr()))
	return w, stack, carrier.Local()
}

// Real ESP on the loopback, in real time: a phone over UDP, one over TCP, and what
// goes between them; a NOTIFY that fits no packet; a replayed packet.
func TestESP(t *testing.T) {
	w, stack, at := espNetwork(t)
	config := func(c Config, profile string) Config {
		c.Local, c.Port, c.PCSCF, c.ESPUDP, c.IPsec, c.Profile = netip.Addr{}, 0, w.addr, at, "user", profile
		return c
	}
	a, b := config(aliceConfig(), "generic"), config(bobConfig(), "samsung")
	a.Offer = []ipsec.Pair{sha1AES}
	var phones [2]*Phone
	for i, c := range []Config{b, a} { // the network notifies whoever came last
		p, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if _, err := p.Register(t.Context()); err != nil {
			t.Fatal(err)
		}
		phones[i] = p
	}
	bob, alice := phones[0], phones[1]
	for _, c := range []struct {
		from *Phone
		to   string
	}{{alice, "bob"}, {bob, "alice"}} {
		call, err := c.from.Call(t.Context(), "sip:"+c.to+"@"+domain, CallOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := call.Hangup(t.Context()); err != nil {
			t.Error(err)
		}
	}

	// A request that fits no packet, in one datagram.
	large := "MESSAGE sip:alice@" + alice.contactURI()[len("sip:alice@"):] + " SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:6100;branch=z9hG4bKlarge\r\n" +
		"From: <sip:a@b>;tag=1\r\nTo: <sip:alice@b>\r\nCall-ID: large\r\nCSeq: 1 MESSAGE\r\nMax-Forwards: 70\r\nContent-Type: text/plain\r\n" +
		"Content-Length: 9000\r\n\r\n" + strings.Repeat("x", 9000)
	w.gate.mu.Lock()
	set := w.gate.last["alice"]
	w.gate.mu.Unlock()
	w.gate.send(set, large)
	select {
	case m := <-alice.Messages():
		if len(m.Body) != 9000 {
			t.Errorf("%d octets", len(m.Body))
		}
	case <-time.After(5 * time.Second):
		t.Fatal("a MESSAGE of 9000 octets in one datagram has not come")
	}

	// A NOTIFY of 8 kB, over the connection that the P-CSCF dials for it.
	w.mu.Lock()
	n := w.notifiers["alice"]
	w.mu.Unlock()
	if n == nil {
		t.Fatal("alice has not subscribed")
	}
	big := reginfo.Document{Version: 1, Registrations: []reginfo.Registration{{AOR: "sip:alice@" + domain, ID: "a", State: reginfo.Active}}}
	for i := range 60 {
		big.Registrations[0].Contacts = append(big.Registrations[0].Contacts, reginfo.Contact{
			ID: fmt.Sprint(i), State: reginfo.Active, Event: reginfo.Registered, URI: fmt.Sprintf("sip:%s@192.0.2.%d", strings.Repeat("x", 40), i)})
	}
	text := string(big.Append(nil))
	n.Post(func() { n.Terminate("giveup", 0, dialog.Part{Type: reginfo.ContentType, Body: text}) })
	for deadline := time.Now().Add(5 * time.Second); alice.agent.Dialogs() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the NOTIFY of %d octets has not ended the subscription", len(text))
		}
	}

	if err := alice.SetFaults(Faults{Replay: true}); err != nil {
		t.Fatal(err)
	}
	if err := alice.Message(t.Context(), "sip:bob@"+domain, "twice"); err != nil {
		t.Error(err)
	}
	if d := stack.Drops(); d[esp.Replayed] == 0 || d[esp.BadICV]+d[esp.UnknownSPI]+d[esp.Selector]+d[esp.Malformed] != 0 {
		t.Errorf("drops by reason %v, want replayed packets alone", d)
	}
	for _, p := range phones {
		if err := p.Deregister(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// The commands with IPsec, as scripts use them.
func TestCommandsWithIPsec(t *testing.T) {
	w, _, at := espNetwork(t)
	const k, opc = "465b5ce8b199b49faa5f0a2ee238a6bc", "cd63cb71954a9f4e48a5994e37a02baf"
	args := func(more ...string) []string {
		return append([]string{"register", "--pcscf", w.addr.String(), "--domain", domain, "--impi", "alice@" + domain,
			"--impu", "sip:alice@" + domain, "--k", k, "--opc", opc, "--json", "--esp-udp", at.String()}, more...)
	}
	t.Run("auto", func(t *testing.T) {
		out, err := run(t, args("--offer", "hmac-sha-1-96/aes-cbc")...)
		for _, want := range []string{`"ok":true`, `"ipsec":{"backend":"user","alg":"hmac-sha-1-96","ealg":"aes-cbc","mod":"trans","phone":{"addr":"127.0.0.1","port_c":`, `"pcscf":{"addr":"127.0.0.1","port_c":5100,"port_s":6100,"spi_c":4096,"spi_s":4097}`} {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("%v, want %s in\n%s", err, want, out)
			}
		}
	})
	t.Run("user, samsung", func(t *testing.T) {
		if out, err := run(t, args("--ipsec", "user", "--profile", "samsung")...); err != nil || !strings.Contains(out, `"port_c":6301,"port_s":6300`) {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("none", func(t *testing.T) {
		if out, err := run(t, args("--ipsec", "none")...); err == nil || !strings.Contains(out, "insists on IPsec") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("a new address", func(t *testing.T) {
		if out, err := run(t, args("--fault", "ip-change")...); err != nil || !strings.Contains(out, `"phone":{"addr":"127.0.0.2"`) {
			t.Errorf("%v\n%s", err, out)
		}
	})
	for _, c := range []struct{ fault, says string }{
		{"wrong-verify", "494"},
		{"no-esp", "within --timeout"},
		{"wrong-keys", "within --timeout"},
		{"wrong-spi", "within --timeout"},
		{"cut", "cut off"},
		{"clear-register", "refused"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			if out, err := run(t, args("--fault", c.fault, "--timeout", "200ms")...); err == nil || !strings.Contains(out, c.says) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
