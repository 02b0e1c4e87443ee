package xfrm

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
)

// What goes before what: the lower number. Both are below what key exchange daemons
// take, so that a tunnel of the host's does not swallow Gm.
const (
	priorityProtect = 3329  // RFC 3329
	priorityBlock   = 33203 // TS 33.203
)

// The kernel's numbers that the library has not.
const (
	dirIn       = 0 // XFRM_POLICY_IN
	dirOut      = 1 // XFRM_POLICY_OUT
	actionAllow = 0
	actionBlock = 1
)

// policyGrace is how much longer than its association a policy stays when nobody
// takes it away: whoever has crashed leaves nothing for ever, and until then nothing
// goes in clear.
const policyGrace = time.Minute

// protect tells the kernel what an association protects, and that nothing else may
// carry it.
func protect(kind uint16, a association, now, hard time.Time) request {
	if !hard.IsZero() {
		hard = hard.Add(policyGrace)
	}
	info := &nl.XfrmUserpolicyInfo{
		Sel: selector(a.Src, a.Dst), Lft: limits(now, hard, false),
		Priority: priorityProtect, Dir: dirOut, Action: actionAllow,
	}
	if a.in {
		info.Dir = dirIn
	}
	t := &nl.XfrmUserTmpl{
		XfrmId: nl.XfrmId{Daddr: address(a.dst), Spi: nl.Swap32(a.SPI), Proto: unix.IPPROTO_ESP},
		Family: family(a.dst), Saddr: address(a.src), Reqid: requestID, Mode: modeTransport,
		Aalgos: ^uint32(0), Ealgos: ^uint32(0), Calgos: ^uint32(0),
	}
	if a.tunnel {
		t.Mode = modeTunnel
	}
	return request{kind, []nl.NetlinkRequestData{info, nl.NewRtAttr(nl.XFRMA_TMPL, t.Serialize())}}
}

// block drops what is in clear to a port of ours (in), or from it.
func block(at netip.AddrPort, in bool) request {
	info := &nl.XfrmUserpolicyInfo{
		Sel: selector(at, netip.AddrPort{}), Lft: limits(time.Time{}, time.Time{}, false),
		Priority: priorityBlock, Dir: dirOut, Action: actionBlock,
	}
	if in {
		info.Sel, info.Dir = selector(netip.AddrPort{}, at), dirIn
	}
	return request{nl.XFRM_MSG_NEWPOLICY, []nl.NetlinkRequestData{info}}
}

// policyDel takes back what an association's policy or a block has been added with.
func policyDel(added request) request {
	info := added.parts[0].(*nl.XfrmUserpolicyInfo)
	return request{nl.XFRM_MSG_DELPOLICY, []nl.NetlinkRequestData{&nl.XfrmUserpolicyId{Sel: info.Sel, Dir: info.Dir}}}
}

// left are the requests that take away what an earlier run of this instance has left.
func (c Config) left(k kernel) ([]request, error) {
	var list []request
	states, err := k.get(request{kind: nl.XFRM_MSG_GETSA}, true)
	if err != nil {
		return nil, err
	}
	for _, b := range states {
		st, ok := parseState(b)
		if !ok || st.info.Reqid != requestID || st.info.Id.Proto != unix.IPPROTO_ESP {
			continue
		}
		if src, dst := ends(st.info.Sel); c.ours(src) || c.ours(dst) {
			list = append(list, stateDel(key{addr(st.info.Id.Daddr, st.info.Family), nl.Swap32(st.info.Id.Spi)}))
		}
	}
	policies, err := k.get(request{kind: nl.XFRM_MSG_GETPOLICY}, true)
	if err != nil {
		return nil, err
	}
	for _, b := range policies {
		if len(b) < nl.SizeofXfrmUserpolicyInfo {
			continue
		}
		info := nl.DeserializeXfrmUserpolicyInfo(b)
		src, dst := ends(info.Sel)
		if (info.Dir == dirIn && c.ours(dst) || info.Dir == dirOut && c.ours(src)) && policyOfOurs(info, b[nl.SizeofXfrmUserpolicyInfo:]) {
			list = append(list, request{nl.XFRM_MSG_DELPOLICY, []nl.NetlinkRequestData{&nl.XfrmUserpolicyId{Sel: info.Sel, Index: info.Index, Dir: info.Dir}}})
		}
	}
	return list, nil
}

// ours reports whether an end of a selector is one that this instance protects.
func (c Config) ours(end netip.AddrPort) bool {
	return slices.Contains(c.Addrs, end.Addr()) && slices.Contains(c.Ports, end.Port())
}

// policyOfOurs reports whether this package, in whatever process, has made a policy.
func policyOfOurs(info *nl.XfrmUserpolicyInfo, rest []byte) bool {
	attrs, err := nl.ParseRouteAttr(rest)
	if err != nil {
		return false
	}
	for _, a := range attrs {
		if a.Attr.Type == nl.XFRMA_TMPL && len(a.Value) >= nl.SizeofXfrmUserTmpl {
			return info.Priority == priorityProtect && nl.DeserializeXfrmUserTmpl(a.Value).Reqid == requestID
		}
	}
	return info.Priority == priorityBlock && info.Action == actionBlock
}

// outerOf is where ESP in UDP goes to: what the set says, with the port of RFC 3948
// until the NAT's is known. It is invalid where ESP travels without UDP.
func outerOf(s *ipsec.Set) netip.AddrPort {
	if !s.Outer.IsValid() {
		return netip.AddrPort{}
	}
	if s.Outer.Port() == 0 {
		return netip.AddrPortFrom(s.Outer.Addr(), ipsec.NATPort)
	}
	return s.Outer
}
