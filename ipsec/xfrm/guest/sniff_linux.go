package guest

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Sniffer keeps what passes the wires of a namespace.
type Sniffer struct {
	f *os.File
}

// Sniff begins to listen.
func (n *Net) Sniff(t testing.TB) *Sniffer {
	t.Helper()
	s := &Sniffer{}
	err := n.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(unix.ETH_P_ALL<<8))
		if err != nil {
			return err
		}
		s.f = os.NewFile(uintptr(fd), "packets")
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.f.Close() })
	return s
}

// Stop returns the IP packets that have passed since it was begun.
func (s *Sniffer) Stop() (packets [][]byte) {
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(int(s.f.Fd()), buf, unix.MSG_DONTWAIT)
		if err != nil {
			s.f.Close()
			return packets
		}
		packets = append(packets, slices.Clone(buf[:n]))
	}
}

// Header reads the protocol and payload of an IP packet. A fragment other than the
// first has none.
func Header(p []byte) (proto byte, payload []byte) {
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		if p[6]&0x1f != 0 || p[7] != 0 {
			return 0, nil
		}
		return p[9], p[min(int(p[0]&15)*4, len(p)):]
	case len(p) >= 40 && p[0]>>4 == 6:
		if p[6] == 44 && len(p) >= 48 {
			if p[42] != 0 || p[43]&^7 != 0 {
				return 0, nil
			}
			return p[40], p[48:]
		}
		return p[6], p[40:]
	}
	return 0, nil
}
