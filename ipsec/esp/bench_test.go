package esp

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gocscf/gocscf/ipsec"
)

// benchPayload is the size of a SIP message, in one UDP datagram.
const benchPayload = 1000

// sink is a carrier that takes what is sent.
type sink struct{ packet []byte }

func (*sink) Kind() Kind            { return UDP }
func (*sink) Local() netip.AddrPort { return netip.AddrPort{} }
func (s *sink) Send(p []byte, _ netip.Addr, _ netip.AddrPort) error {
	s.packet = append(s.packet[:0], p...)
	return nil
}
func (*sink) Receive(func([]byte, netip.AddrPort, netip.AddrPort)) error { return nil }
func (*sink) Close() error                                               { return nil }

// quiet is an Upper that takes all.
type quiet struct{}

func (quiet) ReceiveUDP(_, _ netip.AddrPort, _ []byte) error { return nil }
func (quiet) ReceiveTCP(_, _ netip.AddrPort, _ []byte) error { return nil }
func (quiet) Removed(_, _ netip.AddrPort)                    {}

// measure runs f b.N times and reports what one core does in a second of its time.
func measure(b *testing.B, f func()) {
	b.ReportAllocs()
	b.ResetTimer()
	took := threadTime(func() {
		for range b.N {
			f()
		}
	})
	b.ReportMetric(float64(b.N)/took.Seconds(), "packets/core-s")
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "cpu-ns/packet")
}

// BenchmarkPacket is one packet with 1000 octets in a UDP datagram, on one core:
// bare is the cipher and the MAC over the same octets and a fresh IV where the
// algorithm wants one, seal and open are a Transform, send and receive an Engine,
// which adds the look-up, UDP, the replay window, selectors and statistics, but no
// system call.
func BenchmarkPacket(b *testing.B) {
	for _, pair := range ipsec.Pairs {
		p, u := setPair(1, "192.0.2.1", "192.0.2.2", pair)
		out := new(sink)
		phone, pcscf := NewEngine(Config{Carriers: []Carrier{out}}, quiet{}), NewEngine(Config{}, quiet{})
		install2(b, phone, u)
		install2(b, pcscf, p)
		message := make([]byte, benchPayload)
		send := func() {
			if err := phone.SendUDP(u.Local.Client(), u.Remote.Server(), message); err != nil {
				b.Fatal(err)
			}
		}
		send()
		packet := append([]byte(nil), out.packet...)
		seal, open := newTransforms(b, pair)
		n := udpHeaderLen + benchPayload
		buf := make([]byte, 2000)

		b.Run(pair.String()+"/bare-out", func(b *testing.B) {
			measure(b, func() {
				bareSeal(seal, buf, n)
			})
		})
		b.Run(pair.String()+"/seal", func(b *testing.B) {
			measure(b, func() {
				seal.Seal(buf, n, protoUDP, 1001, 1)
			})
		})
		b.Run(pair.String()+"/send", func(b *testing.B) {
			measure(b, func() {
				send()
			})
		})
		b.Run(pair.String()+"/bare-in", func(b *testing.B) {
			measure(b, func() {
				copy(buf, packet)
				bareOpen(open, buf[:len(packet)])
			})
		})
		b.Run(pair.String()+"/open", func(b *testing.B) {
			measure(b, func() {
				copy(buf, packet)
				if _, _, err := open.Open(buf[:len(packet)]); err != nil {
					b.Fatal(err)
				}
			})
		})
		b.Run(pair.String()+"/receive", func(b *testing.B) {
			sa := &pcscf.sets[1].in[ipsec.AtServer]
			before := sa.packets.Load()
			measure(b, func() {
				copy(buf, packet)
				sa.window = window{} // or the packet would be a replay
				pcscf.receive(out, buf[:len(packet)], ap("192.0.2.2:4500"), netip.AddrPort{})
			})
			if got := sa.packets.Load() - before; got != uint64(b.N) {
				b.Fatalf("%d packets of %d received", got, b.N)
			}
		})
		_, _ = phone.Close(), pcscf.Close()
	}
}

func install2(b *testing.B, e *Engine, s *ipsec.Set) {
	if err := e.Install(s); err != nil {
		b.Fatal(err)
	}
}

// bareSeal is the cryptography of a packet with n octets of payload.
func bareSeal(t *Transform, p []byte, n int) {
	p = p[:t.Size(n)]
	head, end := t.Head(), len(p)-int(t.icvLen)
	k := t.ready.Load()
	switch {
	case t.gmac:
		k.aead.Seal(p[end:end], k.nonce[:], nil, p[:end])
	case k.aead != nil:
		k.aead.Seal(p[head:head], k.nonce[:], p[head:end], p[:headerLen])
	default:
		if k.enc != nil {
			_, _ = rand.Read(p[headerLen:head])
			k.enc.SetIV(p[headerLen:head])
			k.enc.CryptBlocks(p[head:end], p[head:end])
		}
		k.mac.Reset()
		k.mac.Write(p[:end])
		k.mac.Sum(k.sum[:0])
	}
}

func bareOpen(t *Transform, p []byte) {
	head, end := t.Head(), len(p)-int(t.icvLen)
	k := t.ready.Load()
	copy(k.nonce[4:], p[headerLen:head])
	switch {
	case t.gmac:
		_, _ = k.aead.Open(p[end:end], k.nonce[:], p[end:], p[:end])
	case k.aead != nil:
		_, _ = k.aead.Open(p[head:head], k.nonce[:], p[head:], p[:headerLen])
	default:
		k.mac.Reset()
		k.mac.Write(p[:end])
		k.mac.Sum(k.sum[:0])
		if k.dec != nil {
			k.dec.SetIV(p[headerLen:head])
			k.dec.CryptBlocks(p[head:end], p[head:end])
		}
	}
	_ = binary.BigEndian.Uint16(p[end-2:])
}
