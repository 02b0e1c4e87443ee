//go:build integration

package machine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/lab"
	"github.com/gocscf/gocscf/testbed/ue"
)

// Random numbers that protect nothing.
const key, opc = "465b5ce8b199b49faa5f0a2ee238a6bc", "e8ed289deba952e4283b54e88e6183ca"

// patience bounds each step: the guest is emulated, and slow.
const patience = 30 * time.Second

func subscriber(i int) hss.Subscriber {
	return hss.Subscriber{IMPI: fmt.Sprintf("0010100000%05d@%s", i, lab.DefaultDomain), IMPUs: []string{impu(i)}, K: key, OPc: opc}
}

func impu(i int) string { return fmt.Sprintf("sip:user%d@%s", i, lab.DefaultDomain) }

func start(t *testing.T, state string) *lab.Core {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := lab.StartCore(ctx, lab.CoreConfig{
		Domain: lab.DefaultDomain, Subscribers: []hss.Subscriber{subscriber(0), subscriber(1)}, State: state,
		Adjust: func(conf *lab.Configs) { conf.S.Expires.Min = node.Duration(time.Second) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

func phone(t *testing.T, c *lab.Core, i int, expires uint32) *ue.Phone {
	t.Helper()
	k, err1 := aka.ParseSecret(key)
	o, err2 := aka.ParseSecret(opc)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	p, err := ue.New(ue.Config{
		Name: fmt.Sprintf("user%d", i), Local: lab.Loopback, Domain: lab.DefaultDomain, IMPI: subscriber(i).IMPI, IMPU: impu(i), K: k, OPc: o,
		PCSCF: c.P.Gm(), SecAgree: true, Expires: expires, NoSubscribe: true, NoRefresh: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func register(t *testing.T, p *ue.Phone) (time.Time, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	g, err := p.Register(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return g.Until, nil
}

// sum adds up what a service tells of a metric.
func sum(t *testing.T, c *lab.Core, service, metric string) (total float64) {
	t.Helper()
	all, err := c.Metrics(service).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() != metric {
			continue
		}
		for _, m := range f.GetMetric() {
			total += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return total
}

// A registration lasts as long as it was granted, whatever the clock shows meanwhile; one
// that the clock has passed by an hour does not end, and one that it has left an hour
// behind does.
func TestRegistrationsEndInTheirOwnTime(t *testing.T) {
	c := start(t, "")
	long, short := phone(t, c, 0, 3600), phone(t, c, 1, 6)
	// held are the registrations that S-CSCF and P-CSCF know.
	held := func() [2]float64 {
		return [2]float64{sum(t, c, lab.NameS, "gocscf_scscf_registered_sets"), sum(t, c, lab.NameP, "gocscf_pcscf_registered_contacts")}
	}
	if _, err := register(t, long); err != nil {
		t.Fatal(err)
	}
	for _, by := range []time.Duration{25 * time.Hour, -26 * time.Hour} {
		until, err := register(t, short)
		if err != nil {
			t.Fatal(err)
		}
		guest.SetClock(t, by)
		time.Sleep(500 * time.Millisecond)
		if got := held(); got[0] != 2 || got[1] != 2 {
			t.Errorf("the clock was set by %v: the S-CSCF and the P-CSCF know %v registrations, want 2", by, got)
		}
		time.Sleep(time.Until(until.Add(time.Second)))
		if got := held()[0]; got != 1 {
			t.Errorf("the clock was set by %v, and a registration has run out: the S-CSCF knows %v, want 1", by, got)
		}
	}
	if _, err := register(t, long); err != nil {
		t.Errorf("registering again: %v", err)
	}
}

// The disk with the HSS's state is full. Who needs a sequence number that is not reserved
// is refused, and that is counted; when there is room again it works as before.
func TestSequenceNumbersOnAFullDisk(t *testing.T) {
	dir := disk(t, "1m")
	c := start(t, filepath.Join(dir, "sqn.json"))
	old, fresh := phone(t, c, 0, 600), phone(t, c, 2, 600)
	if err := fill(dir); err != nil {
		t.Fatal(err)
	}
	if err := c.HSS.Put(subscriber(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := register(t, old); err != nil {
		t.Errorf("a phone whose sequence numbers are reserved: %v", err)
	}
	if _, err := register(t, fresh); err == nil {
		t.Error("a phone is challenged with a sequence number that is not kept")
	} else {
		t.Logf("a phone without reserved sequence numbers: %v", err)
	}
	if n := sum(t, c, lab.NameHSS, "gocscf_hss_state_failures_total"); n == 0 {
		t.Error("the HSS does not count that it could not write its state")
	}
	if err := free(dir); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*ue.Phone{fresh, old} {
		if _, err := register(t, p); err != nil {
			t.Errorf("there is room again: %v", err)
		}
	}
}
