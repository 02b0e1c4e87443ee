package lab

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/pcscf"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/load"
)

const firstIMSI = "001010000100000"

// crowd starts a core whose HSS knows many subscribers, and says how to load it.
func crowd(t *testing.T, known, phones int, adjust ...func(*Configs)) (*Core, load.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	core, err := StartCore(ctx, CoreConfig{Domain: DefaultDomain, Adjust: func(c *Configs) {
		c.HSS.Generate = []hss.Generated{{First: firstIMSI, Count: known, K: aliceK, OPc: aliceOPc}}
		for _, a := range adjust {
			a(c)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(core.Stop)
	k, errK := aka.ParseSecret(aliceK)
	opc, errOPc := aka.ParseSecret(aliceOPc)
	if errK != nil || errOPc != nil {
		t.Fatal(errK, errOPc)
	}
	return core, load.Config{
		PCSCF: []netip.AddrPort{core.P.Gm()}, Domain: DefaultDomain, Phones: phones, First: 1010000100000, K: k, OPc: opc, Registered: -1,
		Mix: everything(t), Seed: 1,
	}
}

func everything(t *testing.T) load.Mix {
	t.Helper()
	m, err := load.ParseMix("register,reregister,deregister,call=2,cancelled,rejected,unanswered,message=2,subscribe=2,emergency,priority")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestProtectedLoad: the same over ESP in user space.
func TestProtectedLoad(t *testing.T) {
	core, cfg := crowd(t, 20, 20, (*Configs).Protect)
	cfg.ESP, cfg.Busy, cfg.Count = core.P.ESPUDP(), 4, 120
	r, err := load.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	reconcile(t, r.PreRegistration)
	reconcile(t, r.Load)
	if r.PreRegistration.Succeeded != 10 || r.Load.Failed != 0 || r.Load.Attempts != 120 || len(r.Load.Scenarios) != 11 || r.Generator.Stray != 0 {
		var text strings.Builder
		_ = r.Print(&text)
		t.Errorf("want 10 phones registered before, and 120 attempts of eleven scenarios without a failure:\n%s", &text)
	}
}

// TestProtectedLoadComesBack: phones behind IPsec whose P-CSCF has lost its security
// associations hear nothing any more, and those that the S-CSCF has forgotten are
// refused. Both register anew with new associations, and subscribe again.
func TestProtectedLoadComesBack(t *testing.T) {
	for _, name := range []string{NameP, NameS} {
		t.Run(name, func(t *testing.T) {
			esp, err := freePort(Loopback, nil) // the same in the P-CSCF's next life
			if err != nil {
				t.Fatal(err)
			}
			core, cfg := crowd(t, 12, 12, (*Configs).Protect, func(c *Configs) { c.P.IPsec.UDP = esp })
			cfg.ESP, cfg.Busy, cfg.Duration, cfg.Recover, cfg.Registered = esp, 6, time.Minute, true, 12
			cfg.Patience = 2 * time.Second
			cfg.Mix = load.Only(load.Message)
			cfg.Mix[load.Subscribe] = 1
			comesBack(t, core, cfg, name, 12)
		})
	}
}

// TestProtectedLoadOverABadPath: ESP packets come twice, or late, each way, and the
// REGISTERs in clear too. Anti-replay windows take what is new of it, once.
func TestProtectedLoadOverABadPath(t *testing.T) {
	core, cfg := crowd(t, 20, 20, (*Configs).Protect)
	cfg.ESP, cfg.Busy, cfg.Count, cfg.Gm = core.P.ESPUDP(), 8, 100, &load.Impairment{}
	cfg.Gm.Set(load.Damage{Doubled: 0.2, Late: 0.2, Delay: 20 * time.Millisecond})
	r, err := load.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	reconcile(t, r.Load)
	_, doubled, late := cfg.Gm.Counts()
	if doubled < 40 || late < 40 || r.PreRegistration.Succeeded != 10 || r.Load.Failed != 0 {
		t.Errorf("%d packets doubled, %d late; %+v", doubled, late, r.Load)
	}
}

// TestLoadOfEmergencies: emergency calls reach the E-CSCF where there is one, and are
// answered; TestLoad's are told to call elsewhere.
func TestLoadOfEmergencies(t *testing.T) {
	for _, protected := range []bool{false, true} {
		t.Run(map[bool]string{false: "clear", true: "ESP"}[protected], func(t *testing.T) {
			psap := startECSCF(t)
			core, cfg := crowd(t, 6, 6, func(c *Configs) {
				if c.P.Emergency.ECSCF = (pcscf.Addresses{psap.Addr()}); protected {
					c.Protect()
				}
			})
			cfg.Busy, cfg.Count, cfg.Mix = 3, 30, load.Only(load.Emergency)
			if protected {
				cfg.ESP = core.P.ESPUDP()
			}
			r, err := load.Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			reconcile(t, r.Load)
			if n := psap.Counts().Requests["BYE"]; n != 30 || r.Load.Succeeded != 30 || r.Load.Scenarios["emergency"].Attempts != 30 {
				var text strings.Builder
				_ = r.Print(&text)
				t.Errorf("the emergency centre got %d BYEs, want 30 of calls that succeed:\n%s", n, &text)
			}
		})
	}
}

// reconcile checks that each attempt is accounted for, scenario by scenario.
func reconcile(t *testing.T, p *load.Phase) {
	t.Helper()
	if p == nil {
		t.Fatal("the phase is missing")
	}
	var sum uint64
	for name, c := range p.Scenarios {
		sum += c.Attempts
		var causes uint64
		for _, n := range c.Causes {
			causes += n
		}
		if c.Attempts != c.Succeeded+c.Failed || c.Failed != causes || c.Succeeded != c.Latency.Count {
			t.Errorf("%s does not add up: %+v", name, c)
		}
	}
	if sum != p.Attempts || p.Attempts != p.Succeeded+p.Failed {
		t.Errorf("%d attempts in all scenarios: %+v", sum, p.Counts)
	}
}

// TestLoad: fifty light phones do everything there is, in a closed and in an open loop,
// and everything succeeds.
func TestLoad(t *testing.T) {
	_, closed := crowd(t, 50, 50)
	closed.Busy, closed.Count = 8, 400
	open := closed
	open.Count, open.Duration, open.Rate, open.Stir = 0, time.Second, load.Rate{From: 100, To: 100}, 200*time.Millisecond
	for name, cfg := range map[string]load.Config{"closed": closed, "open": open} {
		t.Run(name, func(t *testing.T) {
			r, err := load.Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			reconcile(t, r.PreRegistration)
			reconcile(t, r.Load)
			if r.PreRegistration.Succeeded != 25 || r.Load.Failed != 0 || len(r.Load.Scenarios) != 11 {
				var text strings.Builder
				_ = r.Print(&text)
				t.Errorf("want 25 phones registered before, and eleven scenarios without a failure:\n%s", &text)
			}
			if cfg.Count > 0 && r.Load.Attempts != uint64(cfg.Count) {
				t.Errorf("%d attempts, want %d", r.Load.Attempts, cfg.Count)
			}
			// About 100 with a deviation of 10.
			if cfg.Count == 0 && (r.Load.Attempts+r.Load.Skipped < 60 || r.Load.Attempts+r.Load.Skipped > 140) {
				t.Errorf("%d attempts in a second at 100/s", r.Load.Attempts)
			}
			want := 25 + int(r.Load.Scenarios["register"].Succeeded) - int(r.Load.Scenarios["deregister"].Succeeded)
			if cfg.Stir == 0 && r.Inside != want {
				t.Errorf("%d phones are registered in the end, want %d", r.Inside, want)
			}
		})
	}
}

// TestLoadOfStrangers: attempts that the core refuses are failures with a cause, and no
// load of theirs is handled adequately.
func TestLoadOfStrangers(t *testing.T) {
	_, cfg := crowd(t, 10, 20)
	cfg.Mix, cfg.Busy, cfg.Count = load.Only(load.Register), 4, 20
	r, err := load.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	reconcile(t, r.Load)
	if r.Load.Succeeded != 10 || r.Load.Causes["REGISTER: 403"] != 10 || r.Load.InadequateShare != 0.5 {
		t.Errorf("10 of 20 phones are strangers: %+v", r.Load.Counts)
	}
	cfg.Count, cfg.Duration, cfg.Steps = 0, time.Second, []float64{50, 100}
	if r, err = load.Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if len(r.Steps) != 1 || r.DOC != 0 {
		t.Errorf("%d loads were tried, and DOC is %g", len(r.Steps), r.DOC)
	}
}

// TestLoadFindsDOC: the highest load that is handled adequately is told. The one after it
// is more than the phones can make.
func TestLoadFindsDOC(t *testing.T) {
	_, cfg := crowd(t, 40, 40)
	cfg.Mix, cfg.Registered, cfg.Duration, cfg.Steps = load.Only(load.Message), 40, 400*time.Millisecond, []float64{15, 30, 100_000, 200_000}
	r, err := load.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Steps {
		reconcile(t, s.Phase)
	}
	if len(r.Steps) != 3 || r.DOC != 30 || r.Steps[2].Skipped == 0 {
		var text strings.Builder
		_ = r.Print(&text)
		t.Errorf("%d loads were tried, DOC is %g, want 30:\n%s", len(r.Steps), r.DOC, &text)
	}
}

// TestLoadRamp: what is due grows with the time, and so does what succeeds.
func TestLoadRamp(t *testing.T) {
	_, cfg := crowd(t, 20, 20)
	cfg.Mix, cfg.Registered, cfg.Duration, cfg.Rate = load.Only(load.Message), 20, time.Second, load.Rate{From: 0, To: 200, Over: time.Second}
	var due []time.Time
	cfg.Ended = func(a load.Attempt) {
		if a.Scenario == load.Message {
			due = append(due, a.Due)
		}
	}
	r, err := load.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	reconcile(t, r.Load)
	// About 100 with a deviation of 10, and a quarter of them in the first half of the time.
	if n := r.Load.Attempts + r.Load.Skipped; n < 60 || n > 140 || r.Load.Failed != 0 || len(due) < 30 {
		t.Fatalf("%d were due, %d were told of: %+v", n, len(due), r.Load.Counts)
	}
	slices.SortFunc(due, time.Time.Compare)
	if half := due[len(due)/2].Sub(due[0]).Seconds() / due[len(due)-1].Sub(due[0]).Seconds(); half < 0.58 {
		t.Errorf("half were due after %.2f of the time, want 0.7 or so", half)
	}
}

// TestLoadComesBack: phones that the core has forgotten register anew, if they are told
// to, and no attempt is lost sight of.
func TestLoadComesBack(t *testing.T) {
	core, cfg := crowd(t, 20, 20)
	cfg.Mix, cfg.Busy, cfg.Duration, cfg.Recover = load.Only(load.Message), 2, time.Minute, true
	comesBack(t, core, cfg, NameS, 20)
}

// comesBack restarts a service under a load and wants the phones to come back.
func comesBack(t *testing.T, core *Core, cfg load.Config, service string, phones int) {
	t.Helper()
	// On a busy machine all may have had their one try before the service listened again:
	// then nothing is seen of how they come back, and it is done once more.
	const tries = 3
	for i := 1; ; i++ {
		r, ended := restartUnderLoad(t, core, cfg, service)
		reconcile(t, r.PreRegistration)
		reconcile(t, r.Load)
		back := r.Load.Scenarios["recover"]
		if i < tries && back.Succeeded == 0 && back.Failed == uint64(phones) {
			t.Logf("try %d: nobody was there when they tried", i)
			continue
		}
		if !ended || r.PreRegistration.Succeeded != uint64(phones) || back.Succeeded == 0 || r.Inside+int(back.Failed) < phones {
			t.Errorf("after the restart of the %s %d phones have come back and %d are registered: %+v", service, back.Succeeded, r.Inside, r.Load)
		}
		return
	}
}

// restartUnderLoad restarts a service under load, which ends with the first second
// without a failure behind some; ended is whether there was one.
func restartUnderLoad(t *testing.T, core *Core, cfg load.Config, service string) (r *load.Report, ended bool) {
	t.Helper()
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	restarted := make(chan error, 1)
	begun, failed := false, false
	cfg.Progress = func(s load.Second) {
		switch {
		case s.Phase != "load":
		case !begun:
			begun = true
			go func() {
				err := core.StopOne(service)
				if err == nil {
					err = core.Start(service)
				}
				restarted <- err
			}()
		case s.Failed > 0:
			failed = true
		case failed && s.Succeeded > 0: // a second without a failure after those with some
			enough()
		}
	}
	r, err := load.Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	return r, ctx.Err() != nil
}

// TestLoadOverABadPath: phones and core get over datagrams that are lost, come twice or
// late; each attempt is told of when it is over, and the load ends when it is asked to.
func TestLoadOverABadPath(t *testing.T) {
	_, cfg := crowd(t, 20, 20)
	enough, told := make(chan struct{}), map[string]int{}
	answered := 0
	cfg.Mix, cfg.Busy, cfg.T1, cfg.Registered, cfg.End, cfg.Gm = everything(t), 8, 100*time.Millisecond, 10, enough, &load.Impairment{}
	cfg.Gm.Set(load.Damage{Lost: 0.02, Doubled: 0.1, Late: 0.1, Delay: 20 * time.Millisecond})
	ended := 0
	cfg.Ended = func(a load.Attempt) {
		told[a.Cause]++
		if !a.Answered.IsZero() {
			answered++
		}
		if a.Ended.Before(a.Due) || a.From == a.To || (a.To >= 0) != (a.Scenario >= load.Call && a.Scenario <= load.Message) {
			t.Errorf("%+v", a)
		}
		if ended++; ended == 300 {
			close(enough)
		}
	}
	r, err := load.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	reconcile(t, r.PreRegistration)
	reconcile(t, r.Load)
	lost, doubled, late := cfg.Gm.Counts()
	if told[""] != int(r.PreRegistration.Succeeded+r.Load.Succeeded) || answered < int(r.Load.Scenarios["call"].Succeeded+r.Load.Scenarios["priority"].Succeeded) || lost == 0 || doubled == 0 || late == 0 {
		t.Errorf("%d lost, %d doubled, %d late; told %v, %d calls answered, of %+v", lost, doubled, late, told, answered, r.Load)
	}
	if len(told) != 1 {
		t.Errorf("not everything succeeded: %v", told)
	}
}
