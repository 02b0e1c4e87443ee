package bench

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/gocscf/gocscf/aka"
)

// standIn takes the place of the core where the phones are measured alone: it
// answers REGISTERs and takes everything else to the other phone of the pair.
type standIn struct {
	conn  net.PacketConn
	nonce string
	mu    sync.Mutex
	other map[string]net.Addr
}

func startStandIn(tb testing.TB, n *network) *standIn {
	tb.Helper()
	conn, err := n.server()
	if err != nil {
		tb.Fatal(err)
	}
	nonce, err := aka.NonceFromOctets(make([]byte, 32))
	if err != nil {
		tb.Fatal(err)
	}
	s := &standIn{conn: conn, nonce: nonce.String(), other: map[string]net.Addr{}}
	var wg sync.WaitGroup
	wg.Go(s.serve)
	tb.Cleanup(wg.Wait)
	tb.Cleanup(func() { _ = conn.Close() })
	return s
}

func (s *standIn) addr() netip.AddrPort { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// pairs tells it who talks to whom.
func (s *standIn) pairs(list chan pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range len(list) {
		p := <-list
		s.other[p.from.local], s.other[p.to.local] = p.to.conn.LocalAddr(), p.from.conn.LocalAddr()
		list <- p
	}
}

func (s *standIn) serve() {
	in, out := make([]byte, 65535), make([]byte, 0, 1024)
	for {
		n, from, err := s.conn.ReadFrom(in)
		if err != nil {
			return
		}
		m := in[:n]
		if !bytes.HasPrefix(m, []byte("REGISTER ")) {
			s.mu.Lock()
			to := s.other[from.String()]
			s.mu.Unlock()
			_, _ = s.conn.WriteTo(m, to)
			continue
		}
		if out = append(out[:0], "SIP/2.0 401 Unauthorized\r\n"...); !bytes.Contains(m, []byte(`nonce=""`)) {
			out = append(out[:0], "SIP/2.0 200 OK\r\n"...)
		}
		for line := range lines(m) {
			if bytes.HasPrefix(line, []byte("Call-ID")) {
				out = append(append(out, line...), "\r\n"...)
			}
		}
		out = append(append(append(out, `WWW-Authenticate: Digest nonce="`...), s.nonce...), "\"\r\nService-Route: <sip:orig@192.0.2.3;lr>\r\n\r\n"...)
		_, _ = s.conn.WriteTo(out, from)
	}
}
