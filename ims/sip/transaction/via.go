package transaction

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
)

// completeVia returns the text of m with received and rport in its top Via as
// RFC 3261 §18.2.1 and RFC 3581 §4 ask of whoever receives a request, or "" when
// it is right as it is. What the sender itself wrote there is not believed.
// Nothing else changes, so that the rest still leaves as it came.
func completeVia(m *sip.Message, v *sip.Via, src netip.AddrPort) string {
	addr := src.Addr().Unmap().WithZone("")
	host, ok := v.HostAddr()
	received := v.HasRPort || !ok || host.Unmap() != addr
	if !received && v.Received == "" {
		return ""
	}
	first := m.First(sip.HVia)
	line := m.Find(sip.HVia, 0)
	_, name, value := m.Line(line)
	at := strings.Index(value, first)
	for at < 0 || value == "" { // an empty Via line stands in front
		if line = m.Find(sip.HVia, line+1); line < 0 {
			return ""
		}
		_, name, value = m.Line(line)
		at = strings.Index(value, first)
	}
	raw := m.Raw()
	start := strings.IndexByte(raw, '\n') + 1
	for i := range line {
		start += len(m.RawLine(i))
	}

	var b strings.Builder
	var scratch [48]byte
	b.Grow(len(raw) + 64)
	b.WriteString(raw[:start])
	b.WriteString(name)
	b.WriteString(": ")
	b.WriteString(value[:at])
	b.WriteString(first[:len(first)-len(v.Params)])
	for n, val := range v.Params.All() {
		switch {
		case strings.EqualFold(n, "received"):
			continue
		case strings.EqualFold(n, "rport"):
			b.WriteByte(';')
			b.WriteString(n)
			b.Write(strconv.AppendUint(append(scratch[:0], '='), uint64(src.Port()), 10))
			continue
		}
		b.WriteByte(';')
		b.WriteString(n)
		if val != "" {
			b.WriteByte('=')
			b.WriteString(val)
		}
	}
	if received {
		b.WriteString(";received=")
		b.Write(addr.AppendTo(scratch[:0]))
	}
	b.WriteString(value[at+len(first):])
	b.WriteString("\r\n")
	b.WriteString(raw[start+len(m.RawLine(line)):])
	return b.String()
}

// defaultPort is the port of a sent-by without one (RFC 3261 §18.2.2).
func defaultPort(p sip.Proto) uint16 {
	if p == sip.TLS {
		return 5061
	}
	return 5060
}

// sentByPort is the port at which the sender of a request says it listens.
func sentByPort(f sip.Flow, v *sip.Via) uint16 {
	if v.Port == 0 {
		return defaultPort(f.Proto)
	}
	return v.Port
}

// responseFlows says where the response to a request from f goes (RFC 3261
// §18.2.2, RFC 3581 §4), and where it goes when a stream connection is gone. A phone
// has no use for maddr: it would send our answers to anybody.
func responseFlows(f sip.Flow, v *sip.Via) (to, fallback sip.Flow) {
	port := sentByPort(f, v)
	to, fallback = f, f
	fallback.Conn = 0
	fallback.Remote = netip.AddrPortFrom(f.Remote.Addr(), port)
	maddr := v.MAddr
	if f.Role == sip.RoleGm {
		maddr = ""
	}
	if f.Proto.Stream() || v.HasRPort && maddr == "" {
		return to, fallback
	}
	to.Remote = fallback.Remote
	// maddr as a name would need DNS in the middle of an answer; no one uses it.
	if maddr != "" {
		if a, err := netip.ParseAddr(strings.Trim(maddr, "[]")); err == nil {
			to.Remote = netip.AddrPortFrom(a, port)
		}
	}
	return to, fallback
}

// responseFlows is responseFlows with what Config.ReturnFlow says.
func (l *Layer) responseFlows(f sip.Flow, v *sip.Via) (to, fallback sip.Flow) {
	if l.cfg.ReturnFlow != nil {
		if back, ok := l.cfg.ReturnFlow(f, sentByPort(f, v)); ok {
			if f.Proto.Stream() {
				return f, back
			}
			return back, back
		}
	}
	return responseFlows(f, v)
}
