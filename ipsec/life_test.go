package ipsec

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/gocscf/gocscf/testbed/conformance"
)

// TestLifeOfSets replays the transcripts in testdata. A case is one phone, an event
// a line; the output shows what is asked for and, in brackets, which sets there are
// and when they end. Sets are named by letters, and times count from the first
// event.
//
//	401 b over a          the REGISTER came over a, or "in clear"; b is installed
//	401 b in clear like a b has the phone's SPIs of a
//	401 b over a, fails   b cannot be installed
//	200 over b for 1h     expires
//	403 over b
//	REGISTER over b       it goes to the home network
//	message over b        anything that is no retransmission
//	deregistered
//	abandoned             others need the ports of an unproven set
//	lost b                by the back end
//	+4m                   time passes
func TestLifeOfSets(t *testing.T) {
	conformance.Partly(t, "PR-16", "PR-17", "PR-19", "PR-27", "PR-28", "PR-29", "PR-30", "PR-34", "IP-21", "IP-23")
	datadriven.Walk(t, "testdata/life", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "life" || len(d.CmdArgs) != 0 {
				d.Fatalf(t, "unknown case %s", d.Cmd)
			}
			p := phone{life: NewLife(new(DefaultTimers())), owes: make(map[SetID]bool)}
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				if line = strings.TrimSpace(line); line == "" {
					continue
				}
				fmt.Fprintf(&out, "%-10s %s\n", p.now, line)
				if err := p.event(line, &out); err != nil {
					d.Fatalf(t, "%s: %v", line, err)
				}
			}
			return out.String()
		})
	})
}

// phone is a Life with a clock and what its owner must remember.
type phone struct {
	life *Life
	now  time.Duration
	// owes are the sets given to Challenged for which no Remove has come.
	owes map[SetID]bool
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (p *phone) time() time.Time { return epoch.Add(p.now) }

func since(t time.Time) time.Duration { return t.Sub(epoch) }

func named(name string) SetID { return SetID(name[0]-'a') + 1 }

func name(s *Set) string { return string(rune('a' + s.ID - 1)) }

// event plays one line of a transcript.
func (p *phone) event(line string, out *strings.Builder) error {
	var a, b string
	var d time.Duration
	scan := func(format string, args ...any) bool {
		n, err := fmt.Sscanf(line+"\n", format+"\n", args...)
		return err == nil && n == len(args)
	}
	if after, ok := strings.CutPrefix(line, "+"); ok {
		d, err := time.ParseDuration(after)
		if err != nil {
			return err
		}
		p.pass(d, out)
		return nil
	}
	var acts []Action
	fails := strings.HasSuffix(line, ", fails")
	line = strings.TrimSuffix(line, ", fails")
	line = strings.Replace(line, "in clear", "over -", 1)
	on := func(name string) SetID {
		if name == "-" {
			return 0
		}
		return named(name)
	}
	like := ""
	switch {
	case scan("401 %s over %s like %s", &a, &b, &like), scan("401 %s over %s", &a, &b):
		acts = p.challenge(named(a), on(b), like)
		if fails {
			acts = append(acts, p.life.Failed(named(a), p.time())...)
		} else {
			p.life.Installed(named(a))
		}
	case scan("200 over %s for %s", &a, &b):
		var err error
		if d, err = time.ParseDuration(b); err != nil {
			return err
		}
		acts = p.life.Registered(on(a), d, p.time())
	case scan("403 over %s", &a):
		acts = p.life.Rejected(on(a), p.time())
	case scan("REGISTER over %s", &a):
		acts = p.life.Answering(on(a), p.time())
	case scan("message over %s", &a):
		acts = p.life.Received(on(a), p.time())
	case scan("lost %s", &a):
		acts = p.life.Failed(named(a), p.time())
	case line == "deregistered":
		acts = p.life.Deregistered(p.time())
	case line == "abandoned":
		acts = p.life.Abandoned("abandoned", p.time())
	default:
		return fmt.Errorf("no such event")
	}
	p.show(acts, out)
	return nil
}

func (p *phone) challenge(id, on SetID, like string) []Action {
	spi := uint32(1000 + 2*id)
	if like != "" {
		spi = uint32(1000 + 2*named(like))
	}
	p.owes[id] = true
	return p.life.Challenged(&Set{ID: id, Remote: End{Addr: phoneAddr, SPIC: spi, SPIS: spi + 1}}, on, p.time())
}

// pass lets time go by, with each Tick when it is due.
func (p *phone) pass(d time.Duration, out *strings.Builder) {
	target := p.now + d
	for next := p.life.Next(); !next.IsZero() && since(next) <= target; next = p.life.Next() {
		p.now = max(p.now, since(next))
		fmt.Fprintf(out, "%-10s (due)\n", p.now)
		p.show(p.life.Tick(p.time()), out)
	}
	p.now = target
}

func (p *phone) show(acts []Action, out *strings.Builder) {
	for _, a := range acts {
		fmt.Fprintf(out, "%11s%v %s", "", a.Kind, name(a.Set))
		if !a.At.IsZero() {
			fmt.Fprintf(out, " until %v", since(a.At))
		}
		fmt.Fprintf(out, ": %s\n", a.Why)
		if a.Kind == Remove {
			delete(p.owes, a.Set.ID)
		}
	}
	var sets []string
	for _, s := range p.life.Sets() {
		st, end := p.life.Status(s.ID)
		sets = append(sets, fmt.Sprintf("%s %v until %v", name(s), st, since(end)))
	}
	fmt.Fprintf(out, "%11s[%s]\n", "", strings.Join(sets, ", "))
}

// Whatever happens, in whatever order: at most three sets, each with an end, what we
// send over stands, and every set goes once.
func TestLifeHoldsWhateverHappens(t *testing.T) {
	conformance.Partly(t, "IP-23", "IP-24")
	rapid.Check(t, func(t *rapid.T) {
		p := phone{life: NewLife(new(DefaultTimers())), owes: make(map[SetID]bool)}
		stands := make(map[SetID]time.Time) // installed sets, and when their back end would end them
		known := []SetID{0}
		do := func(acts []Action) {
			for _, a := range acts {
				id := a.Set.ID
				switch a.Kind {
				case Install:
					if len(stands) >= MaxSets {
						t.Fatalf("%d sets stand when one more comes", len(stands))
					}
					stands[id] = a.At
				case Extend:
					if stands[id].IsZero() {
						t.Fatalf("set %d is extended, and is not installed", id)
					}
					stands[id] = a.At
				case Remove:
					if !p.owes[id] {
						t.Fatalf("set %d is removed twice", id)
					}
					delete(p.owes, id)
					delete(stands, id)
				case Use:
					if p.life.Of(id) == nil {
						t.Fatalf("set %d is used, and is not there", id)
					}
				}
			}
		}
		check := func() {
			sets := p.life.Sets()
			if len(sets) > MaxSets || len(sets) != len(p.owes) || len(sets) != len(p.life.sets) {
				t.Fatalf("%d sets are listed, %d held, %d owed", len(sets), len(p.life.sets), len(p.owes))
			}
			for _, s := range sets {
				_, end := p.life.Status(s.ID)
				if end.IsZero() || end.Before(p.time()) || p.life.Next().After(end) {
					t.Fatalf("set %d ends at %v; it is %v, and the next thing is due at %v", s.ID, end, p.time(), p.life.Next())
				}
				if hard, ok := stands[s.ID]; !ok || hard.Before(end) {
					t.Fatalf("set %d is to live until %v, and its back end ends it at %v", s.ID, end, hard)
				}
			}
			if c := p.life.Current(); c != nil && !slices.Contains(p.life.Established(), c) {
				t.Fatalf("set %d is in use, and not established", c.ID)
			}
			if p.life.in(Unused) != nil && p.life.Current() == nil {
				t.Fatal("an established set, and none in use")
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			on := rapid.SampledFrom(known).Draw(t, "over")
			now := p.time()
			switch e := rapid.SampledFrom([]string{"401", "401", "REGISTER", "200", "200", "403", "message", "deregistered", "abandoned", "lost", "time"}).Draw(t, "event"); e {
			case "401":
				id, like := SetID(len(known)), ""
				if rapid.IntRange(0, 5).Draw(t, "same SPIs") == 0 {
					like = "a"
				}
				answered := p.life.pending()
				if over := p.life.find(on); over != nil && over.state != InUse {
					answered = nil // whoever sends over such a set has its keys, and goes on with it
				}
				do(p.challenge(id, on, like))
				if answered != nil && p.life.find(answered.set.ID) == nil {
					t.Fatalf("set %d, whose challenge was answered, has gone for one that nobody has answered", answered.set.ID)
				}
				known = append(known, id)
				if rapid.IntRange(0, 5).Draw(t, "fails") == 0 {
					delete(stands, id) // all or nothing
					do(p.life.Failed(id, now))
				} else {
					p.life.Installed(id)
				}
			case "200":
				do(p.life.Registered(on, time.Duration(rapid.IntRange(0, 1000).Draw(t, "expires"))*time.Second, now))
			case "403":
				do(p.life.Rejected(on, now))
			case "REGISTER":
				do(p.life.Answering(on, now))
			case "message":
				do(p.life.Received(on, now))
			case "deregistered":
				do(p.life.Deregistered(now))
			case "abandoned":
				established := p.life.Established()
				do(p.life.Abandoned("abandoned", now))
				if !slices.Equal(established, p.life.Established()) {
					t.Fatal("an established set is abandoned")
				}
			case "lost":
				do(p.life.Failed(on, now))
			case "time":
				p.now += time.Duration(rapid.IntRange(0, 300).Draw(t, "seconds")) * time.Second
				do(p.life.Tick(p.time()))
			}
			check()
		}
		if rapid.Bool().Draw(t, "drop") {
			do(p.life.Drop())
		}
		for next := p.life.Next(); !next.IsZero(); next = p.life.Next() {
			do(p.life.Tick(next))
		}
		if len(p.owes) != 0 || len(stands) != 0 {
			t.Fatalf("%d sets are owed and %d stand in the end", len(p.owes), len(stands))
		}
	})
}
