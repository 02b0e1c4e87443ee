//go:build integration

package lab

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/testbed/load"
)

var (
	subscribers = flag.Int("subscribers", 2000, "how many subscribers TestMemory registers")
	settled     = flag.Duration("settled", 0, "how long TestMemory waits behind the last registration: 60s for what is in docs/performance/memory.md")
)

// TestMemory registers many subscribers, each with a private identity and two public
// ones of his own, in clear and over SA sets, and measures what the three services take
// for each: the difference of their proportional set sizes between few and all of them.
// Nothing makes the services collect but themselves. Where the network's name is short,
// protected REGISTERs fit datagrams; with a longer one some go over TCP, and the phones
// have left when it is measured. What it prints is in docs/performance/memory.md:
//
//	make memory SUBSCRIBERS=50000
func TestMemory(t *testing.T) {
	dir := binaries(t)
	for _, way := range []struct {
		name   string
		clear  bool
		domain string
		limit  float64 // KiB each, when it has settled
	}{{"clear", true, "ims.test", 5}, {"datagrams", false, "a.net", 9}, {"connections", false, "ims.test", 40}} {
		t.Run(way.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			t.Cleanup(cancel)
			p := &population{t: t, ctx: ctx, domain: way.domain, size: *subscribers, clear: way.clear, byIMSI: true, running: map[string]*exec.Cmd{}, http: map[string]string{}}
			p.start(dir)
			few := *subscribers / 50
			p.loadAll(0, few)
			small := p.services()
			p.loadAll(few, *subscribers)
			large := p.services()
			sum := 0.0
			each := large.each(small, *subscribers-few)
			for _, l := range each {
				sum += l.kib
			}
			t.Logf("from %d to %d subscribers, for each %.2f KiB:\n%v", few, *subscribers, sum, each)
			if *settled < time.Minute { // most of it is garbage: a heap of 32 MiB is collected by nobody
				way.limit += 3 * 32 << 10 / float64(*subscribers-few)
			}
			if sum > way.limit {
				t.Errorf("a subscriber takes %.1f KiB, want less than %.1f", sum, way.limit)
			}
			if *settled > 0 {
				// Transactions towards phones end 128 s behind them (TS 24.229 7.7).
				<-time.After(128 * time.Second)
				before, began := p.cpu(), time.Now()
				<-time.After(30 * time.Second)
				t.Logf("at rest, of a processor: %.2f %%", 100*(p.cpu()-before).Seconds()/time.Since(began).Seconds())
			}
		})
	}
}

// loadAll registers the subscribers with these numbers, and waits.
func (p *population) loadAll(from, to int) {
	t := p.t
	t.Helper()
	k, errK := aka.ParseSecret(aliceK)
	opc, errOPc := aka.ParseSecret(aliceOPc)
	if errK != nil || errOPc != nil {
		t.Fatal(errK, errOPc)
	}
	cfg := load.Config{
		PCSCF: []netip.AddrPort{p.pcscf}, Domain: p.domain, Phones: to - from, First: 1010000000000 + uint64(from), K: k, OPc: opc,
		// Each has an address of its own; those of two calls are far apart.
		Address:    netip.AddrFrom4([4]byte{127, byte(16 + from%2 + 32*min(from, 1)), 0, 1}),
		Registered: to - from, RegisterBusy: registering,
	}
	if !p.clear {
		cfg.ESP = p.esp
	}
	r, err := load.Run(p.ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if r.PreRegistration.Failed > 0 {
		t.Errorf("%d of %d registrations failed: %v", r.PreRegistration.Failed, r.PreRegistration.Attempts, r.PreRegistration.Causes)
	}
	t.Logf("%d subscribers registered in %.0f s", to-from, r.Seconds)
	if *settled > 0 {
		<-time.After(*settled)
	}
}

var functions = []string{NameP, NameI, NameS}

// services measures what P-, I- and S-CSCF take, as they are.
func (p *population) services() loads {
	l := loads{}
	for _, name := range functions {
		l[name] = footprint{kib: p.pss(p.running[name].Process.Pid), goroutines: float64(p.metric(name, "go_goroutines"))}
	}
	return l
}

// cpu is the processor time of the three (/proc/PID/stat, in steps of 10 ms).
func (p *population) cpu() (sum time.Duration) {
	p.t.Helper()
	for _, name := range functions {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.running[name].Process.Pid))
		if err != nil {
			p.t.Fatal(err)
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		for _, f := range fields[11:13] { // utime and stime
			ticks, err := strconv.Atoi(f)
			if err != nil {
				p.t.Fatal(err)
			}
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum
}
