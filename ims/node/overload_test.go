package node

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

func TestOverloadConfig(t *testing.T) {
	ms := Duration(time.Millisecond)
	for _, tt := range []struct {
		name string
		o    Overload
		want []string // what errors begin with
	}{
		{"default", DefaultOverload(), nil},
		{"off", Overload{}, nil},
		{"nothing set", Overload{Enabled: true}, []string{"overload.target_latency", "overload.max_wait", "overload.min_rate", "overload.retry_after"}},
		{"waits shorter than the target", Overload{Enabled: true, TargetLatency: 20 * ms, MaxWait: 20 * ms, MinRate: 1, RetryAfter: 1000 * ms}, []string{"overload.max_wait"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.o.Check()
			if err == nil {
				if tt.want != nil {
					t.Error("accepted")
				}
				return
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("faults:\n%v\nwant %v", err, tt.want)
			}
			for i, line := range lines {
				if !strings.HasPrefix(line, tt.want[i]) {
					t.Errorf("fault %q, want %s", line, tt.want[i])
				}
			}
		})
	}
}

// values gathers what a registry has, by name and label value.
func values(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	v := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			v[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return v
}

// The beginning and the end of an overload are in the log, with what to do, and in the
// metrics.
func TestOverloadIsSeen(t *testing.T) {
	for _, underWay := range []bool{false, true} {
		t.Run("by those under way "+strconv.FormatBool(underWay), func(t *testing.T) {
			core, logs := observer.New(zap.WarnLevel)
			metrics := prometheus.NewRegistry()
			d := Deps{Log: zap.New(core), Metrics: metrics}
			var c proxy.Config
			if underWay {
				c.UnderWay = func(sip.Flow, *sip.Message) admission.Lane { return admission.Calls }
			}
			d.Admission(DefaultOverload(), &c)
			if _, there := values(t, metrics)["gocscf_overload_under_way_limit invite"]; there != underWay {
				t.Errorf("a metric of those under way: %v", there)
			}
			now := int64(0)
			for range 3000 {
				now += int64(time.Millisecond)
				var why admission.Reason
				var ok bool
				if underWay {
					_, why, ok = c.Admission.Enter(now, admission.Calls, admission.New, 0)
				} else {
					ok = c.Admission.Admit(now, admission.New)
				}
				switch {
				case !ok:
					c.Admission.Refused(now, admission.New, 0, why)
				case underWay: // the core answers later and later
					c.Admission.Began(now, admission.New, 0)
					c.Admission.Heard(now, admission.Calls, now-now/3, true)
				default:
					c.Admission.Began(now, admission.New, time.Duration(now/10))
				}
			}
			reason, words := "rate", "requests wait"
			if underWay {
				reason, words = "under_way", "the core's answers to INVITEs take"
			}
			if v := values(t, metrics); v["gocscf_overload_refused_total "+reason] == 0 || v["gocscf_overload_admitted_total new"] == 0 {
				t.Errorf("metrics: %v", v)
			}
			begin := logs.TakeAll()
			if len(begin) != 1 || !strings.Contains(begin[0].Message, words) || begin[0].ContextMap()["next"] == "" {
				t.Fatalf("logged at the beginning: %+v", begin)
			}
			now += int64(2 * time.Second)
			c.Admission.Further(now, false)
			if end := logs.TakeAll(); len(end) != 1 || !strings.Contains(end[0].Message, "over") {
				t.Errorf("logged at the end: %+v", end)
			}
		})
	}
}

// An HSS that takes longer and longer: who comes next is refused at once, emergency
// registrations are not, and it ends with the trouble.
func TestCxGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics := prometheus.NewRegistry()
		c := &Cx{Timeout: 2 * time.Second}
		if !c.Room(admission.New) {
			t.Error("no room without a guard")
		}
		c.Guard(DefaultOverload(), Deps{Metrics: metrics})
		var open []func(*cx.UAA, error)
		ask := func(n int) {
			for range n {
				open = append(open, watched(c, func(*cx.UAA, error) {}))
			}
		}
		answer := func(err error) {
			for _, done := range open {
				done(&cx.UAA{}, err)
			}
			open = nil
		}
		ask(40)
		if !c.Room(admission.New) {
			t.Error("no room although the HSS has not been silent for long")
		}
		time.Sleep(600 * time.Millisecond)
		if c.Room(admission.New) || c.Room(admission.Begun) || !c.Room(admission.Vital) {
			t.Error("40 wait for an HSS that has said nothing for 600 ms: want room for nobody but Vital")
		}
		r := c.Busy()
		after := ""
		for _, f := range r.Fields {
			if f.ID == sip.HRetryAfter {
				after = f.Value
			}
		}
		if n, err := strconv.Atoi(after); r.Status != 503 || err != nil || n < 5 || n > 10 || r.Next == "" || !strings.Contains(r.Text, "40 requests wait") {
			t.Errorf("refused with %+v", r)
		}
		if v := values(t, metrics); v["gocscf_cx_open"] != 40 || v["gocscf_cx_refused_total"] != 2 {
			t.Errorf("metrics: %v", v)
		}
		answer(nil)
		if !c.Room(admission.New) {
			t.Error("no room although nobody waits")
		}
		// Too busy is no answer: the HSS is not fast because it refuses quickly.
		ask(40)
		time.Sleep(600 * time.Millisecond)
		answer(&diameter.ResultError{Result: diameter.Base(diameter.TooBusy)})
		ask(40)
		time.Sleep(501 * time.Millisecond)
		if c.Room(admission.New) {
			t.Error("room at an HSS that is too busy and says nothing else")
		}
		answer(nil)
		for range 40 { // quick answers again
			ask(1)
			answer(nil)
		}
		ask(40)
		if !c.Room(admission.New) {
			t.Error("no room although the HSS answers at once again")
		}
	})
}
