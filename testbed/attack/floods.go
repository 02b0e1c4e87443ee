package attack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// floods are those that Floods knows.
var floods = []flood{
	{
		"registers", "REGISTERs of invented users, each another private identity, from one socket",
		"transactions: `max_transactions` (131072) and twice as many lingering; nothing is kept of users whom the HSS does not know; overload control",
		func(f *flooding) error {
			return f.datagrams(f.target.Gm, func(n int64) string {
				impi := fmt.Sprintf("99999%010d@%s", n, f.target.Domain)
				return f.register(n, impi, "sip:"+impi, "<sip:x@127.0.0.1:9>", "")
			})
		},
	},
	{
		"victim", "REGISTERs in the name of one honest user, each with a Call-ID of its own",
		"challenges: 64 a user, the oldest gives way (200000 in all)",
		func(f *flooding) error {
			s := f.target.Honest[0]
			return f.datagrams(f.target.Gm, func(n int64) string {
				return f.register(n, s.IMPI, s.IMPUs[0], "<sip:x@127.0.0.1:9>", "")
			})
		},
	},
	{
		"half-open", "TCP connections on which nothing comes",
		"connections: 1000 an address (IPv6: a /64), three quarters of `max_connections` at Gm (with IPsec half of it), where the oldest of those over which nobody has registered gives way",
		func(f *flooding) error { return f.connections(one, "") },
	},
	{
		"slow-headers", "TCP connections on which a header comes octet by octet and never ends",
		"30 s from a message's first octet to its last; as half-open",
		func(f *flooding) error {
			return f.connections(one, "REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1\r\nSubject: ")
		},
	},
	{
		"content-length", "TCP connections that announce a body of 2 GB, or one of 60000 octets that never comes",
		"513 and the end of the connection; 30 s for what is allowed, 128 MiB for all that is not complete",
		func(f *flooding) error {
			return f.connections(one, "REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1\r\nContent-Length: 60000\r\n\r\n", "INVITE sip:x SIP/2.0\r\nContent-Length: 2147483647\r\n\r\n")
		},
	},
	{
		"connections", "TCP connections from many addresses of 127/8, each with a request of a stranger",
		"as half-open; the rest is kept for our own, the core and SA sets",
		func(f *flooding) error { return f.connections(many, f.request("OPTIONS", "sip:x", 1, "<sip:x>")) },
	},
	{
		"responses", "responses that nobody has asked for, to Gm and Mw",
		"no state: dropped and counted",
		func(f *flooding) error {
			return f.datagrams2([]netip.AddrPort{f.target.Gm, f.target.Mw}, func(n int64) string {
				return fmt.Sprintf("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP %v;branch=z9hG4bKx%d\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKy\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: %d\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n", f.target.Gm, n, n)
			})
		},
	},
	{
		"acks", "ACKs that belong to nothing, to Gm and to the S-CSCF",
		"no state: dropped and counted",
		func(f *flooding) error {
			return f.datagrams2([]netip.AddrPort{f.target.Gm, f.target.S}, func(n int64) string {
				return f.request("ACK", "sip:x@"+f.target.S.String(), n, "<sip:x@y>;tag=z")
			})
		},
	},
	{
		"invites", "INVITEs of strangers",
		"no state: one 403 each, 100 a second at most",
		func(f *flooding) error {
			return f.datagrams(f.target.Gm, func(n int64) string {
				return f.request("INVITE", f.target.Honest[1].IMPUs[0], n, "<"+f.target.Honest[1].IMPUs[0]+">", "Contact: <sip:x@127.0.0.1:9>")
			})
		},
	},
	{
		"sos", "REGISTERs of invented users for an emergency, each another private identity",
		"as registers: 50 a second are let in before others",
		func(f *flooding) error {
			return f.datagrams(f.target.Gm, func(n int64) string {
				impi := fmt.Sprintf("99997%010d@%s", n, f.target.Domain)
				return f.register(n, impi, "sip:"+impi, "<sip:x@127.0.0.1:9;sos>", "x")
			})
		},
	},
	{
		"in-dialog", "requests of strangers in dialogs that there are not",
		"no state: one 403 each, 100 a second at most; refused first in an overload",
		func(f *flooding) error {
			return f.datagrams(f.target.Gm, func(n int64) string {
				return f.request([...]string{"BYE", "MESSAGE", "INVITE"}[n%3], f.target.Honest[1].IMPUs[0], n, "<"+f.target.Honest[1].IMPUs[0]+">;tag=x", "Contact: <sip:x@127.0.0.1:9>")
			})
		},
	},
	{
		"64k-headers", "datagrams with one header of 60000 octets",
		"513 beyond 24 KiB of headers, 100 answers a second",
		func(f *flooding) error {
			big := strings.Repeat("x", 60000)
			return f.datagrams(f.target.Gm, func(n int64) string { return f.request("REGISTER", "sip:x", n, "<sip:x@y>", "Subject: "+big) })
		},
	},
	{
		"64k-streams", "the same with 70000 over TCP",
		"a stream's buffer: 513 and the end of the connection beyond 32 KiB of headers",
		func(f *flooding) error {
			return f.connections(one, "OPTIONS sip:x SIP/2.0\r\nSubject: "+strings.Repeat("x", 70000)+"\r\n\r\n")
		},
	},
	{
		"10000-headers", "datagrams of 10,000 header lines",
		"512 lines are indexed; more is malformed",
		func(f *flooding) error {
			lines := repeat("a:b", 10000)
			return f.datagrams(f.target.Gm, func(n int64) string { return f.request("REGISTER", "sip:x", n, "<sip:x@y>", lines...) })
		},
	},
	{
		"loops", "requests to Mw, I- and S-CSCF whose Route leads round in circles",
		"Max-Forwards, and loop detection (RFC 5393)",
		func(f *flooding) error {
			t := f.target
			around := repeat(fmt.Sprintf("Route: <sip:%v;lr>, <sip:%v;lr>, <sip:%v;lr>", t.I, t.S, t.Mw), 8)
			return f.datagrams2([]netip.AddrPort{t.Mw, t.I, t.S}, func(n int64) string {
				return f.request([...]string{"MESSAGE", "INVITE", "OPTIONS"}[n%3], fmt.Sprintf("sip:%v", [...]netip.AddrPort{t.I, t.S, t.Mw}[n%3]), n, "<sip:x@y>", around...)
			})
		},
	},
	{
		"spoofed", "REGISTERs and INVITEs from some thousand addresses of 127/8",
		"as registers and invites: nothing is kept by address",
		func(f *flooding) error { return f.spoofed() },
	},
	{
		"diameter", "requests of a broken HSS to I- and S-CSCF: PPR and RTR for unknown users, unknown commands, groups in groups",
		"a frame of 256 KiB; each request is answered at once",
		func(f *flooding) error {
			if f.target.Cx == nil {
				return errors.New("there is nobody between the functions and the HSS")
			}
			for n := uint32(1); f.next(); n++ {
				f.target.Cx.Inject(diameterRequest(n, f.target.Domain))
			}
			return nil
		},
	},
}

// request writes a request of a stranger, which is no retransmission of another flood's.
func (f *flooding) request(method, uri string, n int64, to string, more ...string) string {
	l := append([]string{
		method + " " + uri + " SIP/2.0", fmt.Sprintf("Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK%s-%d-%s;rport", method, n, f.name), "Max-Forwards: 70",
		"From: <sip:x@y>;tag=1", "To: " + to, fmt.Sprintf("Call-ID: %s-%d-%s", method, n, f.name), "CSeq: 1 " + method,
	}, more...)
	return strings.Join(append(l, "Content-Length: 0", "", ""), "\r\n")
}

// register writes a stranger's REGISTER of a user; digest stands for nonce and response.
func (f *flooding) register(n int64, impi, impu, contact, digest string) string {
	domain := f.target.Domain
	return f.request("REGISTER", "sip:"+domain, n, "<"+impu+">", "Contact: "+contact, "Expires: 600",
		fmt.Sprintf(`Authorization: Digest username="%s", realm="%s", nonce="%s", uri="sip:%s", response="%s"`, impi, domain, digest, domain, digest))
}

func (f *flooding) datagrams(to netip.AddrPort, build func(n int64) string) error {
	return f.datagrams2([]netip.AddrPort{to}, build)
}

// datagrams2 sends datagrams in turn to some addresses, and reads none of the answers.
func (f *flooding) datagrams2(to []netip.AddrPort, build func(n int64) string) error {
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	defer c.Close()
	for f.next() {
		n := f.sent.Load()
		_, _ = c.WriteToUDPAddrPort([]byte(build(n)), to[n%int64(len(to))])
	}
	return nil
}

// spoofed sends from other addresses of loopback, a socket each for a while.
func (f *flooding) spoofed() error {
	for i := uint32(0); f.ctx.Err() == nil; i++ {
		a := netip.AddrFrom4([4]byte{127, byte(1 + i>>8&63), byte(i), 7})
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
		if err != nil {
			return fmt.Errorf("opening a socket: %w", err)
		}
		for range 10 {
			if !f.next() {
				c.Close()
				return nil
			}
			n := f.sent.Load()
			method := [...]string{"REGISTER", "INVITE"}[n%2]
			_, _ = c.WriteToUDPAddrPort([]byte(f.request(method, "sip:"+f.target.Domain, n, fmt.Sprintf("<sip:99998%010d@%s>", n, f.target.Domain), "Contact: <sip:x@127.0.0.1:9>")), f.target.Gm)
		}
		c.Close()
	}
	return nil
}

// one and many are the sources of connections: an address, or some hundred.
func one(int) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 9}) }

func many(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 77, byte(i >> 6), 9}) }

// connections holds as many connections as are asked for, and opens those anew that
// are closed; on each something is said first, and an octet now and then.
func (f *flooding) connections(from func(int) netip.Addr, say ...string) error {
	return f.streams(from, f.cfg.Conns, say...)
}

func (f *flooding) streams(from func(int) netip.Addr, count int, say ...string) error {
	conns := make([]net.Conn, count)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	for i := 0; f.next(); i++ {
		k := i % count
		if c := conns[k]; c != nil {
			_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			if _, err := c.Write([]byte("x")); err == nil || say[0] == "" {
				continue
			}
			c.Close()
		}
		d := net.Dialer{Timeout: time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from(i), 0))}
		c, err := d.DialContext(f.ctx, "tcp", f.target.Gm.String())
		if conns[k] = c; err != nil {
			conns[k] = nil
			continue
		}
		_, _ = c.Write([]byte(say[i%len(say)]))
	}
	f.hold()
	return nil
}

// diameterRequest is a request of Cx that nobody should send.
func diameterRequest(n uint32, domain string) []byte {
	avp := func(code uint32, vendor uint32, data []byte) []byte {
		head := 8
		if vendor != 0 {
			head = 12
		}
		b := make([]byte, head, head+len(data)+3)
		binary.BigEndian.PutUint32(b, code)
		binary.BigEndian.PutUint32(b[4:], uint32(head+len(data)))
		b[4] = 0x40
		if vendor != 0 {
			b[4] = 0xc0
			binary.BigEndian.PutUint32(b[8:], vendor)
		}
		b = append(b, data...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
		return b
	}
	const cx, tgpp = 16777216, 10415
	command := [...]uint32{305, 304, 999, 305}[n%4]
	var body []byte
	add := func(code, vendor uint32, data string) { body = append(body, avp(code, vendor, []byte(data))...) }
	add(263, 0, sip.NewCallID())
	add(264, 0, "hss."+domain)
	add(296, 0, domain)
	add(283, 0, domain)
	add(277, 0, "\x00\x00\x00\x01")
	add(1, 0, fmt.Sprintf("%d@%s", n, domain))
	switch n % 4 {
	case 0, 3: // PPR, one with a profile that is none
		add(606, tgpp, strings.Repeat("<IMSSubscription>", int(n%50)))
	case 1: // RTR, with reasons within reasons
		inner := avp(615, tgpp, []byte("\x00\x00\x00\x00"))
		for range n % 40 {
			inner = avp(615, tgpp, inner)
		}
		body = append(body, inner...)
	}
	f := make([]byte, 20, 20+len(body))
	binary.BigEndian.PutUint32(f, 1<<24|uint32(20+len(body)))
	binary.BigEndian.PutUint32(f[4:], 0xc0<<24|command)
	binary.BigEndian.PutUint32(f[8:], cx)
	binary.BigEndian.PutUint32(f[12:], n)
	binary.BigEndian.PutUint32(f[16:], n)
	return append(f, body...)
}
