package admission_test

import (
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip/admission"
)

const us = time.Microsecond

// chain is a P-CSCF, an I-CSCF and an S-CSCF on one processor. For requests and for
// answers, what each spends on one.
func chain(p, pa, i, ia, s time.Duration) *model {
	return newModel(
		&node{counts: true, ctl: admission.NewController(admission.Config{}), request: p, answer: pa},
		&node{ctl: admission.NewController(admission.Config{}), request: i, answer: ia, hss: time.Millisecond},
		&node{ctl: admission.NewController(admission.Config{}), request: s, hss: time.Millisecond})
}

// asRead has the first element work on each message as it reads it.
func (m *model) asRead() *model {
	m.nodes[0].asRead = true
	return m
}

// capacity is how many operations a second the processor can do.
func (m *model) capacity() float64 {
	var cost time.Duration
	for _, n := range m.nodes {
		cost += 2 * (read + n.request)
		if n.next != nil {
			cost += 2 * (read + n.answer)
		}
		if n.hss > 0 {
			cost += 2 * read
		}
	}
	return 1 / cost.Seconds()
}

func TestGoodput(t *testing.T) {
	models := []struct {
		name string
		make func() *model
	}{
		{"one element", func() *model {
			return newModel(&node{ctl: admission.NewController(admission.Config{}), request: 250 * us, hss: time.Millisecond})
		}},
		{"all three equally busy", func() *model { return chain(60*us, 30*us, 60*us, 20*us, 80*us) }},
		{"all three equally busy, work as read", func() *model { return chain(60*us, 30*us, 60*us, 20*us, 80*us).asRead() }},
		{"the last one is the bottleneck", func() *model { return chain(30*us, 15*us, 30*us, 10*us, 200*us) }},
		{"the first one is the bottleneck, work as read", func() *model { return chain(150*us, 75*us, 40*us, 15*us, 60*us).asRead() }},
		{"slow machine", func() *model { return chain(600*us, 300*us, 600*us, 200*us, 800*us) }},
	}
	for _, tt := range models {
		t.Run(tt.name, func(t *testing.T) {
			m := tt.make()
			c := m.capacity()
			phase := func(times float64, settle, d time.Duration) (goodput, offered float64, refusals time.Duration) {
				m.load(times*c, settle)
				m.result(settle)
				m.load(times*c, d)
				offered = float64(m.offered) / d.Seconds()
				goodput, refusals, _ = m.result(d)
				return goodput, offered, refusals
			}
			check := func(times, least float64, goodput, offered float64, refusals time.Duration) {
				t.Helper()
				t.Logf("%4.1f of the capacity: %.1f %% of it done, 99 %% of refusals within %v", times, 100*goodput/c, refusals)
				if want := least * min(c, offered); goodput < want {
					t.Errorf("offered %.0f/s with a capacity of %.0f/s: %.0f/s done, want %.0f/s", offered, c, goodput, want)
				}
				if refusals > 100*time.Millisecond {
					t.Errorf("offered %.1f of the capacity: a refusal took %v, want 100ms at most", times, refusals)
				}
			}

			g, o, r := phase(0.5, time.Second, 3*time.Second)
			check(0.5, 0.97, g, o, r)
			if r != 0 {
				t.Error("refused something at half of the capacity")
			}
			g, o, r = phase(1, time.Second, 5*time.Second)
			check(1, 0.93, g, o, r)
			g, o, r = phase(2, 2*time.Second, 5*time.Second)
			check(2, 0.95, g, o, r)
			// At ten times the capacity, refusing alone is worth some of it.
			g, o, r = phase(10, 2*time.Second, 5*time.Second)
			check(10, 0.95*(1-9*(read+refuse).Seconds()*c), g, o, r)
			// And back: after a second everything is as if nothing had been.
			g, o, r = phase(0.5, time.Second, 3*time.Second)
			check(0.5, 0.97, g, o, r)
			if r != 0 {
				t.Error("refused something at half of the capacity, a second after an overload")
			}
			for _, n := range m.nodes {
				if n.ctl.State(m.now).Limiting {
					t.Error("still limiting five seconds after the overload")
				}
				if n.dropped > 0 {
					t.Errorf("%d messages were lost at a full socket", n.dropped)
				}
			}
		})
	}
}

// TestWithout shows that the model has the trouble that is to be avoided.
func TestWithout(t *testing.T) {
	m := newModel(&node{request: 60 * us, answer: 30 * us}, &node{request: 60 * us, answer: 20 * us}, &node{request: 80 * us})
	c := m.capacity()
	m.load(2*c, 5*time.Second)
	m.result(5 * time.Second)
	m.load(2*c, 5*time.Second)
	if g, _, _ := m.result(5 * time.Second); g > 0.5*c {
		t.Errorf("%.0f %% of the capacity is done without admission control: the model has no congestion", 100*g/c)
	}
}
