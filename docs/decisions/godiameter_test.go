package decisions_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
	"github.com/fiorix/go-diameter/v4/diam/dict"
	"github.com/fiorix/go-diameter/v4/diam/sm"
)

// serialized is the message on the wire.
func serialized(t *testing.T, m *diam.Message) []byte {
	t.Helper()
	b, err := m.Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// capabilities is a CER of a peer that speaks Rx.
func capabilities(t *testing.T) []byte {
	m := diam.NewRequest(diam.CapabilitiesExchange, 0, dict.Default)
	m.AddAVP(diam.NewAVP(avp.OriginHost, avp.Mbit, 0, datatype.DiameterIdentity("peer.example.com")))
	m.AddAVP(diam.NewAVP(avp.OriginRealm, avp.Mbit, 0, datatype.DiameterIdentity("example.com")))
	m.AddAVP(diam.NewAVP(avp.HostIPAddress, avp.Mbit, 0, datatype.Address(net.IPv4(127, 0, 0, 1))))
	m.AddAVP(diam.NewAVP(avp.VendorID, avp.Mbit, 0, datatype.Unsigned32(0)))
	m.AddAVP(diam.NewAVP(avp.ProductName, 0, 0, datatype.UTF8String("peer")))
	m.AddAVP(diam.NewAVP(avp.AuthApplicationID, avp.Mbit, 0, datatype.Unsigned32(16777236)))
	return serialized(t, m)
}

// wrongLength makes the header of b say that the message is 19 octets long.
func wrongLength(b []byte) []byte {
	copy(b[1:4], []byte{0, 0, 19})
	return b
}

// serve starts the library's server on loopback and returns a connection to it.
func serve(t *testing.T, h diam.Handler) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = (&diam.Server{Handler: h}).Serve(l)
	}()
	t.Cleanup(func() { l.Close(); <-done })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func stateMachine() *sm.StateMachine {
	return sm.New(&sm.Settings{OriginHost: "hss.example.com", OriginRealm: "example.com", ProductName: "hss"})
}

// The allocation itself is shown in a process that may not have the memory: see
// TestGoDiameterAllocatesFourGigabytes. This shows on any system what leads to it.
func TestGoDiameterAcceptsAHeaderShorterThanItself(t *testing.T) {
	h, err := diam.DecodeHeader(wrongLength(capabilities(t)))
	if err != nil {
		mended(t, "0002", "a message length under 20")
		return
	}
	if body := h.MessageLength - diam.HeaderLength; body != 4294967295 {
		t.Errorf("the body would be %d octets long, want 4294967295", body)
	}
}

func TestGoDiameterPanicsOnAMalformedGroup(t *testing.T) {
	m := diam.NewRequest(diam.CapabilitiesExchange, 0, dict.Default)
	m.AddAVP(diam.NewAVP(avp.VendorSpecificApplicationID, avp.Mbit, 0, datatype.OctetString("\x00\x00\x01\x02")))
	b := serialized(t, m)
	defer func() {
		if _, ok := recover().(runtime.Error); !ok {
			mended(t, "0002", "half an AVP inside a group")
		}
	}()
	_, _ = diam.ReadMessage(bytes.NewReader(b), dict.Default)
}

func TestGoDiameterClosesOnAnUnknownCommand(t *testing.T) {
	c := serve(t, stateMachine())
	if _, err := c.Write(serialized(t, diam.NewRequest(8388000, 0, dict.Default))); err != nil {
		t.Fatal(err)
	}
	// RFC 6733 section 7.1.3 owes an answer with 3001 on a connection that lives.
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		mended(t, "0002", "an unknown command")
	}
}

func TestGoDiameterAdvertisesItsWholeDictionary(t *testing.T) {
	c := serve(t, stateMachine()) // whose program handles no application at all
	if _, err := c.Write(capabilities(t)); err != nil {
		t.Fatal(err)
	}
	cea, err := diam.ReadMessage(c, dict.Default)
	if err != nil {
		t.Fatal(err)
	}
	apps, _ := cea.FindAVPs(avp.AuthApplicationID, 0)
	if len(apps) < 5 {
		mended(t, "0002", "applications of the CEA")
	}
}

func TestGoDiameterIgnoresADisconnect(t *testing.T) {
	c := serve(t, stateMachine())
	identity := func(command uint32) []byte {
		m := diam.NewRequest(command, 0, dict.Default)
		m.AddAVP(diam.NewAVP(avp.OriginHost, avp.Mbit, 0, datatype.DiameterIdentity("peer.example.com")))
		m.AddAVP(diam.NewAVP(avp.OriginRealm, avp.Mbit, 0, datatype.DiameterIdentity("example.com")))
		if command == diam.DisconnectPeer {
			m.AddAVP(diam.NewAVP(avp.DisconnectCause, avp.Mbit, 0, datatype.Enumerated(0)))
		}
		return serialized(t, m)
	}
	for _, b := range [][]byte{capabilities(t), identity(diam.DisconnectPeer), identity(diam.DeviceWatchdog)} {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []uint32{diam.CapabilitiesExchange, diam.DeviceWatchdog} {
		m, err := diam.ReadMessage(c, dict.Default)
		if err != nil {
			t.Fatal(err)
		}
		if m.Header.CommandCode != want {
			mended(t, "0002", "a DPR without an answer")
			return
		}
	}
}

func TestGoDiameterFindsAVPsOfAnotherVendor(t *testing.T) {
	m := diam.NewRequest(diam.CapabilitiesExchange, 0, dict.Default)
	m.AddAVP(diam.NewAVP(avp.OriginHost, avp.Vbit, 99999, datatype.OctetString("a stranger's AVP of the same code")))
	m.AddAVP(diam.NewAVP(avp.OriginHost, avp.Mbit, 0, datatype.DiameterIdentity("peer.example.com")))
	a, err := m.FindAVP(avp.OriginHost, 0)
	if err != nil {
		t.Fatal(err)
	}
	if a.VendorID == 0 {
		mended(t, "0002", "FindAVP and the vendor")
	}
}
