//go:build integration

package esp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ipsec"
)

// tsharkAlgorithms are Wireshark's names, and the keys as it wants them.
func tsharkAlgorithms(p ipsec.Pair, m ipsec.Material) (ealg, ekey, alg, akey string) {
	ealg, alg = "NULL", "NULL"
	switch p.EAlg {
	case ipsec.DESEDE3CBC:
		ealg, ekey = "TripleDES-CBC [RFC2451]", fmt.Sprintf("0x%x", m.Encryption)
	case ipsec.AESCBC:
		ealg, ekey = "AES-CBC [RFC3602]", fmt.Sprintf("0x%x", m.Encryption)
	case ipsec.AESGCM:
		ealg, ekey = "AES-GCM with 16 octet ICV [RFC4106]", fmt.Sprintf("0x%x%x", m.Encryption, m.Salt)
	}
	switch p.Alg {
	case ipsec.HMACMD5:
		alg, akey = "HMAC-MD5-96 [RFC2403]", fmt.Sprintf("0x%x", m.Integrity)
	case ipsec.HMACSHA1:
		alg, akey = "HMAC-SHA-1-96 [RFC2404]", fmt.Sprintf("0x%x", m.Integrity)
	}
	return ealg, ekey, alg, akey
}

// pcapRaw writes IP packets as a capture file of link type RAW.
func pcapRaw(t *testing.T, packets [][]byte) string {
	t.Helper()
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0)
	for i, p := range packets {
		b = binary.LittleEndian.AppendUint32(b, uint32(i))
		b = binary.LittleEndian.AppendUint32(b, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	name := filepath.Join(t.TempDir(), "esp.pcap")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// tap is a carrier that keeps what is sent as IP packets.
type tap struct {
	kind    Kind
	packets [][]byte
}

func (c *tap) Kind() Kind                                               { return c.kind }
func (*tap) Local() netip.AddrPort                                      { return netip.AddrPort{} }
func (*tap) Receive(func([]byte, netip.AddrPort, netip.AddrPort)) error { return nil }
func (*tap) Close() error                                               { return nil }
func (c *tap) Send(p []byte, src netip.Addr, dst netip.AddrPort) error {
	proto := uint8(protoESP)
	if c.kind == UDP {
		p = append(make([]byte, udpHeaderLen), p...)
		putUDPHeader(p, netip.AddrPortFrom(src, ipsec.NATPort), dst)
		proto = protoUDP
	}
	ipPackets(p, src, dst.Addr(), proto, 0, 1<<16, func(b []byte) { c.packets = append(c.packets, b) })
	return nil
}

// otherKey changes one digit.
func otherKey(hex string) string {
	if last := len(hex) - 1; hex[last] == '0' {
		return hex[:last] + "1"
	}
	return hex[:len(hex)-1] + "0"
}

// Wireshark, given the keys, finds the ICV of our packets good and a SIP message
// within. It has no AES-GMAC.
func TestTsharkDecryptsEveryPair(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Fatalf("%v: install the packages of .ci/packages", err)
	}
	const message = "OPTIONS sip:a@b SIP/2.0\r\nCall-ID: %s\r\nContent-Length: 0\r\n\r\n"
	var packets [][]byte
	var right, wrong, want []string
	id := ipsec.SetID(0)
	for _, pair := range ipsec.Pairs {
		for _, mode := range []ipsec.Mode{ipsec.Transport, ipsec.UDPTunnel} {
			for _, f := range families {
				if pair.Alg == ipsec.AESGMAC {
					continue
				}
				id++
				p, _ := setPair(id, f[0], f[1], pair)
				p.Mode = mode
				out := &tap{kind: Kind(mode)}
				h := newHost(t, Config{Carriers: []Carrier{out}})
				install(t, h, p)
				sums := "1" // good
				if mode == ipsec.UDPTunnel {
					sums = "1,1" // outside and within
				}
				for i := range 3 {
					callID := fmt.Sprintf("%d%s", id, strings.Repeat("x", i))
					if err := h.SendUDP(p.Local.Client(), p.Remote.Server(), fmt.Appendf(nil, message, callID)); err != nil {
						t.Fatal(err)
					}
					want = append(want, fmt.Sprintf("0x%08x %d 1 0 %s %s", p.Remote.SPIS, i+1, sums, callID))
				}
				packets = append(packets, out.packets...)
				version := "IPv6"
				if p.Local.Addr.Is4() {
					version = "IPv4"
				}
				ealg, ekey, alg, akey := tsharkAlgorithms(pair, p.Material())
				uat := func(ekey, akey string) string {
					return fmt.Sprintf(`uat:esp_sa:"%s","*","*","0x%08x","%s","%s","%s","%s"`, version, p.Remote.SPIS, ealg, ekey, alg, akey)
				}
				right = append(right, "-o", uat(ekey, akey))
				if akey != "" {
					akey = otherKey(akey)
				} else {
					ekey = otherKey(ekey)
				}
				wrong = append(wrong, "-o", uat(ekey, akey))
			}
		}
	}
	file := pcapRaw(t, packets)
	read := func(keys []string) []string {
		cmd := exec.Command(tshark, append([]string{"-r", file, "-o", "esp.enable_encryption_decode:TRUE",
			"-o", "esp.enable_authentication_check:TRUE", "-o", "udp.check_checksum:TRUE", "-d", "udp.port==6300,sip",
			"-T", "fields", "-E", "separator= ", "-e", "esp.spi", "-e", "esp.sequence", "-e", "esp.icv_good", "-e", "esp.icv_bad",
			"-e", "udp.checksum.status", "-e", "sip.Call-ID"}, keys...)...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		got, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(got)), "\n")
	}
	for i, got := range read(right) {
		if i >= len(want) || got != want[i] {
			t.Errorf("packet %d: tshark reads %q, want %q", i, got, want[min(i, len(want)-1)])
		}
	}
	// It would see a fault: with keys of which one octet is wrong.
	for _, got := range read(wrong) {
		if slices.Contains(want, got) {
			t.Errorf("with a wrong key tshark reads %q", got)
		}
	}
}
