//go:build integration

package interop

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/testbed/lab"
)

// TestTsharkUnderstandsUs: Wireshark's dissectors find every message that our nodes
// send to be SIP or Diameter without a fault, and know all its AVPs.
func TestTsharkUnderstandsUs(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Fatalf("%v: install the packages of .ci/packages", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c := startCore(t, lab.NameP, lab.NameI, lab.NameS)
	c.everything(ctx, c.phone(0, nil), c.phone(1, nil))

	c.mu.Lock()
	sent := slices.DeleteFunc(slices.Clone(c.events), func(e trace.Event) bool { return e.Dir != trace.Out || len(e.Raw) == 0 })
	c.mu.Unlock()
	ours := tsharkFile{t, tshark, capture(t, sent)}
	commands := ours.read("-Y", "sip || diameter", "-T", "fields", "-e", "diameter.cmd.code")
	if len(commands) != len(sent) {
		t.Errorf("tshark reads %d messages of %d", len(commands), len(sent))
	}
	for command, name := range map[string]string{"300": "UAR", "301": "SAR", "302": "LIR", "303": "MAR", "304": "RTR", "305": "PPR"} {
		if !slices.Contains(commands, command+"\n") {
			t.Errorf("no %s has been sent", name)
		}
	}
	for _, line := range ours.complaints() {
		t.Error(line)
	}

	// It would complain if there were something to complain about.
	var broken []trace.Event
	for _, kind := range []trace.Kind{trace.SIP, trace.Diameter} {
		e := sent[slices.IndexFunc(sent, func(e trace.Event) bool { return e.Kind == kind })]
		e.Raw = bytes.Replace(e.Raw, []byte("\r\nCSeq: "), []byte("\r\nCSeq "), 1)
		if kind == trace.Diameter {
			binary.BigEndian.PutUint32(e.Raw[20:], 4711) // the code of the first AVP
		}
		broken = append(broken, e)
	}
	if got := (tsharkFile{t, tshark, capture(t, broken)}).complaints(); len(got) != len(broken) {
		t.Errorf("of %d broken messages tshark says %q", len(broken), got)
	}
}

// tsharkFile is a capture to be read by tshark.
type tsharkFile struct {
	t            *testing.T
	tshark, name string
}

func (f tsharkFile) read(args ...string) (lines []string) {
	f.t.Helper()
	cmd := exec.Command(f.tshark, append([]string{"-n", "-r", f.name, "-d", "udp.port==5070,sip", "-d", "tcp.port==5070,sip"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		f.t.Fatalf("tshark: %v: %s", err, stderr.String())
	}
	for line := range strings.Lines(string(out)) {
		lines = append(lines, line)
	}
	return lines
}

// complaints are what tshark notes, warns of, or worse.
func (f tsharkFile) complaints() []string {
	f.t.Helper()
	return f.read("-Y", "_ws.malformed || _ws.expert.severity >= 0x400000", "-T", "fields", "-e", "_ws.col.Info", "-e", "_ws.expert.message")
}

const linkTypeRaw = 101 // a packet begins with its IP header

// capture writes messages to a pcap file, each as one datagram or segment.
func capture(t *testing.T, events []trace.Event) (name string) {
	t.Helper()
	be := binary.BigEndian
	var b []byte
	for _, v := range []uint32{0xa1b2c3d4, 2<<16 | 4, 0, 0, 1 << 18, linkTypeRaw} { // magic, version 2.4, …, longest packet
		b = be.AppendUint32(b, v)
	}
	seq := make(map[string]uint32) // of TCP, by direction
	for _, e := range events {
		from, err1 := netip.ParseAddrPort(e.Local)
		to, err2 := netip.ParseAddrPort(e.Remote)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatalf("the addresses in an event of %s: %v", e.Node, err)
		}
		segment := be.AppendUint16(be.AppendUint16(nil, from.Port()), to.Port())
		protocol := byte(17)
		if e.Proto == "udp" {
			segment = be.AppendUint16(segment, uint16(8+len(e.Raw)))
			segment = append(segment, 0, 0) // no checksum
		} else {
			protocol = 6
			way := e.Local + ">" + e.Remote
			segment = be.AppendUint32(segment, 1+seq[way])
			segment = be.AppendUint32(segment, 1+seq[e.Remote+">"+e.Local])
			segment = append(segment, 5<<4, 0x18, 0xff, 0xff, 0, 0, 0, 0) // PSH and ACK
			seq[way] += uint32(len(e.Raw))
		}
		segment = append(segment, e.Raw...)
		packet := be.AppendUint16([]byte{0x45, 0}, uint16(20+len(segment)))
		packet = append(packet, 0, 0, 0, 0, 64, protocol, 0, 0)
		packet = append(append(packet, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
		packet = append(packet, segment...)
		for _, v := range []int64{e.Time.Unix(), int64(e.Time.Nanosecond() / 1000), int64(len(packet)), int64(len(packet))} {
			b = be.AppendUint32(b, uint32(v))
		}
		b = append(b, packet...)
	}
	name = filepath.Join(t.TempDir(), "messages.pcap")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}
