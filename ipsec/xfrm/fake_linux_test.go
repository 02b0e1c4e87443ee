package xfrm

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
)

// fakeKernel keeps states and policies by the kernel's rules, in the kernel's form:
// it reads what is sent to it octet by octet.
type fakeKernel struct {
	states   map[key][]byte
	policies map[string][]byte
	order    []string // what has been done, in words
	// fail is asked before each request, nil for none.
	fail func(n int, r request) error
	n    int
	// unheard is the number of the request that is carried out, and whose
	// acknowledgement is lost.
	unheard int
	lost    error // what the library says then; nil for EAGAIN
	gets    int
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{states: make(map[key][]byte), policies: make(map[string][]byte)}
}

func (f *fakeKernel) close() {}

// failAt has the step-th request from now fail with err, or if unheard be carried out
// without an acknowledgement.
func (f *fakeKernel) failAt(step int, unheard bool, err error) {
	if f.n = 0; unheard {
		f.unheard = step
		return
	}
	f.fail = func(n int, _ request) error {
		if n == step {
			return err
		}
		return nil
	}
}

func octets(r request) (b []byte) {
	for _, p := range r.parts {
		b = append(b, p.Serialize()...)
	}
	return b
}

func (f *fakeKernel) do(r request) error {
	f.n++
	if f.n == f.unheard {
		f.unheard = 0
		f.n--
		return cmp.Or(f.do(r), f.lost, error(unix.EAGAIN))
	}
	if f.fail != nil {
		if err := f.fail(f.n, r); err != nil {
			return err
		}
	}
	b := octets(r)
	switch r.kind {
	case nl.XFRM_MSG_NEWSA, nl.XFRM_MSG_UPDSA:
		info := nl.DeserializeXfrmUsersaInfo(b)
		k := key{addr(info.Id.Daddr, info.Family), nl.Swap32(info.Id.Spi)}
		old, there := f.states[k]
		if there == (r.kind == nl.XFRM_MSG_NEWSA) {
			return map[bool]error{true: unix.EEXIST, false: unix.ESRCH}[there]
		}
		info.Curlft.AddTime = uint64(time.Now().Unix())
		if there {
			info.Curlft, info.Stats = nl.DeserializeXfrmUsersaInfo(old).Curlft, nl.DeserializeXfrmUsersaInfo(old).Stats
		}
		f.states[k] = b
		f.order = append(f.order, fmt.Sprintf("state %d", k.spi))
	case nl.XFRM_MSG_DELSA:
		id := nl.DeserializeXfrmUsersaId(b)
		k := key{addr(id.Daddr, id.Family), nl.Swap32(id.Spi)}
		if f.states[k] == nil {
			return unix.ESRCH
		}
		delete(f.states, k)
	case nl.XFRM_MSG_NEWPOLICY, nl.XFRM_MSG_UPDPOLICY:
		info := nl.DeserializeXfrmUserpolicyInfo(b)
		name := policyName(info.Dir, info.Sel)
		if f.policies[name] != nil && r.kind == nl.XFRM_MSG_NEWPOLICY {
			return unix.EEXIST
		}
		f.policies[name] = b
		f.order = append(f.order, "policy "+name)
	case nl.XFRM_MSG_DELPOLICY:
		id := nl.DeserializeXfrmUserpolicyId(b)
		name := policyName(id.Dir, id.Sel)
		if f.policies[name] == nil {
			return unix.ENOENT
		}
		delete(f.policies, name)
	default:
		return unix.EINVAL
	}
	return nil
}

func policyName(dir uint8, sel nl.XfrmSelector) string {
	src, dst := ends(sel)
	return fmt.Sprintf("%s %v > %v", [...]string{"in", "out"}[dir], src, dst)
}

func (f *fakeKernel) get(r request, dump bool) ([][]byte, error) {
	switch {
	case dump && r.kind == nl.XFRM_MSG_GETSA:
		return slices.Collect(func(yield func([]byte) bool) {
			for _, b := range f.states {
				if !yield(b) {
					return
				}
			}
		}), nil
	case dump && r.kind == nl.XFRM_MSG_GETPOLICY:
		return slices.Collect(func(yield func([]byte) bool) {
			for _, b := range f.policies {
				if !yield(b) {
					return
				}
			}
		}), nil
	}
	f.gets++
	id := nl.DeserializeXfrmUsersaId(octets(r))
	b := f.states[key{addr(id.Daddr, id.Family), nl.Swap32(id.Spi)}]
	if b == nil {
		return nil, unix.ESRCH
	}
	return [][]byte{b}, nil
}

// snapshot lists what stands in the kernel.
func (f *fakeKernel) snapshot() (list []string) {
	for k := range f.states {
		list = append(list, fmt.Sprintf("state %v %d", k.dst, k.spi))
	}
	for name := range f.policies {
		list = append(list, "policy "+name)
	}
	slices.Sort(list)
	return list
}

// received counts packets on a state.
func (f *fakeKernel) received(k key, packets uint64) {
	nl.DeserializeXfrmUsersaInfo(f.states[k]).Curlft.Packets += packets
}

// fakeEvents is what the kernel tells of.
type fakeEvents struct {
	queue  chan any // error or syscall.NetlinkMessage
	closed chan struct{}
}

func newFakeEvents() *fakeEvents {
	return &fakeEvents{queue: make(chan any, 16), closed: make(chan struct{})}
}

func (f *fakeEvents) Receive() ([]syscall.NetlinkMessage, *unix.SockaddrNetlink, error) {
	select {
	case <-f.closed:
		return nil, nil, os.ErrClosed
	case v := <-f.queue:
		if err, ok := v.(error); ok {
			return nil, nil, err
		}
		return []syscall.NetlinkMessage{v.(syscall.NetlinkMessage)}, &unix.SockaddrNetlink{}, nil
	}
}

func (f *fakeEvents) Close() { close(f.closed) }

func (f *fakeEvents) tell(kind uint16, data []byte) {
	f.queue <- syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind}, Data: data}
}

// expiry is the kernel's word on the end of a state.
func (f *fakeKernel) expiry(k key, hard bool) []byte {
	e := &nl.XfrmUserExpire{XfrmUsersaInfo: *nl.DeserializeXfrmUsersaInfo(f.states[k])}
	if hard {
		e.Hard = 1
		delete(f.states, k)
	}
	return slices.Clone(e.Serialize())
}

// mapping is the kernel's word on where good packets of a state came from.
func mapping(k key, old, outer netip.AddrPort) []byte {
	b := slices.Clone(stateID(k).Serialize())
	b = append(b, nl.Uint32Attr(requestID)...)
	for _, a := range []netip.Addr{old.Addr(), outer.Addr()} {
		x := address(a)
		b = append(b, x[:]...)
	}
	for _, p := range []uint16{old.Port(), outer.Port()} {
		b = append(b, byte(p>>8), byte(p))
	}
	return b
}

var (
	ours  = netip.MustParseAddr("10.0.0.1")
	phone = netip.MustParseAddr("10.0.0.2")
)

// set is one between ours and phone.
func set(id ipsec.SetID, pair ipsec.Pair) *ipsec.Set {
	n := uint32(id) * 0x10000
	return &ipsec.Set{
		ID: id, Pair: pair, Owner: "impi",
		Local:  ipsec.End{Addr: ours, PortC: 5100 + uint16(id), PortS: 6100 + uint16(id), SPIC: n + 0x1001, SPIS: n + 0x1002},
		Remote: ipsec.End{Addr: phone, PortC: 40000 + uint16(id), PortS: 50000, SPIC: n + 0x2001, SPIS: n + 0x2002},
		CK:     ipsec.Key{1, 2, 3}, IK: ipsec.Key{4, 5, 6},
		Hard: time.Now().Add(10 * time.Minute),
	}
}

var sha1Null = ipsec.Pair{Alg: ipsec.HMACSHA1}

// started is a back end over f, with the protected ports of set 1 to 4.
func started(t *testing.T, f *fakeKernel, change func(*Config)) (*Backend, *fakeEvents) {
	t.Helper()
	c := Config{Addrs: []netip.Addr{ours}, Ports: []uint16{5101, 5102, 5103, 5104, 6101, 6102, 6103, 6104}}
	if change != nil {
		change(&c)
	}
	ev := newFakeEvents()
	b := newBackend(c, f, ev)
	// A real socket on an address of nobody's is not for a unit test.
	port := b.config.EncapPort
	b.config.EncapPort = 0
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	b.config.EncapPort = port
	t.Cleanup(func() { _ = b.Close() })
	return b, ev
}
