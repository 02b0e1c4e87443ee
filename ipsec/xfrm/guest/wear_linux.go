package guest

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/vishvananda/netlink"
)

// Wear is what befalls packets on their way, as shares of 1 (tc-netem(8)).
type Wear struct {
	Lost, Doubled float64
	Late          float64       // of those that come by Delay later, and so behind others
	Delay         time.Duration // of the late ones
}

// Wear has the loopback interface of the namespace treat all packets so; the zero Wear
// ends it. On the host it fails: that interface is others' too.
func (n *Net) Wear(w Wear) error {
	if os.Getenv("GOCSCF_GUEST") == "" {
		return fmt.Errorf("wear the loopback interface out: %w", os.ErrPermission)
	}
	return n.Do(func() error {
		l, err := netlink.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find the loopback interface: %w", err)
		}
		root := netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
		if w == (Wear{}) {
			err = netlink.QdiscDel(netlink.NewNetem(root, netlink.NetemQdiscAttrs{}))
		} else {
			a := netlink.NetemQdiscAttrs{Loss: float32(100 * w.Lost), Duplicate: float32(100 * w.Doubled), Limit: 1 << 16}
			if w.Late > 0 { // what is not reordered waits
				a.Latency, a.ReorderProb = uint32(w.Delay.Microseconds()), float32(100*(1-w.Late))
			}
			err = netlink.QdiscReplace(netlink.NewNetem(root, a))
		}
		if err != nil {
			return fmt.Errorf("set what befalls packets on lo to %+v: %w", w, err)
		}
		return nil
	})
}

// Worn tells how many packets the Wear of now has lost, and how many of those that are
// late are on their way.
func (n *Net) Worn() (lost, late uint32, err error) {
	err = n.Do(func() error {
		l, err := netlink.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find the loopback interface: %w", err)
		}
		list, err := netlink.QdiscList(l)
		if err != nil {
			return fmt.Errorf("ask what has befallen packets on lo: %w", err)
		}
		for _, q := range list {
			if s := q.Attrs().Statistics; q.Type() == "netem" && s != nil && s.Queue != nil {
				lost, late = s.Queue.Drops, s.Queue.Qlen
				return nil
			}
		}
		return errors.New("nothing befalls packets on lo: Wear comes first")
	})
	return lost, late, err
}
