package diameter

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// A rawPeer is the other end of a connection, octet by octet.
type rawPeer struct {
	t  testing.TB
	nc net.Conn
}

// dialRaw connects to a node's listener without exchanging capabilities.
func dialRaw(t testing.TB, mem *memNet, addr string) *rawPeer {
	t.Helper()
	nc, err := mem.DialContext(context.Background(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &rawPeer{t, nc}
}

// acceptRaw takes the next connection of a node that dials the listener.
func acceptRaw(t testing.TB, l *memListener) *rawPeer {
	t.Helper()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &rawPeer{t, nc}
}

func (p *rawPeer) write(b []byte) {
	p.t.Helper()
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

func (p *rawPeer) send(m *Message) {
	p.t.Helper()
	p.write(m.Append(nil))
}

// readErr reads one message; io.EOF when the node closed.
func (p *rawPeer) readErr() (*Message, error) {
	p.t.Helper()
	b := make([]byte, 4)
	if _, err := io.ReadFull(p.nc, b); err != nil {
		return nil, err
	}
	rest := make([]byte, int(b[1])<<16|int(b[2])<<8|int(b[3])-4)
	if _, err := io.ReadFull(p.nc, rest); err != nil {
		return nil, err
	}
	m, fault := testDictionary.Decode(append(b, rest...))
	if fault != nil {
		p.t.Fatalf("the node sent a faulty message: %v", fault)
	}
	return m, nil
}

func (p *rawPeer) read() *Message {
	p.t.Helper()
	m, err := p.readErr()
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	return m
}

// expectClosed reads until the node closes, within the time.
func (p *rawPeer) expectClosed(within time.Duration) {
	p.t.Helper()
	_ = p.nc.SetReadDeadline(time.Now().Add(within))
	for {
		if _, err := p.nc.Read(make([]byte, 4096)); err != nil {
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				p.t.Fatal("the connection is still open")
			}
			return
		}
	}
}

func baseMessage(command uint32, request bool, avps ...*AVP) *Message {
	m := &Message{Command: command, HopByHop: 77, EndToEnd: 88, AVPs: avps}
	if request {
		m.Flags = FlagRequest
	}
	return m
}

func origin(host string) []*AVP {
	return []*AVP{newAVP(avp.OriginHost, datatype.DiameterIdentity(host)),
		newAVP(avp.OriginRealm, datatype.DiameterIdentity("example.net"))}
}

// capabilitiesOf are the AVPs of a CER or CEA that offers the test application.
func capabilitiesOf(host string, app uint32) []*AVP {
	return append(origin(host),
		newAVP(avp.HostIPAddress, datatype.Address(net.IPv4(127, 0, 0, 1).To4())),
		newAVP(avp.VendorID, datatype.Unsigned32(0)),
		newAVP(avp.ProductName, datatype.UTF8String("raw")),
		Application{ID: app, Vendor: Vendor3GPP}.avp())
}

// handshake opens the connection as the dialing end.
func (p *rawPeer) handshake(host string) {
	p.t.Helper()
	p.send(baseMessage(CapabilitiesExchange, true, capabilitiesOf(host, testApp)...))
	if m := p.read(); m.Command != CapabilitiesExchange || result(m) != Success {
		p.t.Fatalf("CEA: %v, %v", m, result(m))
	}
}

// accept opens the connection as the accepting end.
func (p *rawPeer) accept(host string) {
	p.t.Helper()
	cer := p.read()
	if cer.Command != CapabilitiesExchange || !cer.IsRequest() {
		p.t.Fatalf("instead of a CER: %v", cer)
	}
	p.reply(cer, append([]*AVP{Base(Success).AVP()}, capabilitiesOf(host, testApp)...)...)
}

// reply answers a request of the node.
func (p *rawPeer) reply(q *Message, avps ...*AVP) {
	p.t.Helper()
	p.send(&Message{Flags: q.Flags & FlagProxiable, Command: q.Command, Application: q.Application,
		HopByHop: q.HopByHop, EndToEnd: q.EndToEnd, AVPs: avps})
}

func (p *rawPeer) replyResult(q *Message, host string, code ResultCode) {
	p.t.Helper()
	p.reply(q, append([]*AVP{Base(code).AVP()}, origin(host)...)...)
}

func result(m *Message) ResultCode {
	r, _ := m.Result()
	if r.Experimental {
		return 0
	}
	return ResultCode(r.Code)
}

// alive asserts that the connection still serves: a DWR is answered.
func (p *rawPeer) alive() {
	p.t.Helper()
	p.send(baseMessage(DeviceWatchdog, true, origin("raw.example.net")...))
	if m := p.read(); m.Command != DeviceWatchdog || m.IsRequest() || result(m) != Success {
		p.t.Fatalf("instead of a DWA: %v, %v", m, result(m))
	}
}

// rawAVP encodes an AVP with any length field.
func rawAVP(code uint32, flags uint8, vendor uint32, length int, value []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, code)
	b = append(b, flags, byte(length>>16), byte(length>>8), byte(length))
	if flags&avp.Vbit != 0 {
		b = binary.BigEndian.AppendUint32(b, vendor)
	}
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// goodAVP encodes an AVP with the right length.
func goodAVP(code uint32, flags uint8, vendor uint32, value []byte) []byte {
	n := 8 + len(value)
	if flags&avp.Vbit != 0 {
		n += 4
	}
	return rawAVP(code, flags, vendor, n, value)
}

// rawMessage encodes a test request around AVPs, with a change to its header.
func rawMessage(body []byte, change func(h *diam.Header)) []byte {
	h := diam.Header{Version: 1, MessageLength: uint32(HeaderLen + len(body)), CommandFlags: FlagRequest | FlagProxiable,
		CommandCode: testCommand, ApplicationID: testApp, HopByHopID: 4711, EndToEndID: 4712}
	if change != nil {
		change(&h)
	}
	return append(h.Serialize(), body...)
}

func unsigned(v uint32) datatype.Unsigned32 { return datatype.Unsigned32(v) }

// request reads the next message that is no DWR; those are answered.
func (p *rawPeer) request(host string) *Message {
	p.t.Helper()
	for {
		m := p.read()
		if m.Command != DeviceWatchdog || !m.IsRequest() {
			return m
		}
		p.replyResult(m, host, Success)
	}
}

// pass lets time go by in the bubble.
func pass(d time.Duration) { <-time.After(d) }
