//go:build integration

package lab

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/esp"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
	"github.com/gocscf/gocscf/testbed/load"
	"github.com/gocscf/gocscf/testbed/ue"
)

var (
	phoneCount = flag.Int("phones", 500, "how many phones TestPopulation registers")
	rest       = flag.Duration("rest", 0, "how long TestPopulation rests before it measures: 260s lets transactions towards phones end (128 s, TS 24.229 7.7) and two collections run")
)

const (
	registering = 12 // phones that register at once
	talkers     = 40 // phones that call, send messages and register again
)

// TestPopulation has a P-CSCF protect many phones at once. HSS, I-, S- and P-CSCF
// are processes; the phones are in this one, on one stack in user space, each with
// an address of its own. What it prints is in docs/performance/ipsec.md:
//
//	go test -tags integration -run TestPopulation -v ./testbed/lab -phones 10000 -rest 260s
func TestPopulation(t *testing.T) {
	dir := binaries(t)
	for _, way := range []struct{ name, domain string }{
		// Whose name is long makes a protected REGISTER that fits no datagram (RFC 3261
		// 18.1.1). The connection stays as long as the SAs do.
		{"datagrams", "ims.test"},
		{"connections", DefaultDomain},
	} {
		t.Run(way.name, func(t *testing.T) {
			p := newPopulation(t, dir, way.domain, *phoneCount)
			p.run()
		})
	}
}

func (p *population) run() {
	t, n := p.t, p.size
	few := n / 10
	p.measure("nobody is registered")
	p.register(0, few)
	p.rest()
	small := p.measure(fmt.Sprintf("%d phones are registered", few))
	p.register(few, n)
	p.rest()
	large := p.measure(fmt.Sprintf("%d phones are registered", n))
	each := large.each(small, n-few)
	t.Logf("from %d to %d, for each phone:\n%v", few, n, each)
	p.talk()
	p.complete()
	// Nothing was dropped, refused or sent in clear so far.
	if sent, good := p.metric("pcscf", registers), p.metric("pcscf", registers, `"200"`, `"401"`); sent != good || sent != 2*n {
		t.Errorf("%d REGISTERs were answered, %d of them with 200 or 401: want 2 for each of %d phones", sent, good, n)
	}
	for _, name := range []string{"gocscf_pcscf_sec_agree_failures_total", "gocscf_pcscf_esp_drops_total", "gocscf_pcscf_clear_messages_total"} {
		if got := p.metric("pcscf", name); got != 0 {
			t.Errorf("%s is %d", name, got)
		}
	}
	p.registerAgain()
	p.complete()
	p.measure("phones have called, sent messages and registered again")

	// Bounds that only a leak or a forgotten buffer passes.
	for name, limit := range map[string]footprint{self: {kib: 256, goroutines: 8}, "pcscf": {kib: 128, goroutines: 2}, "scscf": {kib: 64, goroutines: 0.1}} {
		if got := each[name]; got.kib > limit.kib || got.goroutines > limit.goroutines {
			t.Errorf("a phone takes %v of %s, want less than %v", got, name, limit)
		}
	}
}

const registers = "gocscf_pcscf_registers_total"

// complete checks that each phone has its SA set at the P-CSCF, and knows of it.
func (p *population) complete() {
	t := p.t
	t.Helper()
	const sets = "gocscf_pcscf_sa_sets"
	if got := p.metric("pcscf", sets, `"in use"`, `"unused"`); got != p.size {
		t.Errorf("the P-CSCF has %d established SA sets for %d phones", got, p.size)
	}
	if got := p.metric("pcscf", sets, `"temporary"`, `"leaving"`); got != 0 {
		t.Errorf("%d SA sets wait for a phone", got)
	}
	for i, ph := range p.phones {
		if r := ph.Registration(); r == nil || r.Protection == nil {
			t.Fatalf("phone %d is not registered over SAs any more", i)
		}
	}
}

// self is this process, with the phones.
const self = "phones"

// population is a core of processes with phones.
type population struct {
	t       *testing.T
	ctx     context.Context
	domain  string
	size    int  // how many phones there will be
	clear   bool // they have no IPsec
	byIMSI  bool // their public identities are made of their IMSIs
	running map[string]*exec.Cmd
	http    map[string]string // where a service tells its metrics
	pcscf   netip.AddrPort
	esp     netip.AddrPort
	leg     *load.ClearLeg
	stack   *netstack.Stack
	phones  []*ue.Phone
}

func newPopulation(t *testing.T, dir, domain string, size int) *population {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	t.Cleanup(cancel) // after the processes have ended
	p := &population{t: t, ctx: ctx, domain: domain, size: size, running: map[string]*exec.Cmd{}, http: map[string]string{}}
	p.start(dir)

	var err error
	if p.leg, err = load.NewClearLeg(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.leg.Close() })
	carrier, err := esp.ListenUDP(netip.AddrPortFrom(Loopback, 0))
	if err != nil {
		t.Fatal(err)
	}
	if p.stack, err = netstack.New(netstack.Config{Carriers: []esp.Carrier{carrier}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.stack.Close() })
	t.Cleanup(func() {
		for _, ph := range p.phones {
			ph.Close()
		}
	})
	return p
}

// start starts the four services with all subscribers.
func (p *population) start(dir string) {
	t := p.t
	t.Helper()
	conf := filepath.Join(t.TempDir(), "conf")
	var at [5]netip.AddrPort
	for i := range at {
		var err error
		if at[i], err = freePort(Loopback, at[:i]); err != nil {
			t.Fatal(err)
		}
	}
	p.pcscf, p.esp = at[0], at[4]
	write := WriteConfig{Dir: conf, Domain: p.domain, PCSCF: at[0].String(), ICSCF: at[1].String(), SCSCF: at[2].String(), HSS: at[3].String(), IPsec: "required"}
	if p.clear {
		write.IPsec = "none"
	}
	if _, err := write.Write(); err != nil {
		t.Fatal(err)
	}
	if !p.clear {
		p.rewrite(filepath.Join(conf, "pcscf.yaml"), "ipsec: {policy: required}",
			fmt.Sprintf("ipsec: {policy: required, backend: user, offer: chosen, udp: %q}", p.esp))
	}
	for _, name := range services {
		p.rewrite(filepath.Join(conf, name+".yaml"), "level: info", "level: warn")
	}
	var subs bytes.Buffer
	subs.WriteString("subscribers:\n")
	for i := range p.size {
		fmt.Fprintf(&subs, "  - {impi: %s, impus: [%q, %q], k: %q, opc: %q}\n", p.impi(i), p.impu(i), p.tel(i), aliceK, aliceOPc)
	}
	if err := os.WriteFile(filepath.Join(conf, "subscribers.yaml"), subs.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := chownAll(conf, nobody); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Dir(conf), nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	open(t, conf)
	for _, name := range services {
		binary, args := name, []string{"--config", filepath.Join(conf, name+".yaml"), "--pid-file", filepath.Join(conf, name+".pid")}
		if name == "hss" {
			binary, args = "testbed", append([]string{"hss"}, args...)
		}
		cmd := unprivileged(p.ctx, dir, binary, args...)
		out := &tail{}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p.running[name] = cmd
		t.Cleanup(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("%s has ended with: %v", name, err)
			}
			if t.Failed() {
				t.Logf("%s has warned:\n%s", name, out)
			}
		})
	}
	for _, name := range services {
		if err := waitFile(p.ctx, filepath.Join(conf, name+".pid")); err != nil {
			t.Fatalf("%s is not ready: %v", name, err)
		}
		b, err := os.ReadFile(filepath.Join(conf, name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "\nhttp: \"")
		p.http[name], _, _ = strings.Cut(rest, `"`)
	}
}

var services = []string{"hss", "icscf", "scscf", "pcscf"}

// tail keeps the beginning of what a process says.
type tail struct{ bytes.Buffer }

func (w *tail) Write(b []byte) (int, error) {
	if w.Len() < 4<<10 {
		w.Buffer.Write(b)
	}
	return len(b), nil
}

func (p *population) rewrite(path, old, text string) {
	p.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(b, []byte(old)) {
		p.t.Fatalf("%s has no %q (%v)", path, old, err)
	}
	if err := os.WriteFile(path, bytes.Replace(b, []byte(old), []byte(text), 1), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *population) impi(i int) string { return fmt.Sprintf("00101%010d@%s", i, p.domain) }
func (p *population) impu(i int) string {
	if p.byIMSI {
		return "sip:" + p.impi(i)
	}
	return fmt.Sprintf("sip:u%05d@%s", i, p.domain)
}

func (p *population) tel(i int) string { return fmt.Sprintf("tel:+1555%07d", i) }

// phone switches the phone with that number on.
func (p *population) phone(i int) (*ue.Phone, error) {
	k, errK := aka.ParseSecret(aliceK)
	opc, errOPc := aka.ParseSecret(aliceOPc)
	if errK != nil || errOPc != nil {
		return nil, fmt.Errorf("keys: %v, %v", errK, errOPc)
	}
	return ue.New(ue.Config{
		Net: p.leg, Port: p.leg.Port(), Local: netip.AddrFrom4([4]byte{127, byte(16 + i/62500), byte(i / 250 % 250), byte(1 + i%250)}),
		PCSCF: p.pcscf, Domain: p.domain, IMPI: p.impi(i), IMPU: p.impu(i), K: k, OPc: opc, Transport: sip.UDP,
		// One pair, so that the first REGISTER fits a datagram; each pair in turn.
		IPsec: "user", Stack: p.stack, ESPUDP: p.esp, Offer: []ipsec.Pair{ipsec.Pairs[i%len(ipsec.Pairs)]},
	})
}

// register switches phones on and registers them, a few at a time.
func (p *population) register(from, to int) {
	p.t.Helper()
	began := time.Now()
	for len(p.phones) < to {
		ph, err := p.phone(len(p.phones))
		if err != nil {
			p.t.Fatal(err)
		}
		p.phones = append(p.phones, ph)
	}
	p.each(from, to, func(ph *ue.Phone) error {
		r, err := ph.Register(p.ctx)
		if err == nil && r.Protection == nil {
			err = fmt.Errorf("%s is registered in clear", ph.Name())
		}
		return err
	})
	took := time.Since(began)
	p.t.Logf("%d phones registered in %.1f s", to-from, took.Seconds())
}

// each does something with phones, a few at a time.
func (p *population) each(from, to int, do func(*ue.Phone) error) {
	p.t.Helper()
	var wg sync.WaitGroup
	failed := make(chan error, 1)
	next := make(chan *ue.Phone)
	for range registering {
		wg.Go(func() {
			for ph := range next {
				if err := do(ph); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}
		})
	}
	var err error
	for _, ph := range p.phones[from:to] {
		select {
		case next <- ph:
			continue
		case err = <-failed:
		}
		break
	}
	close(next)
	wg.Wait()
	close(failed)
	if err == nil {
		err = <-failed
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// sampled returns where phones begin that stand for all, in pairs.
func (p *population) sampled() (at []int) {
	for i := range talkers {
		at = append(at, i*len(p.phones)/talkers)
	}
	return at
}

// talk has phones call each other and send messages.
func (p *population) talk() {
	t := p.t
	t.Helper()
	at := p.sampled()
	for i, from := range at {
		to := at[(i+1)%len(at)]
		a, b := p.phones[from], p.phones[to]
		text := fmt.Sprintf("from %d to %d", from, to)
		if err := a.Message(p.ctx, p.impu(to), text); err != nil {
			t.Fatal(err)
		}
		if m := <-b.Messages(); m.Body != text || m.From != p.impu(from) {
			t.Errorf("phone %d got %q from %s, want %q", to, m.Body, m.From, text)
		}
		c, err := a.Call(p.ctx, p.impu(to), ue.CallOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Hangup(p.ctx); err != nil {
			t.Fatal(err)
		}
		if in := <-b.Calls(); in.Peer != p.impu(from) {
			t.Errorf("phone %d was called by %s", to, in.Peer)
		}
	}
}

// registerAgain has phones register over their sets, and then in clear, as after a
// fall: that gives them others.
func (p *population) registerAgain() {
	t := p.t
	t.Helper()
	for _, i := range p.sampled() {
		ph := p.phones[i]
		old := ph.Registration().Protection
		r, err := ph.Register(p.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if r.Protection.Local != old.Local {
			t.Errorf("phone %d has other SAs, and was not challenged", i)
		}
		if err := ph.Reset(); err != nil {
			t.Fatal(err)
		}
		if r, err = ph.Register(p.ctx); err != nil {
			t.Fatal(err)
		}
		if r.Protection.Local == old.Local {
			t.Errorf("phone %d has come back with the SAs that it had lost", i)
		}
	}
}

// footprint is what a process takes, or one phone of it: its proportional set size
// (/proc/PID/smaps_rollup), what its last garbage collection found in use, both in
// KiB, and its goroutines.
type footprint struct{ kib, live, goroutines float64 }

func (l footprint) String() string {
	return fmt.Sprintf("%.1f KiB, %.1f KiB in use, %.2f goroutines", l.kib, l.live, l.goroutines)
}

// loads are those of the processes, by name.
type loads map[string]footprint

// measure logs what all processes take: this one after a garbage collection, the
// others as they are.
func (p *population) measure(when string) loads {
	p.t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	l := loads{self: {p.pss(os.Getpid()), float64(mem.HeapAlloc) / 1024, float64(runtime.NumGoroutine())}}
	for name, cmd := range p.running {
		// The next collection is due at twice of what the last has found (GOGC 100).
		live := float64(p.metric(name, "go_memstats_next_gc_bytes")) / 2 / 1024
		l[name] = footprint{p.pss(cmd.Process.Pid), live, float64(p.metric(name, "go_goroutines"))}
	}
	p.t.Logf("%s:\n%v", when, l)
	return l
}

// rest waits, if that is asked for.
func (p *population) rest() {
	if *rest > 0 {
		select {
		case <-time.After(*rest):
		case <-p.ctx.Done():
		}
	}
}

// each is what one phone of n has added since before.
func (l loads) each(before loads, n int) loads {
	e := loads{}
	for name := range l {
		a, b, per := l[name], before[name], float64(n)
		e[name] = footprint{(a.kib - b.kib) / per, (a.live - b.live) / per, (a.goroutines - b.goroutines) / per}
	}
	return e
}

func (l loads) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(l)) {
		fmt.Fprintf(&b, "\t%-7s %v\n", name, l[name])
	}
	return b.String()
}

// pss returns the proportional set size of a process in KiB.
func (p *population) pss(pid int) float64 {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
			kib, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return kib
		}
	}
	p.t.Fatalf("no Pss in %s", b)
	return 0
}

// metric returns the sum of a service's metric, over the label values given if any.
func (p *population) metric(service, name string, labels ...string) int {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, "http://"+p.http[service]+"/metrics", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	sum := 0.0
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 4<<20))
	for lines.Scan() {
		series, value, ok := cutLast(lines.Text())
		metric, labelled, _ := strings.Cut(series, "{")
		if !ok || metric != name || len(labels) > 0 && !slices.ContainsFunc(labels, func(l string) bool { return strings.Contains(labelled, l) }) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		sum += v
	}
	if err := lines.Err(); err != nil {
		p.t.Fatal(err)
	}
	return int(sum)
}

func cutLast(line string) (series, value string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 || strings.HasPrefix(line, "#") {
		return "", "", false
	}
	return line[:i], line[i+1:], true
}
