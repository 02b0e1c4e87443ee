package chaos

import (
	"context"
	"fmt"
	"strings"
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
			Name: "scscf-starves", What: "the S-CSCF has the processor for 5 ms of 50", mild: true,
			Signs: []Sign{{Service: scscf, Metric: "gocscf_overload_refused_total"}, {Service: pcscf, Metric: "gocscf_overload_refused_total"}},
			come:  func(_ context.Context, b *bench) error { return b.starve(scscf) },
			gone: func(_ context.Context, b *bench) error {
				b.letGo()
				return b.core.signal(scscf, syscall.SIGCONT)
			},
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
		exhausted("descriptors", pcscf, "the P-CSCF", acceptFailed(pcscf)),
		exhausted("icscf-descriptors", icscf, "the I-CSCF", acceptFailed(icscf)),
		exhausted("scscf-descriptors", scscf, "the S-CSCF", acceptFailed(scscf)),
		exhausted("hss-descriptors", hss, "the HSS", Sign{Service: hss, Metric: "gocscf_diameter_refused_total"}),
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

func acceptFailed(name string) Sign {
	return Sign{Service: name, Metric: "gocscf_sip_dropped_total", Label: `reason="accept_failed"`}
}

func exhausted(fault, name, who string, sign Sign) Fault {
	return Fault{
		Name: fault, What: who + " has no descriptor left, and connections wait for one",
		Signs: []Sign{sign},
		come:  func(_ context.Context, b *bench) error { return b.exhaust(name) },
		gone: func(_ context.Context, b *bench) error {
			b.letGo()
			return b.limit(name, limitFiles, b.files)
		},
	}
}
