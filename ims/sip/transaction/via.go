package transaction

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
)

// completeVia gives m received and rport in its top Via, which is v, as RFC 3261
// §18.2.1 and RFC 3581 §4 ask of whoever receives a request. What the sender itself
// wrote there is not believed. Nothing else changes, so that the rest still leaves as
// it came. It reports false when the message is too large by now.
func completeVia(m *sip.Message, v *sip.Via, src netip.AddrPort) bool {
	addr := src.Addr().Unmap().WithZone("")
	host, ok := v.HostAddr()
	received := v.HasRPort || !ok || host.Unmap() != addr
	if !received && v.Received == "" {
		return true
	}
	first := m.First(sip.HVia)
	line := m.Find(sip.HVia, 0)
	_, _, value := m.Line(line)
	at := strings.Index(value, first)
	for at < 0 || value == "" { // an empty Via line stands in front
		if line = m.Find(sip.HVia, line+1); line < 0 {
			return true
		}
		_, _, value = m.Line(line)
		at = strings.Index(value, first)
	}
	var room [256]byte
	b := append(room[:0], value[:at]...)
	b = append(b, first[:len(first)-len(v.Params)]...)
	for n, val := range v.Params.All() {
		if strings.EqualFold(n, "received") {
			continue
		}
		b = append(append(b, ';'), n...)
		switch {
		case strings.EqualFold(n, "rport"):
			b = strconv.AppendUint(append(b, '='), uint64(src.Port()), 10)
		case val != "":
			b = append(append(b, '='), val...)
		}
	}
	if received {
		b = addr.AppendTo(append(b, ";received="...))
	}
	b = append(b, value[at+len(first):]...)
	if m.Respell(line, b) != nil {
		return false
	}
	// What is kept of the Via is not to keep the text alive in which it came.
	_, _, value = m.Line(line)
	v.Host, v.Branch = within(value, v.Host), within(value, v.Branch)
	return true
}

// within returns part as it stands in whole.
func within(whole, part string) string {
	if i := strings.Index(whole, part); i >= 0 {
		return whole[i : i+len(part)]
	}
	return strings.Clone(part)
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
