package xfrm

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"

	"github.com/gocscf/gocscf/ipsec"
)

// Backend protects by the kernel. It is an [ipsec.Backend].
type Backend struct {
	config  Config
	kernel  kernel
	events  events
	encap   []udpEncap
	drops   *os.File
	cleaned int
	now     func() time.Time
	// running are the goroutines; done ends those that no socket ends.
	running sync.WaitGroup
	done    chan struct{}

	mu     sync.Mutex
	closed bool
	sets   map[ipsec.SetID]*installed
	// states says whose each state in the kernel is.
	states map[key]ipsec.SetID
	// waiting counts sets whose outgoing associations wait for those of another;
	// looking is whether somebody looks after them.
	waiting int
	looking bool
	// begun is whether what stands at our ports is ours: until then it may be that of
	// an instance that lives.
	begun bool
	// here are the addresses of the host.
	here []netip.Addr
}

// installed is a set that the kernel has.
type installed struct {
	set   *ipsec.Set
	outer netip.AddrPort // where ESP in UDP goes to; invalid without UDP
	// from is where a tunnel came from when the set was installed. The kernel takes
	// packets from elsewhere too, and its inbound states cannot be moved.
	from  netip.Addr
	added time.Time
	hard  time.Time
	// waits is set while another set's associations have the SPIs that this one
	// sends to; see takeOver.
	waits bool
	again time.Time // not before; see takeOver
	// told are the expiry events passed on: soft, hard.
	told [2]bool
	// seen is what Stats has found last, of each association.
	seen [4]sighting
}

var _ ipsec.Backend = (*Backend)(nil)

// New readies the kernel: what an earlier run of this instance has left goes, a test
// association shows that all is there that will be needed, and what is in clear at
// the protected ports is blocked. An instance that lives is known by the port for ESP
// in UDP, which New cannot bind then: it keeps what it has. The sockets belong to the
// network namespace of the calling thread.
func New(c Config) (*Backend, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	k, err := openSocket()
	if err != nil {
		return nil, socketFault(err)
	}
	ev, err := openEvents()
	if err != nil {
		k.close()
		return nil, socketFault(err)
	}
	b := newBackend(c, k, ev)
	b.here = addresses()
	if err := b.start(); err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

func newBackend(c Config, k kernel, ev events) *Backend {
	return &Backend{
		config: c, kernel: k, events: ev, now: time.Now, done: make(chan struct{}),
		sets: make(map[ipsec.SetID]*installed), states: make(map[key]ipsec.SetID),
	}
}

// addresses are those of the calling thread's network namespace.
func addresses() (list []netip.Addr) {
	all, _ := net.InterfaceAddrs() // without them a set that cannot work is not refused
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p.Addr())
		}
	}
	return list
}

func (b *Backend) start() error {
	if err := b.openEncap(); err != nil {
		return err
	}
	b.begun = true
	var err error
	if b.cleaned, err = b.sweep(); err != nil {
		return fault("remove the IPsec states that an earlier run has left", err)
	}
	if err := b.config.probe(b.kernel); err != nil {
		return err
	}
	for _, a := range b.config.Addrs {
		for _, port := range b.config.Ports {
			at := netip.AddrPortFrom(a, port)
			for _, in := range []bool{true, false} {
				if err := b.kernel.do(block(at, in)); err != nil {
					return policyFault(fmt.Sprintf("block what is in clear at %v", at), err)
				}
			}
		}
	}
	b.drops = openDrops()
	b.running.Add(1)
	go b.listen()
	return nil
}

// sweep removes everything of this instance from the kernel, and tells how many
// states and policies there were.
func (b *Backend) sweep() (int, error) {
	list, err := b.config.left(b.kernel)
	if err != nil {
		return 0, err
	}
	for _, r := range list {
		if e := b.kernel.do(r); e != nil && !gone(e) {
			err = errors.Join(err, e)
		}
	}
	return len(list), err
}

// Name is "kernel".
func (*Backend) Name() string { return "kernel" }

// Cleaned is how many states and policies of an earlier run New has removed.
func (b *Backend) Cleaned() int { return b.cleaned }

// Install puts the four associations of a set in, and their policies, or nothing.
func (b *Backend) Install(s *ipsec.Set) error {
	if err := s.Check(); err != nil {
		return err
	}
	doing := fmt.Sprintf("give %v to the kernel", s)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	switch {
	case b.closed:
		return fmt.Errorf("%s: the back end is closed", doing)
	case b.sets[s.ID] != nil:
		return fmt.Errorf("%s: it is there", doing)
	case !s.Hard.IsZero() && !s.Hard.After(now):
		return fmt.Errorf("%s: it would have ended at %v", doing, s.Hard)
	case s.Remote.Addr.IsLoopback():
		return fmt.Errorf("%s: the kernel applies no IPsec to loopback: set ipsec.backend to user", doing)
	case slices.Contains(b.here, s.Remote.Addr):
		return fmt.Errorf("%s: %v is an address of this host, and the kernel applies no IPsec to what stays on it: set ipsec.backend to user, or take the phone to another host", doing, s.Remote.Addr)
	}
	in := &installed{set: s, outer: outerOf(s), from: s.Outer.Addr(), added: now, hard: s.Hard}
	if err := b.checkOuter(in); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	list := b.associations(in)
	for _, a := range list {
		other, taken := b.states[a.key()]
		switch {
		case a.in && taken:
			return fmt.Errorf("%s: our SPI %d is taken by set %d", doing, a.SPI, other)
		case a.in:
			continue
		case !taken:
			if w := b.awaited(a, s.Owner); w != nil {
				return b.clash(doing, a, w.set.ID)
			}
			continue
		case b.sets[other].set.Owner != s.Owner:
			return b.clash(doing, a, other)
		}
		in.waits = true
	}
	undo, err := b.add(in, list)
	if err != nil {
		for i := len(undo) - 1; i >= 0; i-- {
			if e := b.kernel.do(undo[i]); e != nil && !gone(e) {
				err = errors.Join(err, fmt.Errorf("and take back what was done: %w", e))
			}
		}
		return fmt.Errorf("%s: %w", doing, err)
	}
	b.sets[s.ID] = in
	for _, a := range list {
		if a.in || !in.waits {
			b.states[a.key()] = s.ID
		}
	}
	if in.waits {
		b.wait()
	}
	return nil
}

// clash is why a set is not put in whose phone has chosen an SPI that another one has at the
// same address: to take it over would cut the other off.
func (*Backend) clash(doing string, a association, other ipsec.SetID) error {
	return fmt.Errorf("%s: another phone at %v has chosen the SPI %d too, in set %d, and the kernel tells associations apart by address and SPI alone: this one has to try again with other SPIs, or set ipsec.backend to user",
		doing, a.dst, a.SPI, other)
}

// add tells the kernel of a set. What it returns takes back what has been done, or
// may have been, in the order of doing. The states are first: a policy without its state would make
// the kernel look for a key exchange.
func (b *Backend) add(in *installed, list []association) (undo []request, err error) {
	s := in.set
	life := limits(in.added, in.hard, true)
	for _, a := range list {
		if !a.in && in.waits {
			continue
		}
		err := b.kernel.do(stateAdd(nl.XFRM_MSG_NEWSA, a, s, life, 0))
		if err == nil || unknown(err) {
			undo = append(undo, stateDel(a.key()))
		}
		if err != nil {
			return undo, stateFault("add "+a.String(), s.Pair, a.dst.Is4(), err)
		}
	}
	for _, a := range list {
		p := protect(nl.XFRM_MSG_NEWPOLICY, a, in.added, in.hard)
		err := b.kernel.do(p)
		if err == nil || unknown(err) {
			undo = append(undo, policyDel(p))
		}
		if err != nil {
			return undo, policyFault("add the policy for "+a.String(), err)
		}
	}
	return undo, nil
}

func (a association) String() string { return fmt.Sprintf("SA %d %v > %v", a.SPI, a.Src, a.Dst) }

// Extend moves the end of an installed set; after an error it is where it was.
func (b *Backend) Extend(id ipsec.SetID, hard time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := b.sets[id]
	if in == nil {
		return fmt.Errorf("extend set %d: the kernel does not have it", id)
	}
	was := in.hard
	if err := b.update(in, hard); err != nil {
		_ = b.update(in, was)
		return fmt.Errorf("extend %v to %v: %w", in.set, hard, err)
	}
	in.told = [2]bool{}
	return nil
}

// update tells the kernel once more of a set, with another end or another place of
// the peer.
func (b *Backend) update(in *installed, hard time.Time) error {
	in.hard = hard
	now := b.now()
	for _, a := range b.associations(in) {
		if b.states[a.key()] == in.set.ID {
			life := limits(now.Add(-b.age(a.key(), in.added, now)), hard, true)
			if err := b.kernel.do(stateAdd(nl.XFRM_MSG_UPDSA, a, in.set, life, 0)); err != nil {
				return stateFault("update "+a.String(), in.set.Pair, a.dst.Is4(), err)
			}
		}
		if err := b.kernel.do(protect(nl.XFRM_MSG_UPDPOLICY, a, now, hard)); err != nil {
			return policyFault("update the policy for "+a.String(), err)
		}
	}
	return nil
}

// age is how old the kernel takes a state to be, by which it judges new limits a second
// after it is told of them. It counts by the wall clock: where somebody has set that
// ahead, a state is older than the time that has passed; one that is at its end by that
// count gets another end from the kernel, which is minutes too early. One that seems to be
// of the future is taken for new, and its end comes late: the P-CSCF itself ends sets in
// time. Of one that the kernel does not tell of it is the time that has passed.
func (b *Backend) age(k key, added, now time.Time) time.Duration {
	st, ok := b.standing(k)
	if !ok {
		return max(0, now.Sub(added))
	}
	return max(0, time.Duration(now.Unix()-int64(st.info.Curlft.AddTime))*time.Second)
}

// Remove takes a set out. After an error some of it is still in the kernel, and
// Remove may be called again.
func (b *Backend) Remove(id ipsec.SetID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.remove(id)
}

func (b *Backend) remove(id ipsec.SetID) error {
	in := b.sets[id]
	if in == nil {
		return nil
	}
	var err error
	for _, a := range b.associations(in) {
		if e := b.kernel.do(policyDel(protect(nl.XFRM_MSG_NEWPOLICY, a, in.added, in.hard))); e != nil && !gone(e) {
			err = errors.Join(err, fault("remove the policy for "+a.String(), e))
		}
		if b.states[a.key()] != id {
			continue
		}
		if e := b.kernel.do(stateDel(a.key())); e != nil && !gone(e) {
			err = errors.Join(err, fault("remove "+a.String(), e))
			continue
		}
		delete(b.states, a.key())
	}
	if err != nil {
		return fmt.Errorf("take %v from the kernel: %w", in.set, err)
	}
	delete(b.sets, id)
	if in.waits {
		b.waiting--
	}
	return nil
}

// Close takes everything of this instance out of the kernel: its sets, and then what
// blocks its ports.
func (b *Backend) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	var err error
	for id := range b.sets {
		err = errors.Join(err, b.remove(id))
	}
	var e error
	if b.begun { // whatever a failure has left behind goes with the blocks
		_, e = b.sweep()
	}
	b.mu.Unlock()
	close(b.done)
	b.events.Close()
	b.running.Wait()
	b.kernel.close()
	for _, u := range b.encap {
		u.Close()
	}
	if b.drops != nil {
		b.drops.Close()
	}
	if e != nil {
		err = errors.Join(err, fault("remove what protects the ports", e))
	}
	return err
}
