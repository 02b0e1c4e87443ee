package diameter

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/avp"
)

// messages records what goes over the wire.
type messages struct {
	mu  sync.Mutex
	raw map[string][]byte // by direction and command, the last
	bad []string
}

func (o *messages) Message(e MessageEvent) {
	m, fault := testDictionary.Decode(e.Raw)
	o.mu.Lock()
	defer o.mu.Unlock()
	if fault != nil || e.Local == nil || e.Remote == nil {
		o.bad = append(o.bad, m.String())
	}
	dir := "received "
	if e.Sent {
		dir = "sent "
	}
	if o.raw == nil {
		o.raw = make(map[string][]byte)
	}
	name := testDictionary.Command(m.Application, m.Command).Short
	if m.IsRequest() {
		name += "R"
	} else {
		name += "A"
	}
	o.raw[dir+name+" "+e.Peer] = bytes.Clone(e.Raw)
}
func (*messages) Connection(ConnectionEvent) {}
func (*messages) Refused(RefusedEvent)       {}

func loopback(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestOverTCPTheObserverSeesEveryMessage(t *testing.T) {
	cfg := testConfig("hss.example.net")
	cfg.Handler = func(r *Request) { _ = r.Answer(r.NewAnswer(Base(Success))) }
	hss := newNode(t, cfg)
	l := loopback(t)
	if err := hss.Listen(l); err != nil {
		t.Fatal(err)
	}
	var seen messages
	cfg = testConfig("client.example.net")
	cfg.Observer = &seen
	cfg.Peers = []PeerConfig{{Host: "hss.example.net", Address: l.Addr().String()}}
	n := newNode(t, cfg)
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	ready(t, n)
	if _, err := n.Call(context.Background(), testRequest(n, "a")); err != nil {
		t.Fatal(err)
	}
	closeNode(t, n)
	seen.mu.Lock()
	defer seen.mu.Unlock()
	for _, want := range []string{"sent CER ", "received CEA ", "sent TER hss.example.net", "received TEA hss.example.net", "sent DPR hss.example.net", "received DPA hss.example.net"} {
		if seen.raw[want] == nil {
			t.Errorf("not seen: %s", want)
		}
	}
	if len(seen.raw) != 6 || len(seen.bad) != 0 {
		t.Errorf("seen %d kinds, %v unreadable", len(seen.raw), seen.bad)
	}
	cer, _ := testDictionary.Decode(seen.raw["sent CER "])
	if ip, ok := Addr(cer.Find(avp.HostIPAddress, 0)); !ok || ip != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("Host-IP-Address %v", ip)
	}
	if host, _, _ := strings.Cut(testRequest(n, "").SessionID(), ";"); host != "client.example.net" {
		t.Errorf("Session-Id begins with %q", host)
	}
}

func TestOverTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"hss.example.net"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)

	cfg := testConfig("hss.example.net")
	cfg.Handler = func(r *Request) { _ = r.Answer(r.NewAnswer(Base(Success))) }
	hss := newNode(t, cfg)
	l := loopback(t)
	if err := hss.Listen(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})); err != nil {
		t.Fatal(err)
	}
	cfg = testConfig("client.example.net")
	// The server's name is taken from the peer's host.
	cfg.Peers = []PeerConfig{{Host: "hss.example.net", Address: l.Addr().String(), TLS: &tls.Config{RootCAs: pool}}}
	n := newNode(t, cfg)
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	ready(t, n)
	if _, err := n.Call(context.Background(), testRequest(n, "a")); err != nil {
		t.Fatal(err)
	}
	// A certificate of another name is refused, and the reason is told.
	var seen failures
	cfg = testConfig("other.example.net")
	cfg.Observer = &seen
	cfg.Peers = []PeerConfig{{Address: l.Addr().String(), TLS: &tls.Config{RootCAs: pool}}}
	other := newNode(t, cfg)
	seen.ch = make(chan error, 1)
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-seen.ch:
		if !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("no reason was given")
	}
}

// failures hands on the first reason why a connection went down.
type failures struct{ ch chan error }

func (*failures) Message(MessageEvent) {}
func (*failures) Refused(RefusedEvent) {}
func (f *failures) Connection(e ConnectionEvent) {
	if e.State == Down {
		select {
		case f.ch <- e.Err:
		default:
		}
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	for name, parallel := range map[string]int{"one at a time": 1, "64 under way": 64} {
		b.Run(name, func(b *testing.B) {
			cfg := testConfig("hss.example.net")
			cfg.Handler = func(r *Request) { _ = r.Answer(r.NewAnswer(Base(Success))) }
			hss := newNode(b, cfg)
			l := loopback(b)
			if err := hss.Listen(l); err != nil {
				b.Fatal(err)
			}
			cfg = testConfig("client.example.net")
			cfg.Peers = []PeerConfig{{Address: l.Addr().String()}}
			n := newNode(b, cfg)
			if err := n.Start(); err != nil {
				b.Fatal(err)
			}
			ready(b, n)
			b.ReportAllocs()
			b.ResetTimer()
			slots := make(chan error, parallel)
			for range parallel {
				slots <- nil
			}
			for range b.N {
				if err := <-slots; err != nil {
					b.Fatal(err)
				}
				n.Do(time.Time{}, testRequest(n, "name"), func(_ *Answer, err error) { slots <- err })
			}
			for range parallel {
				if err := <-slots; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
