package as

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/gocscf/gocscf/ims/node"
	ours "github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds the wait for a message that must come.
const patience = 5 * time.Second

// start runs a server for one test.
func start(t *testing.T, cfg Config) *Server { return startTraced(t, cfg, nil) }

func startTraced(t *testing.T, cfg Config, stream *trace.Stream) *Server {
	t.Helper()
	s, err := New(cfg, node.Deps{
		Log: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)), Trace: trace.Node{Stream: stream, Name: "as"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// peer is a CSCF or a phone that speaks SIP by hand.
type peer struct {
	t    *testing.T
	as   *Server
	addr string
	udp  *net.UDPConn
	tcp  net.Listener
	conn net.Conn // of a stream, nil for UDP
	in   *bufio.Reader
}

func newPeer(t *testing.T, s *Server) *peer {
	t.Helper()
	for range 20 {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", c.LocalAddr().String())
		if err != nil {
			c.Close()
			continue
		}
		t.Cleanup(func() { c.Close(); ln.Close() })
		return &peer{t: t, as: s, addr: c.LocalAddr().String(), udp: c, tcp: ln}
	}
	t.Fatal("no port is free for UDP and TCP")
	return nil
}

// dial makes a stream to the server; the peer sends and reads there from now on.
func (p *peer) dial() *peer {
	p.t.Helper()
	c, err := net.Dial("tcp", p.as.Addr().String())
	if err != nil {
		p.t.Fatal(err)
	}
	p.stream(c)
	return p
}

// accept waits for the server's stream; the peer sends and reads there from now on.
func (p *peer) accept() *peer {
	p.t.Helper()
	_ = p.tcp.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	c, err := p.tcp.Accept()
	if err != nil {
		p.t.Fatalf("no connection came: %v", err)
	}
	p.stream(c)
	return p
}

func (p *peer) stream(c net.Conn) {
	p.conn, p.in = c, bufio.NewReader(c)
	p.t.Cleanup(func() { c.Close() })
}

// send sends a message given as lines: \n stands for CRLF, and Content-Length is
// added.
func (p *peer) send(text string) {
	p.t.Helper()
	raw := wireText(text)
	var err error
	if p.conn != nil {
		_, err = p.conn.Write([]byte(raw))
	} else {
		_, err = p.udp.WriteTo([]byte(raw), net.UDPAddrFromAddrPort(p.as.Addr()))
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func wireText(text string) string {
	head, body, _ := strings.Cut(strings.TrimLeft(text, "\n"), "\n\n")
	body = strings.ReplaceAll(body, "\n", "\r\n")
	head = strings.ReplaceAll(strings.TrimRight(head, "\n"), "\n", "\r\n")
	return fmt.Sprintf("%s\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

// read returns the next message, nil when none comes within d.
func (p *peer) read(d time.Duration) *ours.Message {
	p.t.Helper()
	var raw string
	var err error
	if p.conn != nil {
		_ = p.conn.SetReadDeadline(time.Now().Add(d))
		raw, err = readStream(p.in)
	} else {
		buf := make([]byte, 65536)
		_ = p.udp.SetReadDeadline(time.Now().Add(d))
		var n int
		n, err = p.udp.Read(buf)
		raw = string(buf[:n])
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		p.t.Fatal(err)
	}
	m, err := ours.Parse(raw)
	if err != nil {
		p.t.Fatalf("what came is no SIP message: %v\n%s", err, raw)
	}
	if m.IsRequest() {
		if bad := ours.Validate(m); bad != nil {
			p.t.Errorf("the request is not valid: %v\n%s", bad, raw)
		}
	}
	return m
}

func readStream(in *bufio.Reader) (string, error) {
	var buf []byte
	for {
		n, skip, err := ours.Frame(buf)
		if err != nil {
			return "", err
		}
		if n > 0 {
			return string(buf[skip : skip+n]), nil
		}
		b, err := in.ReadByte()
		if err != nil {
			return "", err
		}
		buf = append(buf, b)
	}
}

// want reads messages until one is a request of that method or an answer of that
// status, "200 INVITE" telling whose; it passes over 100 and retransmissions only.
func (p *peer) want(what string) *ours.Message {
	p.t.Helper()
	for {
		m := p.read(patience)
		if m == nil {
			p.t.Fatalf("%s waits for %s and nothing comes", p.addr, what)
		}
		if m.Status() == 100 {
			continue
		}
		if got := describeMessage(m); got != what {
			p.t.Fatalf("%s waits for %s and gets %s:\n%s", p.addr, what, got, m.Raw())
		}
		return m
	}
}

func describeMessage(m *ours.Message) string {
	if m.IsRequest() {
		return m.Method()
	}
	c, _ := m.CSeq()
	return fmt.Sprintf("%d %s", m.Status(), c.Method)
}

// quiet fails when something but 100 comes within d.
func (p *peer) quiet(d time.Duration) {
	p.t.Helper()
	for until := time.Now().Add(d); ; {
		m := p.read(time.Until(until))
		if m == nil {
			return
		}
		if m.Status() != 100 {
			p.t.Fatalf("%s gets what nobody owes it:\n%s", p.addr, m.Raw())
		}
	}
}

// respond answers a request that came from the server. The lines are added to what
// every answer has.
func (p *peer) respond(m *ours.Message, code int, tag, lines, body string) {
	p.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d %s\n", code, ours.StatusText(code))
	for i := range m.Len() {
		switch id, name, value := m.Line(i); id {
		case ours.HVia, ours.HFrom, ours.HCallID, ours.HCSeq:
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		case ours.HRecordRoute:
			if code < 300 {
				fmt.Fprintf(&b, "%s: %s\n", name, value)
			}
		case ours.HTo:
			if m.ToTag() == "" && tag != "" {
				value += ";tag=" + tag
			}
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	if lines != "" {
		b.WriteString(lines + "\n")
	}
	p.send(b.String() + "\n" + body)
}

func (p *peer) uri() string { return "sip:" + p.addr }

// list are all values of a header.
func list(m *ours.Message, id ours.ID) []string {
	var l []string
	for v := range m.Values(id) {
		l = append(l, v)
	}
	return l
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got  %v\n want %v", what, got, want)
	}
}

const sdpOffer = `v=0
o=alice 1 1 IN IP4 192.0.2.1
s=-
c=IN IP4 192.0.2.1
t=0 0
m=audio 50000 RTP/AVP 104 0 100
a=rtpmap:104 AMR-WB/16000/1
a=fmtp:104 mode-change-capability=2;max-red=0
a=rtpmap:0 PCMU/8000
a=rtpmap:100 telephone-event/16000
a=sendrecv
`

// call is an INVITE as an S-CSCF sends it to an AS: own Via, that of a CSCF
// before, Route to the AS and with an original dialog identifier behind it.
func inviteFrom(from, back *peer, branch string, more string) string {
	return `INVITE tel:+15551234;phone-context=ims.example SIP/2.0
Via: SIP/2.0/UDP ` + from.addr + `;branch=z9hG4bK` + branch + `;x="a;b"
v: SIP/2.0/TCP 192.0.2.7:5060;branch=z9hG4bKbefore;received=192.0.2.8, SIP/2.0/UDP [2001:db8::1]:5061;rport=1;branch=z9hG4bKfirst
Max-Forwards: 68
Route: <sip:` + from.as.Addr().String() + `;lr>, <sip:odi-0123456789abcdef@` + back.addr + `;lr;a=;b>;c="d, e"
Record-Route: <sip:mo@` + from.addr + `;lr>
f: "Alice; \"A\"" <sip:alice@ims.example;user=phone>;tag=a-tag
t: <tel:+15551234;phone-context=ims.example>
i: call-` + branch + `@192.0.2.1
CSeq: 7 INVITE
m: <sip:001010000000001@192.0.2.1:5061;alias=1>;audio;+sip.instance="<urn:gsma:imei:1-2-3>"
P-Asserted-Identity: <sip:alice@ims.example>, <tel:+15550001>
P-Charging-Vector: icid-value="icid-1";orig-ioi=ims.example
P-Served-User: <sip:alice@ims.example>;sescase=orig;regstate=reg
k: 100rel, timer
` + more + `c: application/sdp

` + sdpShort
}

// sdpShort keeps an INVITE below the size from which it must go by TCP.
const sdpShort = "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 50000 RTP/AVP 0\n"
