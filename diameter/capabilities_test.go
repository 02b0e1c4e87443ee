package diameter

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/avp"
)

func TestConnectionsThatDoNotBeginWithCapabilitiesAreClosed(t *testing.T) {
	for name, octets := range map[string][]byte{
		"a request":           rawMessage(body(), nil),
		"a DWR":               baseMessage(DeviceWatchdog, true, origin("raw.example.net")...).Append(nil),
		"a CEA":               baseMessage(CapabilitiesExchange, false, capabilitiesOf("raw.example.net", testApp)...).Append(nil),
		"HTTP":                []byte("GET / HTTP/1.1\r\nHost: hss\r\n\r\n"),
		"nothing at all":      nil,
		"half of a CER":       baseMessage(CapabilitiesExchange, true, capabilitiesOf("raw.example.net", testApp)...).Append(nil)[:30],
		"a length of 16 MiB ": {1, 0xff, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := newMemNet()
				server(t, mem, "hss.example.net", "hss:3868", nil)
				p := dialRaw(t, mem, "hss:3868")
				p.write(octets)
				p.expectClosed(11 * time.Second)
			})
		})
	}
}

func TestCapabilitiesAreRefused(t *testing.T) {
	caps := func(drop uint32, add ...*AVP) []*AVP {
		var out []*AVP
		for _, a := range capabilitiesOf("raw.example.net", testApp) {
			if a.Code != drop {
				out = append(out, a)
			}
		}
		return append(out, add...)
	}
	for _, c := range []struct {
		name string
		avps []*AVP
		want ResultCode
	}{
		{"no common application", capabilitiesOf("raw.example.net", 4), NoCommonApplication},
		{"no application", caps(avp.VendorSpecificApplicationID), NoCommonApplication},
		{"our own name", capabilitiesOf("HSS.example.net", testApp), UnknownPeer},
		{"unknown peer", capabilitiesOf("stranger.example.net", testApp), UnknownPeer},
		{"no Origin-Host", caps(avp.OriginHost), MissingAVP},
		{"no Product-Name", caps(avp.ProductName), MissingAVP},
		{"only in-band TLS", caps(0, newAVP(avp.InbandSecurityID, unsigned(1))), NoCommonSecurity},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := newMemNet()
				cfg := testConfig("hss.example.net")
				cfg.AcceptUnknown = false
				cfg.Peers = []PeerConfig{{Host: "raw.example.net"}}
				n := newNode(t, cfg)
				if err := n.Listen(mem.listen("hss:3868")); err != nil {
					t.Fatal(err)
				}
				p := dialRaw(t, mem, "hss:3868")
				p.send(baseMessage(CapabilitiesExchange, true, c.avps...))
				m := p.read()
				if result(m) != c.want || m.Flags&FlagError != 0 != c.want.isProtocolError() {
					t.Errorf("CEA with %v, flags %#x, want %v", result(m), m.Flags, c.want)
				}
				if (result(m) == MissingAVP) != (m.Find(avp.FailedAVP, 0) != nil) {
					t.Error("Failed-AVP and DIAMETER_MISSING_AVP belong together")
				}
				p.expectClosed(2 * time.Second)
			})
		})
	}
}

// A CER of Kamailio 5.6.3, which has not found its own address.
func TestCapabilitiesWithoutAddressAreAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		server(t, mem, "hss.example.net", "hss:3868", nil)
		var avps []*AVP
		for _, a := range capabilitiesOf("raw.example.net", testApp) {
			if a.Code != avp.HostIPAddress {
				avps = append(avps, a)
			}
		}
		p := dialRaw(t, mem, "hss:3868")
		p.send(baseMessage(CapabilitiesExchange, true, avps...))
		if m := p.read(); result(m) != Success {
			t.Errorf("CEA with %v", result(m))
		}
		p.alive()
	})
}
