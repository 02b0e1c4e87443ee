package guest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Net is a network namespace of its own, with lo up. It lives as long as the test.
type Net struct {
	Name string
	ns   *os.File
}

// NewNet makes one.
func NewNet(t testing.TB, name string) *Net {
	t.Helper()
	n := &Net{Name: name}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		var err error
		n.ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatalf("make the network namespace %s: %v", name, err)
	}
	t.Cleanup(func() { n.ns.Close() })
	n.must(t, "bring lo up", func() error { return up("lo") })
	// Addresses are there at once, and nobody waits for a duplicate.
	n.Sysctl(t, "net/ipv6/conf/default/accept_dad", "0")
	n.Sysctl(t, "net/ipv6/conf/all/accept_dad", "0")
	return n
}

// Host is the namespace that the process began in.
func Host(t testing.TB) *Net {
	t.Helper()
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return &Net{Name: "host", ns: ns}
}

// onThread runs f on a thread that ends with it, whatever f does to the thread.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// Do runs f on a thread in the namespace. Sockets that f opens stay there; goroutines
// that it starts do not run there.
func (n *Net) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace %s: %w", n.Name, err)
		}
		return f()
	})
}

func (n *Net) must(t testing.TB, doing string, f func() error) {
	t.Helper()
	if err := n.Do(f); err != nil {
		t.Fatalf("%s: %s: %v", n.Name, doing, err)
	}
}

// Sysctl sets a value, its name with slashes.
func (n *Net) Sysctl(t testing.TB, name, value string) {
	t.Helper()
	n.must(t, "set "+name, func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0) })
}

// Start starts a command in the namespace.
func (n *Net) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// Run runs a command in the namespace, with what it reads from standard input.
func (n *Net) Run(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	n.must(t, cmd.String(), func() error {
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// Wire joins two namespaces, each with an interface and its addresses, for as long as
// the test runs.
func Wire(t testing.TB, name string, a *Net, atA []netip.Prefix, b *Net, atB []netip.Prefix) {
	t.Helper()
	ends := [2]string{name + "-a", name + "-b"}
	a.must(t, "make the wire "+name, func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: ends[0], TxQLen: 1000, MTU: 1500},
			PeerName:  ends[1], PeerNamespace: netlink.NsFd(int(b.ns.Fd())),
		})
	})
	t.Cleanup(func() {
		a.must(t, "take the wire "+name+" away", func() error {
			l, err := netlink.LinkByName(ends[0])
			if err != nil {
				return err
			}
			return netlink.LinkDel(l)
		})
	})
	for i, n := range [2]*Net{a, b} {
		n.must(t, "configure "+ends[i], func() error {
			l, err := netlink.LinkByName(ends[i])
			if err != nil {
				return err
			}
			for _, p := range [2][]netip.Prefix{atA, atB}[i] {
				addr := &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NODAD}
				if p.Addr().Is4() {
					addr.Flags = 0
				}
				if err := netlink.AddrAdd(l, addr); err != nil {
					return fmt.Errorf("add %v: %w", p, err)
				}
			}
			return netlink.LinkSetUp(l)
		})
	}
}

// Route sends what goes to a prefix by way of a gateway.
func (n *Net) Route(t testing.TB, to netip.Prefix, via netip.Addr) {
	t.Helper()
	n.must(t, fmt.Sprintf("route %v via %v", to, via), func() error {
		return netlink.RouteAdd(&netlink.Route{Dst: ipNet(to), Gw: net.IP(via.AsSlice())})
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Standing counts the IPsec states and policies in the namespace.
func (n *Net) Standing(t testing.TB) (states, policies int) {
	t.Helper()
	n.must(t, "list the IPsec states", func() error {
		s, err := netlink.XfrmStateList(netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		p, err := netlink.XfrmPolicyList(netlink.FAMILY_ALL)
		states, policies = len(s), len(p)
		return err
	})
	return states, policies
}
