package ladder

import (
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/trace"
)

// TestProtectedMessages: within ESP the P-CSCF has a port that outside is the
// I-CSCF's; the arrows still end where they should, and are double.
func TestProtectedMessages(t *testing.T) {
	event := func(dir, node, proto, local, remote string) trace.Event {
		return trace.Event{Time: time.UnixMilli(1), Node: node, Kind: trace.SIP, Dir: dir, Proto: proto, Local: local, Remote: remote, Raw: register("b")}
	}
	var b strings.Builder
	l := New(&b, Options{Nodes: nodes()})
	for _, e := range []trace.Event{
		event(trace.Out, "ue:alice", "esp/udp", phone, icscf),
		event(trace.In, "pcscf", "esp/udp", icscf, phone),
		event(trace.Out, "pcscf", "udp", mw, icscf),
		event(trace.In, "icscf", "udp", icscf, mw),
	} {
		if err := l.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var drawn []string
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, "REGISTER") {
			drawn = append(drawn, line[:strings.Index(line, "▶")])
		}
	}
	if len(drawn) != 2 || !strings.HasSuffix(drawn[0], "├══REGISTER═══") || !strings.HasSuffix(drawn[1], "│              ├──REGISTER───") {
		t.Errorf("drawn:\n%s", b.String())
	}
}
