//go:build integration

package kerneltest

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/xfrm"
	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// Every pair of algorithms, over UDP and TCP, IPv4 and IPv6: the kernel with itself,
// and the kernel with user space.
func TestEveryPairProtects(t *testing.T) {
	conformance.Shows(t, "IP-01", "IP-02", "IP-17")
	coreNet, phoneNet := wire(t)
	core := byKernel(t, coreNet, xfrm.Config{Addrs: []netip.Addr{core4, core6}, Ports: ports(2 * len(ipsec.Pairs))})
	for name, phone := range map[string]end{
		"kernel": byKernel(t, phoneNet, xfrm.Config{Addrs: []netip.Addr{phone4, phone6}}),
		"user":   byUser(t, phoneNet, phone4, phone6),
	} {
		everyPair(t, coreNet, name, core, phone)
	}
	if d, err := core.Drops(); err != nil || d != (xfrm.Drops{}) {
		t.Errorf("the kernel has dropped %+v, %v", d, err)
	}
}

func everyPair(t *testing.T, n *guest.Net, name string, core, phone end) {
	for i, pair := range ipsec.Pairs {
		for j, v6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v/%s", name, pair, map[bool]string{false: "IPv4", true: "IPv6"}[v6]), func(t *testing.T) {
				wires := n.Sniff(t)
				s := set(2*i+j, pair, v6)
				install(t, core, phone, s)
				datagrams(t, core, phone, s)
				before, _ := core.Stats(s.ID)
				streams(t, core, phone, s)
				packets := wires.Stop()
				ours, ok1 := core.Stats(s.ID)
				theirs, ok2 := phone.Stats(s.ID)
				if !ok1 || !ok2 {
					t.Fatal("a side does not know the set")
				}
				for k := range ours.In {
					if ours.In[k].Packets <= before.In[k].Packets || before.In[k].Packets < 6 || ours.Out[k].Packets <= before.Out[k].Packets || before.Out[k].Packets < 6 {
						t.Errorf("association %d: in %+v, out %+v", k, ours.In[k], ours.Out[k])
					}
					// What ends at our server port begins at the phone's client port.
					if their := theirs.Out[1-k]; their.Packets != ours.In[k].Packets {
						t.Errorf("association %d: the phone has sent %d packets, %d have come in", k, their.Packets, ours.In[k].Packets)
					}
					if ours.In[k].Dropped() != 0 || theirs.In[k].Dropped() != 0 {
						t.Errorf("association %d: dropped %+v, %+v", k, ours.In[k], theirs.In[k])
					}
					if ours.In[k].Last.IsZero() || ours.Out[k].Last.IsZero() {
						t.Errorf("association %d: no time of the last packet", k)
					}
				}
				if clear, protected := inClear(packets); clear != 0 || protected == 0 {
					t.Errorf("on the wire there are %d packets in clear, %d protected", clear, protected)
				}
			})
		}
	}
}
