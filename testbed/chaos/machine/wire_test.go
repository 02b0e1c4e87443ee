//go:build integration

package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
	"github.com/gocscf/gocscf/testbed/chaos"
)

// felt is how long a fault may take to befall a packet, beyond the time that it stays.
const felt = 30 * time.Second

// Packets between all of them are lost, come twice, or late and behind others: those of
// phones, of the functions among each other, and of their connections to the HSS. No
// attempt fails, no phone and no call is lost.
func TestFaultsOfTheWire(t *testing.T) {
	strike(t, func() (chaos.Config, []chaos.Fault) {
		return chaos.Config{Dir: t.TempDir(), Hold: 8 * time.Second}, ofTheWire(guest.Host(t))
	})
}

// ofTheWire are faults of the network that all of them share. Each has come when a packet
// was seen that it has befallen.
func ofTheWire(n *guest.Net) []chaos.Fault {
	var before int64 // surplus, when the fault came
	fault := func(name, what string, w guest.Wear, seen func() (bool, error)) chaos.Fault {
		return chaos.Own(name, what, nil,
			func(context.Context) (err error) {
				if before, err = surplus(); err != nil {
					return err
				}
				return n.Wear(w)
			},
			func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, felt)
				defer cancel()
				for {
					ok, err := seen()
					if ctx.Err() != nil && err == nil {
						err = errors.New("no packet was seen that it has befallen")
					}
					if ok || err != nil {
						return errors.Join(err, n.Wear(guest.Wear{}))
					}
					time.Sleep(5 * time.Millisecond)
				}
			})
	}
	return []chaos.Fault{
		fault("loses", "5 % of all packets are lost", guest.Wear{Lost: 0.05}, func() (bool, error) {
			lost, _, err := n.Worn()
			return lost > 5, err
		}),
		fault("doubles", "20 % of all packets come twice", guest.Wear{Doubled: 0.2}, func() (bool, error) {
			now, err := surplus()
			return now > before+5, err
		}),
		fault("reorders", "20 % of all packets are 200 ms late", guest.Wear{Late: 0.2, Delay: 200 * time.Millisecond}, func() (bool, error) {
			_, late, err := n.Worn()
			return late > 0, err
		}),
	}
}

// surplus is by how much more packets have come than have left: on a machine that is
// alone, those that came twice (/proc/net/snmp).
func surplus() (int64, error) {
	b, err := os.ReadFile("/proc/net/snmp")
	if err != nil {
		return 0, err
	}
	values := map[string]int64{}
	var names []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || f[0] != "Ip:":
		case names == nil:
			names = f
		default:
			for i := 1; i < min(len(f), len(names)); i++ {
				var v int64
				if _, err := fmt.Sscan(f[i], &v); err != nil {
					return 0, fmt.Errorf("%s in /proc/net/snmp: %w", names[i], err)
				}
				values[names[i]] = v
			}
		}
	}
	in, okIn := values["InReceives"]
	out, okOut := values["OutRequests"]
	if !okIn || !okOut {
		return 0, errors.New("/proc/net/snmp tells no packets")
	}
	return in - out, nil
}
