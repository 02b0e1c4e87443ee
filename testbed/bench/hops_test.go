package bench

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/trace"
)

// watching collects what the services tell of their messages.
type watching struct{ sub *trace.Subscription }

func watch(s *trace.Stream) watching { return watching{s.Subscribe(4096)} }

// hops ends it, and returns each message once.
func (w watching) hops(t *testing.T) []hop {
	t.Helper()
	w.sub.Close()
	var events []trace.Event
	at := map[string]string{} // who has an address
	for e := range w.sub.C() {
		if e.Kind == trace.SIP || e.Kind == trace.Diameter {
			events = append(events, e)
			at[e.Local] = e.Node
		}
	}
	if w.sub.Lost() > 0 {
		t.Fatalf("%d events were lost", w.sub.Lost())
	}
	name := func(addr string) string {
		if n, ok := at[addr]; ok {
			return n
		}
		return phonesName
	}
	type key struct{ from, to, raw string }
	place := map[key]int{}
	var list []hop
	for _, e := range events {
		k := key{e.Node, name(e.Remote), string(e.Raw)}
		if e.Dir == trace.In {
			if k = (key{name(e.Remote), e.Node, string(e.Raw)}); k.from != phonesName {
				continue
			}
		}
		if _, ok := place[k]; ok {
			t.Errorf("%s was sent twice", whatIs(e))
		}
		place[k] = len(list)
		list = append(list, hop{whatIs(e), k.from, k.to, e.Proto, len(e.Raw), -1})
	}
	// Whoever sends does so because of what he received last; the phones are one.
	last := map[string]int{phonesName: -1}
	for _, e := range events {
		from := name(e.Remote)
		if e.Dir == trace.Out {
			i := place[key{e.Node, from, string(e.Raw)}]
			list[i].After = last[e.Node]
			if from == phonesName {
				last[phonesName] = i
			}
			continue
		}
		i := place[key{from, e.Node, string(e.Raw)}]
		last[e.Node] = i
		if from == phonesName {
			list[i].After = last[phonesName]
		}
	}
	return list
}

// whatIs is a request's method, a response's status with that, or a Cx command.
func whatIs(e trace.Event) string {
	if e.Kind == trace.Diameter {
		word := binary.BigEndian.Uint32(e.Raw[4:])
		kind := map[bool]string{true: "R", false: "A"}[word>>31 == 1]
		return map[uint32]string{300: "UA", 301: "SA", 302: "LI", 303: "MA"}[word&0xffffff] + kind
	}
	first, rest, _ := strings.Cut(string(e.Raw), " ")
	if first != "SIP/2.0" {
		return first
	}
	_, cseq, _ := bytes.Cut(e.Raw, []byte("\r\nCSeq: "))
	cseq, _, _ = bytes.Cut(cseq, []byte("\r\n"))
	_, method, _ := bytes.Cut(cseq, []byte(" "))
	return rest[:3] + " " + string(method)
}

// writeHops writes them a line each.
func writeHops(t *testing.T, all map[string][]hop) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("{")
	for i, name := range []string{"registration", "reregistration", "call", "message"} {
		fmt.Fprintf(&b, "%s\n%q: [", map[bool]string{true: ","}[i > 0], name)
		for j, h := range all[name] {
			line, err := json.Marshal(h)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s\n  %s", map[bool]string{true: ","}[j > 0], line)
		}
		b.WriteString("]")
	}
	b.WriteString("\n}\n")
	if err := os.WriteFile(floorFile, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
