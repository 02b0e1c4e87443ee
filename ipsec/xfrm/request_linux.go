package xfrm

import (
	"errors"
	"net/netip"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// request is one message to the kernel.
type request struct {
	kind  uint16 // nl.XFRM_MSG_…
	parts []nl.NetlinkRequestData
}

// kernel is the netlink family XFRM. Tests have one of their own.
type kernel interface {
	// do sends a request and waits until the kernel has acknowledged it.
	do(request) error
	// get sends a request and returns its answers, each without the netlink header.
	get(r request, dump bool) ([][]byte, error)
	close()
}

// socket is the kernel's. It belongs to the network namespace of the thread that
// opened it.
type socket struct {
	mu     sync.Mutex
	handle *nl.SocketHandle
}

// answerTime bounds the wait for an acknowledgement.
var answerTime = unix.Timeval{Sec: 10}

func openSocket() (*socket, error) {
	s, err := nl.Subscribe(unix.NETLINK_XFRM)
	if err != nil {
		return nil, err
	}
	// The kernel's own words for a refusal, where it has some.
	_ = s.SetExtAck(true)
	if err := errors.Join(s.SetSendTimeout(&answerTime), s.SetReceiveTimeout(&answerTime)); err != nil {
		s.Close()
		return nil, err
	}
	return &socket{handle: &nl.SocketHandle{Socket: s}}, nil
}

func (s *socket) do(r request) error {
	_, err := s.execute(r, unix.NLM_F_ACK)
	return err
}

func (s *socket) get(r request, dump bool) ([][]byte, error) {
	if !dump {
		return s.execute(r, 0)
	}
	// A dump during which something has changed may have left something out.
	for tries := 0; ; tries++ {
		answers, err := s.execute(r, unix.NLM_F_DUMP)
		if !errors.Is(err, nl.ErrDumpInterrupted) || tries == dumpTries {
			return answers, err
		}
	}
}

// dumpTries is how often a dump is begun anew.
const dumpTries = 10

func (s *socket) execute(r request, flags int) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	req := nl.NewNetlinkRequest(int(r.kind), flags)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_XFRM: s.handle}
	for _, p := range r.parts {
		req.AddData(p)
	}
	return req.Execute(unix.NETLINK_XFRM, 0)
}

func (s *socket) close() { s.handle.Close() }

// events is where the kernel tells of what it does by itself: *nl.NetlinkSocket.
type events interface {
	Receive() ([]syscall.NetlinkMessage, *unix.SockaddrNetlink, error)
	Close()
}

// eventBuffer holds the expiry of some thousand sets at once.
const eventBuffer = 8 << 20

func openEvents() (events, error) {
	s, err := nl.Subscribe(unix.NETLINK_XFRM, nl.XFRMNLGRP_EXPIRE, nl.XFRMNLGRP_MAPPING)
	if err != nil {
		return nil, err
	}
	// A smaller buffer than asked for is no error: a loss is noticed and made good.
	_ = s.SetReceiveBufferSize(eventBuffer, true)
	return s, nil
}

// address is a as the kernel has it.
func address(a netip.Addr) (x nl.XfrmAddress) {
	copy(x[:], a.AsSlice())
	return x
}

// addr reads an address of the kernel's.
func addr(x nl.XfrmAddress, family uint16) netip.Addr {
	if family == unix.AF_INET6 {
		return netip.AddrFrom16(x)
	}
	return netip.AddrFrom4([4]byte(x[:4]))
}

func family(a netip.Addr) uint16 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// selector matches what goes from src to dst, by UDP, TCP, or whatever has ports.
// An invalid address is any, port 0 is any.
func selector(src, dst netip.AddrPort) nl.XfrmSelector {
	known := dst.Addr()
	if !known.IsValid() {
		known = src.Addr()
	}
	s := nl.XfrmSelector{
		Family: family(known),
		Daddr:  address(dst.Addr()), PrefixlenD: uint8(max(dst.Addr().BitLen(), 0)), Dport: nl.Swap16(dst.Port()),
		Saddr: address(src.Addr()), PrefixlenS: uint8(max(src.Addr().BitLen(), 0)), Sport: nl.Swap16(src.Port()),
	}
	if s.Dport != 0 {
		s.DportMask = 0xffff
	}
	if s.Sport != 0 {
		s.SportMask = 0xffff
	}
	return s
}

// ends reads the two ends of a selector.
func ends(s nl.XfrmSelector) (src, dst netip.AddrPort) {
	return netip.AddrPortFrom(addr(s.Saddr, s.Family), nl.Swap16(s.Sport)),
		netip.AddrPortFrom(addr(s.Daddr, s.Family), nl.Swap16(s.Dport))
}
