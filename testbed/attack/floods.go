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
	"github.com/gocscf/gocscf/ipsec"
)

// floods are those that Floods knows.
var floods = []flood{
	{
		name: "registers", what: "REGISTERs of invented users, each another private identity, from one socket",
		bound: "transactions: `max_transactions` (131072) and twice as many lingering; nothing is kept of users whom the HSS does not know; overload control",
		run: func(f *flooding) error {
			return f.datagrams(f.target.Gm, func(n int64) string {
				impi := fmt.Sprintf("99999%010d@%s", n, f.target.Domain)
				return f.register(n, impi, "sip:"+impi, "<sip:x@127.0.0.1:9>", "")
			})
		},
	},
	{
		name: "victim", what: "REGISTERs in the name of one honest user, each with a Call-ID of its own, from 256 addresses",
		bound: "challenges: 64 a user, the oldest gives way, and as many addresses with an SA set",
		run: func(f *flooding) error {
			s := f.target.Honest[0]
			return f.scattered(f.target.Gm, func(n int64) []byte {
				return []byte(f.register(n, s.IMPI, s.IMPUs[0], "<sip:x@127.0.0.1:9>", ""))
			})
		},
	},
	{
		name: "names", what: "REGISTERs in the names of 200,000 users in turn; nobody answers their challenges",
		bound: "challenges: 200000 in all at the S-CSCF; 32768 SA sets that nobody has used; of both the oldest give way; overload control",
		run: func(f *flooding) error {
			return f.datagrams(f.target.Gm, func(n int64) string {
				impi := f.target.victim(n)
				return f.register(n, impi, "sip:"+impi, "<sip:x@127.0.0.1:9>", "")
			})
		},
	},
	{
		name: "half-open", what: "TCP connections on which nothing comes",
		bound: "connections: 1000 an address (IPv6: a /64), three quarters of `max_connections` at Gm (with IPsec half of it), where the oldest of those over which nobody has registered gives way",
		run:   func(f *flooding) error { return f.connections(one, "") },
	},
	{
		name: "slow-headers", what: "TCP connections on which a header comes octet by octet and never ends",
		bound: "30 s from a message's first octet to its last; as half-open",
		run: func(f *flooding) error {
			return f.connections(one, "REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1\r\nSubject: ")
		},
	},
	{
		name: "content-length", what: "TCP connections that announce a body of 2 GB, or one of 60000 octets that never comes",
		bound: "513 and the end of the connection; 30 s for what is allowed, 128 MiB for all that is not complete",
		run: func(f *flooding) error {
			return f.connections(one, "REGISTER sip:x SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1\r\nContent-Length: 60000\r\n\r\n", "INVITE sip:x SIP/2.0\r\nContent-Length: 2147483647\r\n\r\n")
		},
	},
	{
		name: "connections", what: "TCP connections from many addresses of 127/8, each with a request of a stranger",
		bound: "as half-open; the rest is kept for our own, the core and SA sets",
		run:   func(f *flooding) error { return f.connections(many, f.request("OPTIONS", "sip:x", 1, "<sip:x>")) },
	},
	{
		name: "responses", what: "responses that nobody has asked for, to Gm and Mw",
		bound: "no state: dropped and counted",
		run: func(f *flooding) error {
			return f.datagrams2([]netip.AddrPort{f.target.Gm, f.target.Mw}, func(n int64) string {
				return fmt.Sprintf("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP %v;branch=z9hG4bKx%d\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKy\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: %d\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n", f.target.Gm, n, n)
			})
		},
	},
	{
		name: "acks", what: "ACKs that belong to nothing, to Gm and to the S-CSCF",
		bound: "no state: dropped and counted",
		run: func(f *flooding) error {
			return f.datagrams2([]netip.AddrPort{f.target.Gm, f.target.S}, func(n int64) string {
				return f.request("ACK", "sip:x@"+f.target.S.String(), n, "<sip:x@y>;tag=z")
			})
		},
	},
	{
		name: "invites", what: "INVITEs of strangers",
		bound: "no state: one 403 each, 100 a second at most",
		run: func(f *flooding) error {
			return f.datagrams(f.target.Gm, func(n int64) string {
				return f.request("INVITE", f.target.Honest[1].IMPUs[0], n, "<"+f.target.Honest[1].IMPUs[0]+">", "Contact: <sip:x@127.0.0.1:9>")
			})
		},
	},
	{
		name: "sos", what: "REGISTERs of invented users for an emergency, each another private identity",
		bound: "as registers: 50 a second are let in before others",
		run: func(f *flooding) error {
			return f.datagrams(f.target.Gm, func(n int64) string {
				impi := fmt.Sprintf("99997%010d@%s", n, f.target.Domain)
				return f.register(n, impi, "sip:"+impi, "<sip:x@127.0.0.1:9;sos>", "x")
			})
		},
	},
	{
		name: "in-dialog", what: "requests of strangers in dialogs that there are not",
		bound: "no state: one 403 each, 100 a second at most; refused first in an overload",
		run: func(f *flooding) error {
			return f.datagrams(f.target.Gm, func(n int64) string {
				return f.request([...]string{"BYE", "MESSAGE", "INVITE"}[n%3], f.target.Honest[1].IMPUs[0], n, "<"+f.target.Honest[1].IMPUs[0]+">;tag=x", "Contact: <sip:x@127.0.0.1:9>")
			})
		},
	},
	{
		name: "64k-headers", what: "datagrams with one header of 60000 octets",
		bound: "513 beyond 24 KiB of headers, 100 answers a second",
		run: func(f *flooding) error {
			big := strings.Repeat("x", 60000)
			return f.datagrams(f.target.Gm, func(n int64) string { return f.request("REGISTER", "sip:x", n, "<sip:x@y>", "Subject: "+big) })
		},
	},
	{
		name: "64k-streams", what: "the same with 70000 over TCP",
		bound: "a stream's buffer: 513 and the end of the connection beyond 32 KiB of headers",
		run: func(f *flooding) error {
			return f.connections(one, "OPTIONS sip:x SIP/2.0\r\nSubject: "+strings.Repeat("x", 70000)+"\r\n\r\n")
		},
	},
	{
		name: "10000-headers", what: "datagrams of 10,000 header lines",
		bound: "512 lines are indexed; more is malformed",
		run: func(f *flooding) error {
			lines := repeat("a:b", 10000)
			return f.datagrams(f.target.Gm, func(n int64) string { return f.request("REGISTER", "sip:x", n, "<sip:x@y>", lines...) })
		},
	},
	{
		name: "loops", what: "requests to Mw, I- and S-CSCF whose Route leads round in circles",
		bound: "Max-Forwards, and loop detection (RFC 5393)",
		run: func(f *flooding) error {
			t := f.target
			around := repeat(fmt.Sprintf("Route: <sip:%v;lr>, <sip:%v;lr>, <sip:%v;lr>", t.I, t.S, t.Mw), 8)
			return f.datagrams2([]netip.AddrPort{t.Mw, t.I, t.S}, func(n int64) string {
				return f.request([...]string{"MESSAGE", "INVITE", "OPTIONS"}[n%3], fmt.Sprintf("sip:%v", [...]netip.AddrPort{t.I, t.S, t.Mw}[n%3]), n, "<sip:x@y>", around...)
			})
		},
	},
	{
		name: "spoofed", what: "REGISTERs and INVITEs from some thousand addresses of 127/8",
		bound: "as registers and invites: nothing is kept by address",
		run:   func(f *flooding) error { return f.spoofed() },
	},
	{
		name: "diameter", what: "requests of a broken HSS to I- and S-CSCF: PPR and RTR for unknown users, unknown commands, groups in groups",
		bound: "a frame of 256 KiB; each request is answered at once",
		run: func(f *flooding) error {
			if f.target.Cx == nil {
				return errors.New("there is nobody between the functions and the HSS")
			}
			for n := uint32(1); f.next(); n++ {
				f.target.Cx.Inject(diameterRequest(n, f.target.Domain))
			}
			return nil
		},
	},
	{
		name: "nat", what: "REGISTERs in the names of 200,000 users, all behind one NAT",
		bound: "as many SA sets as there are port_ps (8), the oldest that nobody has used gives way", esp: true,
		run: func(f *flooding) error {
			f.from, f.via, f.mode = many(0), netip.MustParseAddrPort("10.9.8.7:5060"), ipsec.UDPTunnel
			return f.datagrams(f.target.Gm, func(n int64) string {
				impi := f.target.victim(n)
				return f.register(n, impi, "sip:"+impi, "<sip:x@127.0.0.1:9>", "")
			})
		},
	},
	{
		name: "esp", what: "ESP in UDP from 256 addresses, of SPIs that there are not, too short, keep-alives and IKE",
		bound: "no state: dropped and counted; of 1024 addresses is remembered that they have sent it", esp: true,
		run: func(f *flooding) error { return f.scattered(f.target.ESP, strangeESP) },
	},
	{
		name: "esp-forged", what: "ESP in UDP of an SA set that stands, with a wrong ICV",
		bound: "no state: dropped and counted", esp: true,
		run: func(f *flooding) error { return f.forgedESP() },
	},
}

// request writes a request of a stranger, which is no retransmission of another flood's.
func (f *flooding) request(method, uri string, n int64, to string, more ...string) string {
	l := append([]string{
		method + " " + uri + " SIP/2.0", fmt.Sprintf("Via: SIP/2.0/UDP %v;branch=z9hG4bK%s-%d-%s;rport", f.via, method, n, f.name), "Max-Forwards: 70",
		"From: <sip:x@y>;tag=1", "To: " + to, fmt.Sprintf("Call-ID: %s-%d-%s", method, n, f.name), "CSeq: 1 " + method,
	}, more...)
	return strings.Join(append(l, "Content-Length: 0", "", ""), "\r\n")
}

// register writes a stranger's REGISTER of a user; digest stands for nonce and response.
func (f *flooding) register(n int64, impi, impu, contact, digest string) string {
	domain := f.target.Domain
	more := []string{"Contact: " + contact, "Expires: 600",
		fmt.Sprintf(`Authorization: Digest username="%s", realm="%s", nonce="%s", uri="sip:%s", response="%s"`, impi, domain, digest, domain, digest)}
	if f.target.ESP.IsValid() {
		more = append(more, securityClient(n, f.mode), "Require: sec-agree", "Proxy-Require: sec-agree")
	}
	return f.request("REGISTER", "sip:"+domain, n, "<"+impu+">", more...)
}

func (f *flooding) datagrams(to netip.AddrPort, build func(n int64) string) error {
	return f.datagrams2([]netip.AddrPort{to}, build)
}

// datagrams2 sends datagrams in turn to some addresses, and reads none of the answers.
func (f *flooding) datagrams2(to []netip.AddrPort, build func(n int64) string) error {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.from, 0)))
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

// scattered sends from 256 addresses in as many networks.
func (f *flooding) scattered(to netip.AddrPort, build func(n int64) []byte) error {
	var conns [256]*net.UDPConn
	for i := range conns {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(many(64*i), 0)))
		if err != nil {
			return fmt.Errorf("opening a socket: %w", err)
		}
		defer c.Close()
		conns[i] = c
	}
	for f.next() {
		n := f.sent.Load()
		i := n % int64(len(conns))
		f.via = netip.AddrPortFrom(many(64*int(i)), 9)
		_, _ = conns[i].WriteToUDPAddrPort(build(n), to)
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
			impi := fmt.Sprintf("99998%010d@%s", n, f.target.Domain)
			f.via = netip.AddrPortFrom(a, 9)
			m := f.request("INVITE", "sip:"+f.target.Domain, n, "<sip:"+impi+">", "Contact: <sip:x@127.0.0.1:9>")
			if n%2 == 0 {
				m = f.register(n, impi, "sip:"+impi, "<sip:x@127.0.0.1:9>", "")
			}
			_, _ = c.WriteToUDPAddrPort([]byte(m), f.target.Gm)
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
