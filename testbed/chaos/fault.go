package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gocscf/gocscf/testbed/load"
)

// Fault is one way to break the core.
type Fault struct {
	Name string
	What string // in a few words, for tables
	// Forgets says what the fault ends that is held in memory alone: registered phones,
	// established calls, neither.
	Forgets Forgotten
	// Signs are the words in which the services name the cause: one of them must show, of
	// a mild fault only if something fails. Where there are none nothing may fail.
	Signs []Sign
	mild  bool
	// leaves are signs of what the fault leaves behind and later requests run into, when
	// its window has ended.
	leaves []Sign

	// needsAS has MESSAGEs go through an application server, in the whole run.
	needsAS bool
	own     bool // see Own
	// silent faults leave requests without any answer.
	silent bool
	// ends is the service that the fault ends, whose counters begin anew; besides are
	// causes of refusals, in its time, of what is no attempt of a phone.
	ends    string
	besides []string
	// stalls is the service that reads nothing for a while, and then what others have
	// given up.
	stalls string
	// least is how long it must stay to be felt.
	least time.Duration
	come  func(context.Context, *bench) error
	gone  func(context.Context, *bench) error
}

// Forgotten is what a function forgets when it is killed.
type Forgotten struct{ Phones, Calls bool }

// Sign is where a cause is named: a line of a service's log that holds a text, or a
// metric that grows, of those series whose labels hold a text.
type Sign struct {
	Service       string
	Log           string
	Metric, Label string
}

func (s Sign) String() string {
	switch {
	case s.Log != "":
		return fmt.Sprintf("%s: log %q", s.Service, s.Log)
	case s.Label != "":
		return fmt.Sprintf("%s: %s{%s}", s.Service, s.Metric, s.Label)
	default:
		return s.Service + ": " + s.Metric
	}
}

// forgottenPhones show that a P-CSCF is asked by phones that it does not know, or in ESP
// of associations that it does not have.
var forgottenPhones = []Sign{
	{Service: pcscf, Metric: "gocscf_pcscf_refused_total", Label: `cause="not_registered"`},
	{Service: pcscf, Metric: "gocscf_pcscf_esp_drops_total", Label: `reason="unknown SPI"`},
}

// slowCore shows that the P-CSCF lets no more in because the core does not answer.
var slowCore = Sign{Service: pcscf, Metric: "gocscf_overload_refused_total", Label: `reason="under_way"`}

// Faults are all that there are, in the order in which they come.
func Faults() []Fault {
	return []Fault{
		{
			Name: "hss-dies", What: "the HSS is killed and comes back",
			Signs: []Sign{{Service: icscf, Log: "diameter peer is down"}, {Service: icscf, Metric: "gocscf_icscf_refused_total", Label: `cause="hss"`}},
			// It forgets who is registered: until a phone's next registration calls to it fail.
			leaves: []Sign{{Service: icscf, Metric: "gocscf_icscf_refused_total", Label: `cause="not_registered"`}},
			ends:   hss, come: killed(hss), gone: back(hss),
		},
		{
			Name: "hss-slow", What: "each answer of the HSS takes 1 s", mild: true,
			Signs: []Sign{{Service: icscf, Metric: "gocscf_icscf_refused_total", Label: `cause="hss_slow"`}, {Service: scscf, Metric: "gocscf_scscf_refused_total", Label: `cause="hss_slow"`}, slowCore},
			come:  func(_ context.Context, b *bench) error { b.slow(time.Second); return nil },
			gone:  func(_ context.Context, b *bench) error { b.slow(0); return nil },
		},
		{
			Name: "hss-freezes", What: "the HSS answers nothing, and its connections stand",
			least: 4 * time.Second, Signs: []Sign{{Service: icscf, Log: "The HSS could not be asked"}, {Service: scscf, Log: "The HSS did not answer"}},
			come: frozen(hss), gone: thawed(hss),
		},
		{
			Name: "hss-peer-dies", What: "one of two ways to the HSS dies",
			Signs: []Sign{{Service: icscf, Log: "diameter peer is down"}},
			come:  func(_ context.Context, b *bench) error { b.core.ways[0].cut(); return nil },
			gone:  func(_ context.Context, b *bench) error { return b.core.ways[0].open() },
		},
		{
			Name: "scscf-dies", silent: true, What: "the S-CSCF is killed and comes back", Forgets: Forgotten{Phones: true, Calls: true},
			Signs: []Sign{{Service: scscf, Metric: "gocscf_scscf_refused_total", Label: `cause="registration_lost"`}, {Service: icscf, Metric: "gocscf_icscf_refused_total", Label: `cause="no_scscf"`}},
			ends:  scscf, come: killed(scscf), gone: back(scscf),
		},
		{
			Name: "icscf-dies", What: "the I-CSCF is killed and comes back",
			Signs: []Sign{{Service: pcscf, Metric: "gocscf_pcscf_refused_total", Label: `cause="home_silent"`}, {Service: scscf, Metric: "gocscf_scscf_refused_total", Label: `cause="next_hop_silent"`}},
			ends:  icscf, come: killed(icscf), gone: back(icscf),
		},
		{
			Name: "icscf-stalls", What: "the I-CSCF reads nothing, over TCP neither, and its connections stand", mild: true,
			Signs:  []Sign{{Service: pcscf, Metric: "gocscf_pcscf_refused_total", Label: `cause="home_silent"`}, {Service: scscf, Metric: "gocscf_scscf_refused_total", Label: `cause="next_hop_silent"`}, slowCore},
			stalls: icscf, come: frozen(icscf), gone: thawed(icscf),
		},
		{
			Name: "as-stalls", What: "the application server of all MESSAGEs reads nothing", needsAS: true,
			Signs: []Sign{{Service: scscf, Metric: "gocscf_scscf_refused_total", Label: `cause="as_skipped"`}},
			least: 4 * time.Second, besides: []string{"unknown_odi"}, // the server's own, when it sends back what went on without it
			come: frozen(as), gone: thawed(as),
		},
		{
			Name: "pcscf-dies", silent: true, What: "the P-CSCF is killed and comes back", Forgets: Forgotten{Phones: true, Calls: true},
			Signs: forgottenPhones,
			ends:  pcscf, come: killed(pcscf), gone: back(pcscf),
		},
		{
			Name: "pcscf-stops", silent: true, What: "the P-CSCF is stopped in order (SIGTERM) and started again", Forgets: Forgotten{Phones: true, Calls: true},
			Signs: forgottenPhones,
			ends:  pcscf,
			come:  func(ctx context.Context, b *bench) error { return b.core.end(ctx, pcscf, syscall.SIGTERM) }, gone: back(pcscf),
		},
		{
			Name: "gm-loses", What: "5 % of Gm's datagrams are lost, each way",
			come: damaged(load.Damage{Lost: 0.05}), gone: afterDamage,
		},
		{
			Name: "gm-doubles", What: "20 % of Gm's datagrams come twice, the second up to 300 ms later",
			come: damaged(load.Damage{Doubled: 0.2, Delay: 300 * time.Millisecond}), gone: afterDamage,
		},
		{
			Name: "gm-reorders", What: "20 % of Gm's datagrams are up to 300 ms late",
			come: damaged(load.Damage{Late: 0.2, Delay: 300 * time.Millisecond}), gone: afterDamage,
		},
		{
			Name: "phone-stalls", What: "four TCP connections on Gm send requests and read no answer",
			Signs: []Sign{{Service: pcscf, Metric: "gocscf_sip_dropped_total", Label: `reason="slow_consumer"`}},
			least: 4 * time.Second, besides: []string{"not_registered"}, // all that those connections ask
			come: func(_ context.Context, b *bench) error { return b.stall(4) },
			gone: func(_ context.Context, b *bench) error { b.letGo(); return nil },
		},
		exhausted("descriptors", pcscf, "the P-CSCF"),
		exhausted("icscf-descriptors", icscf, "the I-CSCF"),
		exhausted("scscf-descriptors", scscf, "the S-CSCF"),
		{
			Name: "disk-full", What: "no service can write to a file any more: logs, the HSS's sequence numbers",
			Signs: []Sign{{Service: icscf, Metric: "gocscf_log_lines_lost_total"}},
			come:  func(_ context.Context, b *bench) error { return b.disk(0) },
			gone:  func(_ context.Context, b *bench) error { return b.disk(noLimit) },
		},
	}
}

// shown is by how much a sign's metric has grown, of what metrics have.
func (s Sign) shown(grown map[string]float64) (n float64) {
	for key, v := range grown {
		service, full, _ := strings.Cut(key, ": ")
		if base, labels, _ := strings.Cut(full, "{"); s.Metric != "" && service == s.Service && base == s.Metric && strings.Contains(labels, s.Label) {
			n += v
		}
	}
	return n
}

// byName finds faults.
func byName(names []string) ([]Fault, error) {
	if len(names) == 0 {
		return Faults(), nil
	}
	var list []Fault
	for _, n := range names {
		found := false
		for _, f := range Faults() {
			if f.Name == n {
				list, found = append(list, f), true
			}
		}
		if !found {
			var all []string
			for _, f := range Faults() {
				all = append(all, f.Name)
			}
			return nil, fmt.Errorf("%q is no fault: want some of %s", n, strings.Join(all, ", "))
		}
	}
	return list, nil
}

func killed(name string) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) error { return b.core.end(ctx, name, syscall.SIGKILL) }
}

// back starts a service again, and is over when the others have found it.
func back(name string) func(context.Context, *bench) error {
	return func(ctx context.Context, b *bench) error {
		err := b.core.start(ctx, name)
		for _, s := range services {
			if err == nil {
				err = b.core.ready(ctx, s)
			}
		}
		return err
	}
}

func frozen(name string) func(context.Context, *bench) error {
	return func(_ context.Context, b *bench) error { return b.core.signal(name, syscall.SIGSTOP) }
}

func thawed(name string) func(context.Context, *bench) error {
	return func(_ context.Context, b *bench) error { return b.core.signal(name, syscall.SIGCONT) }
}

func exhausted(fault, name, who string) Fault {
	return Fault{
		Name: fault, What: who + " has no descriptor left, and connections wait for one",
		Signs: []Sign{{Service: name, Metric: "gocscf_sip_dropped_total", Label: `reason="accept_failed"`}},
		come:  func(_ context.Context, b *bench) error { return b.exhaust(name) },
		gone: func(_ context.Context, b *bench) error {
			b.letGo()
			return b.limit(name, limitFiles, b.files)
		},
	}
}

func damaged(d load.Damage) func(context.Context, *bench) error {
	return func(_ context.Context, b *bench) error {
		b.hurt = b.damages()
		b.gm.Set(d)
		return nil
	}
}

// damages are all datagrams so far that did not pass as they should.
func (b *bench) damages() uint64 {
	lost, doubled, late := b.gm.Counts()
	return lost + doubled + late
}

// damageTime is how long a datagram may take to be damaged, beyond the time that the
// fault stays: with few phones not many pass.
const damageTime = 30 * time.Second

// afterDamage takes the damage away when there has been some: no fault has come before.
func afterDamage(ctx context.Context, b *bench) error {
	defer b.gm.Set(load.Damage{})
	for end := time.Now().Add(damageTime); b.damages() == b.hurt; pause(ctx, lookEvery) {
		if ctx.Err() != nil || time.Now().After(end) {
			return errors.New("no datagram on Gm was damaged: want more phones, or a higher rate")
		}
	}
	return nil
}

func (b *bench) slow(by time.Duration) {
	for _, w := range b.core.ways {
		w.delay.Store(int64(by))
	}
}

// held are connections that a fault keeps.
type held struct {
	conns []net.Conn
	wg    sync.WaitGroup
}

// stalledPause is between requests of a connection that reads nothing: it is to stall,
// not to flood.
const stalledPause = 5 * time.Millisecond

// stall opens connections to the P-CSCF on which requests go out and no answer is read.
// Answers are long, as they hold the request's Via.
func (b *bench) stall(n int) error {
	for i := range n {
		c, err := (&net.Dialer{Control: smallWindow}).Dial("tcp", b.core.gm.String())
		if err != nil {
			return fmt.Errorf("opening a connection that reads nothing: %w", err)
		}
		b.held.conns = append(b.held.conns, c)
		b.held.wg.Go(func() {
			for seq := 1; ; seq++ { // until the connection is closed
				if _, err := c.Write(stalledRequest(c.LocalAddr().String(), b.core.domain, i, seq)); err != nil {
					return
				}
				time.Sleep(stalledPause)
			}
		})
	}
	return nil
}

// smallWindow lets the kernel take little for a reader that does not read.
func smallWindow(_, _ string, c syscall.RawConn) error {
	var err error
	if outer := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) }); outer != nil {
		return outer
	}
	return err
}

func stalledRequest(from, domain string, who, seq int) []byte {
	return fmt.Appendf(nil, "MESSAGE sip:nobody@%s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bKstall%d.%d;rport;long=%s\r\nMax-Forwards: 70\r\n"+
		"From: <sip:nobody@%s>;tag=%d\r\nTo: <sip:nobody@%s>\r\nCall-ID: stall-%d-%d@%s\r\nCSeq: %d MESSAGE\r\nContent-Length: 0\r\n\r\n",
		domain, from, who, seq, strings.Repeat("x", 12000), domain, who, domain, who, seq, from, seq)
}

// letGo closes what a fault keeps.
func (b *bench) letGo() {
	for _, c := range b.held.conns {
		_ = c.Close()
	}
	b.held.wg.Wait()
	b.held.conns = nil
}

// exhaust leaves a service two descriptors and opens more connections than that.
func (b *bench) exhaust(name string) error {
	open := descriptors(b.core.pid(name))
	if open < 0 {
		return fmt.Errorf("the descriptors of %s cannot be counted", name)
	}
	was, err := setLimit(b.core.pid(name), limitFiles, uint64(open+2))
	if err != nil {
		return err
	}
	b.files = was
	for range 16 {
		c, err := net.Dial("tcp", b.core.sip[name].String())
		if err != nil {
			return fmt.Errorf("taking the descriptors of %s: %w", name, err)
		}
		b.held.conns = append(b.held.conns, c)
	}
	return nil
}

func (b *bench) limit(name string, resource int, soft uint64) error {
	_, err := setLimit(b.core.pid(name), resource, soft)
	return err
}

// disk lets files of all services grow to size octets.
func (b *bench) disk(size uint64) error {
	for _, name := range services {
		if err := b.limit(name, limitFileSize, size); err != nil {
			return err
		}
	}
	return nil
}
