package pcscf

import (
	"errors"
	"fmt"
	"net/netip"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
)

// userStack makes the back end in user space. It needs no privilege for ESP in UDP;
// for ESP right in IP, which phones without a NAT send, it needs CAP_NET_RAW.
func (c *security) userStack(why string) (*stack, error) {
	udp, err := esp.ListenUDP(c.cfg.espAddr(c.s.cfg.Listen.Gm))
	if err != nil {
		return nil, fmt.Errorf("opening ESP in UDP (ipsec.udp): %w", err)
	}
	carriers := []esp.Carrier{udp}
	raw, err := esp.ListenRaw(c.s.cfg.Listen.Gm.Addr().Unmap())
	if err == nil {
		carriers = append(carriers, raw)
	} else {
		c.s.deps.Log.Info("phones reach it by ESP in UDP alone; for ESP in IP, which real phones send, it needs CAP_NET_RAW", zap.Error(err))
	}
	k, err := netstack.New(netstack.Config{Carriers: carriers, Observer: espObserver{c}})
	if err != nil {
		for _, carrier := range carriers {
			err = errors.Join(err, carrier.Close())
		}
		return nil, fmt.Errorf("starting IPsec in user space: %w", err)
	}
	k.AddAddr(c.s.cfg.Listen.Gm.Addr().Unmap())
	return &stack{
		Protection: Protection{k, k}, why: why, udp: udp.Local(), watched: true,
		outer: func(id ipsec.SetID) (at netip.AddrPort) {
			if path, ok := k.Path(id); ok && path.Carrier.Kind() == esp.UDP {
				at = path.Outer
			}
			return at
		},
		strangers: func(from netip.Addr) (uint64, uint32) {
			u := k.UnknownSPI(from)
			return u.Packets, u.SPI
		},
	}, nil
}

// espObserver is told what happens to packets in user space.
type espObserver struct{ c *security }

func (o espObserver) FirstPacket(s *ipsec.Set, by esp.Path) {
	if o.c.s.deps.Trace.On() {
		o.c.trace(s, "First ESP packet of "+s.String()+", over "+by.Carrier.Kind().String()+" from "+by.Outer.String()+".")
	}
}

func (o espObserver) PathChanged(s *ipsec.Set, from, to esp.Path) {
	if o.c.s.deps.Trace.On() {
		o.c.trace(s, "ESP of "+s.String()+" comes from "+to.Outer.String()+" now, before from "+from.Outer.String()+".")
	}
}

func (o espObserver) Dropped(d esp.Drop) {
	o.c.metric.esp[d.Reason].Inc()
	if d.Reason == esp.NotESP {
		return
	}
	o.c.s.verdicts.Limited().Warn(o.c.s.deps.Log, "esp_"+d.Reason.String(), "esp packet dropped: "+d.Reason.String(),
		zap.Stringer("peer", d.Outer), zap.Uint32("spi", d.SPI), zap.String("impi", owner(d.Set)), zap.Error(d.Err))
}

func owner(s *ipsec.Set) string {
	if s == nil {
		return ""
	}
	return s.Owner
}

func (o espObserver) Expired(s *ipsec.Set) { o.c.lost(s.ID) }

var _ esp.Observer = espObserver{}
