package lab

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ipsec/esp/netstack"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/ue"
)

// DemoConfig describes the demonstration.
type DemoConfig struct {
	Domain string
	State  string // file for the HSS's sequence numbers, empty for none
	Log    *zap.Logger
	// Stream carries what happens; the caller may read it.
	Stream *trace.Stream
	// Transport is what the phones use.
	Transport sip.Proto
	// Clear leaves IPsec out.
	Clear bool
	// Profile is whose manners the phones have: see ue.Profiles.
	Profile string
}

// Demo is a running demonstration: a core and two phones.
type Demo struct {
	Core       *Core
	Alice, Bob *ue.Phone
	Report     Report

	cfg     DemoConfig
	stack   *netstack.Stack // the phones' IPsec, nil without
	servers *servers
	counter *counter
	sub     *trace.Subscription
	wg      sync.WaitGroup
}

// stepTime bounds each step of the demonstration.
const stepTime = 20 * time.Second

// traceBuffer is how many events the demonstration's own reader may fall behind.
const traceBuffer = 1 << 16

// NewDemo prepares a demonstration that has not begun.
func NewDemo(cfg DemoConfig) *Demo {
	if cfg.Stream == nil {
		cfg.Stream = &trace.Stream{}
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Demo{cfg: cfg, Report: Report{IPsec: IPsecReport{Backend: "none"}, Cx: cxCounts(nil), Steps: []Step{}}}
}

// Run does the whole demonstration and fills in the report. The core and the
// phones stay up until Close.
func (d *Demo) Run(ctx context.Context) error {
	err := d.run(ctx)
	d.Report.OK = err == nil
	if err != nil {
		d.Report.Error = err.Error()
	}
	d.collect()
	return err
}

// step does one part and notes how long it took.
func (d *Demo) step(ctx context.Context, name string, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	began := time.Now()
	err := do(ctx)
	s := Step{Name: name, MS: float64(time.Since(began).Microseconds()) / 1000, OK: err == nil}
	if err != nil {
		s.Error = err.Error()
		err = fmt.Errorf("%s: %w", name, err)
	}
	d.Report.Steps = append(d.Report.Steps, s)
	return err
}

func (d *Demo) run(ctx context.Context) error {
	for _, s := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"start HSS, S-CSCF, I-CSCF, P-CSCF and application server", d.start},
		{"alice registers", func(ctx context.Context) error { return d.register(ctx, d.Alice) }},
		{"bob registers", func(ctx context.Context) error { return d.register(ctx, d.Bob) }},
		{"alice calls bob, puts him on hold and back, hangs up", d.call},
		{"bob calls alice by her number; she is busy", d.busy},
		{"alice sends bob a message", d.message},
		{"alice and bob de-register", d.leave},
	} {
		if err := d.step(ctx, s.name, s.do); err != nil {
			return err
		}
	}
	return nil
}

// start brings everything up.
func (d *Demo) start(ctx context.Context) error {
	d.counter = &counter{}
	var err error
	if d.servers, err = startServers(d.cfg.Log, d.cfg.Stream); err != nil {
		return err
	}
	d.counter.asAddr = d.servers.addr()
	subs := DemoSubscribers(d.cfg.Domain)
	subs[0].IFC = []string{d.servers.criterion()}
	if d.Core, err = StartCore(ctx, CoreConfig{
		Domain: d.cfg.Domain, Subscribers: subs, State: d.cfg.State, Log: d.cfg.Log, Stream: d.cfg.Stream, IPsec: !d.cfg.Clear,
	}); err != nil {
		return err
	}
	if !d.cfg.Clear {
		if d.stack, err = PhoneStack(Loopback, d.Core.P.ESPUDP()); err != nil {
			return err
		}
	}
	d.counter.gm = d.Core.P.Gm().String()
	d.sub = d.cfg.Stream.Subscribe(traceBuffer)
	d.wg.Go(func() {
		for e := range d.sub.C() {
			d.counter.count(e)
		}
	})
	if d.Alice, err = d.phone("alice", subs[0]); err != nil {
		return err
	}
	d.Bob, err = d.phone("bob", subs[1])
	return err
}

// phone switches on a phone with a subscriber's SIM.
func (d *Demo) phone(name string, sub hss.Subscriber) (*ue.Phone, error) {
	k, err := aka.ParseSecret(string(sub.K))
	if err != nil {
		return nil, fmt.Errorf("the SIM of %s: %w", name, err)
	}
	opc, err := aka.ParseSecret(string(sub.OPc))
	if err != nil {
		return nil, fmt.Errorf("the SIM of %s: %w", name, err)
	}
	cfg := ue.Config{
		Name: name, Local: Loopback, PCSCF: d.Core.P.Gm(), Domain: d.cfg.Domain, IMPI: sub.IMPI, IMPU: sub.IMPUs[0],
		K: k, OPc: opc, Transport: d.cfg.Transport, Profile: d.cfg.Profile, SecAgree: true,
		Answer: ue.Answer{RingFor: 200 * time.Millisecond},
		Trace:  trace.Node{Stream: d.cfg.Stream}, Log: d.cfg.Log.Named(name),
	}
	if d.stack != nil {
		cfg.IPsec, cfg.Stack = "user", d.stack
	}
	return ue.New(cfg)
}

func (d *Demo) register(ctx context.Context, p *ue.Phone) error {
	if _, err := p.Register(ctx); err != nil {
		return err
	}
	d.Report.PhonesRegistered++
	return nil
}

// call is a whole call, with everything that a VoLTE call has.
func (d *Demo) call(ctx context.Context) error {
	c, err := d.Alice.Call(ctx, d.Bob.Registration().Default, ue.CallOptions{})
	if err != nil {
		return err
	}
	if err := c.Hold(ctx); err != nil {
		return err
	}
	if err := c.Resume(ctx); err != nil {
		return err
	}
	if err := c.Hangup(ctx); err != nil {
		return err
	}
	if d.servers.calls() == 0 {
		return errors.New("the call did not visit the application server of alice's filter criterion")
	}
	d.Report.CallsCompleted++
	return nil
}

// busy is a call by number to a phone that is busy.
func (d *Demo) busy(ctx context.Context) error {
	d.Alice.SetAnswer(ue.Answer{Action: ue.Busy})
	defer d.Alice.SetAnswer(ue.Answer{RingFor: 200 * time.Millisecond})
	number := DemoSubscribers(d.cfg.Domain)[0].IMPUs[1]
	_, err := d.Bob.Call(ctx, number, ue.CallOptions{})
	var refused *ue.Error
	if !errors.As(err, &refused) || refused.Status != 486 {
		return fmt.Errorf("calling %s: want 486 Busy Here, got: %w", number, err)
	}
	return nil
}

func (d *Demo) message(ctx context.Context) error {
	const text = "Good morning from alice."
	if err := d.Alice.Message(ctx, d.Bob.Registration().Default, text); err != nil {
		return err
	}
	select {
	case m := <-d.Bob.Messages():
		if m.Body != text {
			return fmt.Errorf("bob got another text: %q", m.Body)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("bob got no message: %w", ctx.Err())
	}
}

func (d *Demo) leave(ctx context.Context) error {
	return errors.Join(d.Alice.Deregister(ctx), d.Bob.Deregister(ctx))
}

// collect fills in what was counted, once the last events have been read.
func (d *Demo) collect() {
	if d.sub != nil {
		d.sub.Close()
		d.wg.Wait()
		d.sub = nil
	}
	if d.counter != nil {
		d.Report.SIP, d.Report.IPsec = d.counter.counts()
	}
	if d.Core != nil && d.Core.P != nil {
		d.Report.IPsec.Backend, d.Report.IPsec.SASets = d.Core.P.IPsecBackend(), d.Core.P.SASetsEstablished()
	}
	if d.Core != nil && d.Core.HSS != nil {
		d.Report.Cx = cxCounts(d.Core.HSS.Counts())
	}
}

// Close switches the phones off and stops the core.
func (d *Demo) Close() {
	for _, p := range []*ue.Phone{d.Alice, d.Bob} {
		if p != nil {
			p.Close()
		}
	}
	d.collect()
	if d.stack != nil {
		if err := d.stack.Close(); err != nil {
			d.cfg.Log.Error("stopping the phones' IPsec", zap.Error(err))
		}
	}
	if d.Core != nil {
		d.Core.Stop()
	}
	if d.servers != nil {
		if err := d.servers.stop(); err != nil {
			d.cfg.Log.Error("stopping", zap.Error(err))
		}
	}
}
