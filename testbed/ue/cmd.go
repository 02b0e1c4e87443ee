package ue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
)

// Flags are what "testbed ue register" and "testbed ue call" have in common. They
// are part of the public contract.
type Flags struct {
	PCSCF     string        `name:"pcscf" required:"" placeholder:"HOST:PORT" help:"The P-CSCF."`
	Domain    string        `required:"" help:"The home network's domain."`
	IMPI      string        `name:"impi" required:"" help:"Private identity, user@domain."`
	IMPU      string        `name:"impu" required:"" help:"Public identity to register, a sip or tel URI."`
	K         aka.Secret    `name:"k" required:"" placeholder:"HEX" help:"The SIM's K."`
	OPc       aka.Secret    `name:"opc" placeholder:"HEX" xor:"op" help:"The SIM's OPc (TOPc with TUAK)."`
	OP        aka.Secret    `name:"op" placeholder:"HEX" xor:"op" help:"The operator's OP (TOP with TUAK), instead of OPc."`
	AMF       string        `name:"amf" placeholder:"HEX" help:"Taken for completeness: the phone reads AMF out of each challenge."`
	SQN       string        `name:"sqn" placeholder:"HEX" help:"Highest sequence number that the SIM has accepted, 12 digits."`
	Algorithm string        `enum:"milenage,tuak,xor" default:"milenage" help:"The SIM's algorithm: ${enum}."`
	Transport string        `enum:"udp,tcp" default:"udp" help:"What requests leave by: ${enum}."`
	IPsec     string        `name:"ipsec" enum:"none,user,kernel" default:"none" help:"IPsec towards the P-CSCF: ${enum}."`
	Profile   string        `default:"generic" help:"Whose manners the phone has: generic, samsung, qualcomm."`
	Local     string        `placeholder:"ADDRESS[:PORT]" help:"Where the phone listens; by default the address that leads to the P-CSCF, any port."`
	Timeout   time.Duration `default:"30s" help:"How long all of it may take."`
	JSON      bool          `name:"json" help:"One JSON object on standard output."`
}

// RegisterCmd is "testbed ue register". Its exit code is 0 only after a 200.
type RegisterCmd struct {
	Flags `embed:""`
	Stay  bool `help:"Stay registered until the time is up or the command is interrupted."`
}

// CallCmd is "testbed ue call". Its exit code is 0 only after a 200 to the INVITE.
type CallCmd struct {
	Flags    `embed:""`
	To       string        `required:"" placeholder:"URI" help:"Whom to call: a URI or a number."`
	Duration time.Duration `default:"1s" help:"How long the call lasts."`
}

// report is what --json prints.
type report struct {
	OK             bool     `json:"ok"`
	Status         int      `json:"status"` // of the final response; 0: none came
	Reason         string   `json:"reason,omitempty"`
	Warning        string   `json:"warning,omitempty"`
	Error          string   `json:"error,omitempty"`
	Next           string   `json:"next,omitempty"`
	IMPU           string   `json:"impu"`
	Expires        int      `json:"expires,omitempty"` // seconds
	Challenges     int      `json:"challenges"`
	Resynchronised bool     `json:"resynchronised,omitempty"`
	ServiceRoute   []string `json:"service_route,omitempty"`
	Identities     []string `json:"identities,omitempty"`
	To             string   `json:"to,omitempty"`
	RegisterMS     int64    `json:"register_ms"`
	CallMS         int64    `json:"call_ms,omitempty"` // from INVITE to 200
}

// Run registers, prints what came of it and deregisters. Kong binds ctx and out.
func (c *RegisterCmd) Run(ctx context.Context, out io.Writer) error {
	return c.with(ctx, out, func(ctx context.Context, p *Phone, _ *report) error {
		if c.Stay {
			<-ctx.Done()
		}
		return nil
	})
}

// Run registers, calls, hangs up, prints what came of it and deregisters. Kong
// binds ctx and out.
func (c *CallCmd) Run(ctx context.Context, out io.Writer) error {
	return c.with(ctx, out, func(ctx context.Context, p *Phone, r *report) error {
		r.OK, r.Status, r.Reason, r.To = false, 0, "", c.To
		start := time.Now()
		call, err := p.Call(ctx, c.To, CallOptions{})
		if err != nil {
			return err
		}
		r.OK, r.Status, r.Reason = true, 200, "OK"
		r.CallMS = time.Since(start).Milliseconds()
		select {
		case <-time.After(c.Duration):
		case <-call.Done():
		case <-ctx.Done():
		}
		return call.Hangup(ctx)
	})
}

// with registers a phone, has f use it, and reports.
func (c *Flags) with(ctx context.Context, out io.Writer, f func(context.Context, *Phone, *report) error) error {
	r := &report{IMPU: c.IMPU}
	err := c.do(ctx, r, f)
	if err != nil {
		r.OK = false
		r.Error = err.Error()
		var e *Error
		if errors.As(err, &e) {
			r.Status, r.Reason, r.Warning, r.Next = e.Status, e.Reason, e.Warning, e.Next
		}
	}
	if c.JSON {
		b, jerr := json.Marshal(r)
		if jerr != nil {
			return jerr
		}
		if _, werr := fmt.Fprintf(out, "%s\n", b); werr != nil {
			return werr
		}
		return err
	}
	if err == nil {
		_, err = fmt.Fprintf(out, "%s registered for %d s (challenges: %d), in %d ms\n", r.IMPU, r.Expires, r.Challenges, r.RegisterMS)
		if err == nil && r.To != "" {
			_, err = fmt.Fprintf(out, "call to %s answered after %d ms\n", r.To, r.CallMS)
		}
	}
	return err
}

func (c *Flags) do(ctx context.Context, r *report, f func(context.Context, *Phone, *report) error) error {
	cfg, err := c.config(ctx)
	if err != nil {
		return &FlagError{err}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("no success within --timeout %v", c.Timeout))
	defer cancel()
	p, err := New(cfg)
	if err != nil {
		return err
	}
	defer p.Close()
	start := time.Now()
	g, err := p.Register(ctx)
	if err != nil {
		return err
	}
	r.OK, r.Status, r.Reason = true, 200, "OK"
	r.RegisterMS = time.Since(start).Milliseconds()
	r.Expires, r.Challenges, r.Resynchronised = int(g.Expires/time.Second), g.Challenges, g.Resynchronised
	r.ServiceRoute, r.Identities = g.ServiceRoute, g.Identities
	err = f(ctx, p, r)
	// What was asked for is done; leaving in order must not change the result.
	bye, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	_ = p.Deregister(bye)
	return err
}

// FlagError is a flag that cannot be used.
type FlagError struct{ Err error }

func (e *FlagError) Error() string { return e.Err.Error() }

func (e *FlagError) Unwrap() error { return e.Err }

// ExitCode is that of bad flags.
func (e *FlagError) ExitCode() int { return 2 }

// config makes the phone's configuration of the flags.
func (c *Flags) config(ctx context.Context) (Config, error) {
	cfg := Config{
		Domain: c.Domain, IMPI: c.IMPI, IMPU: c.IMPU, K: c.K, OPc: c.OPc, OP: c.OP,
		Algorithm: c.Algorithm, Profile: c.Profile,
	}
	if c.IPsec != "" && c.IPsec != "none" {
		return cfg, fmt.Errorf("--ipsec %s: this phone has no IPsec yet; use --ipsec none and a P-CSCF with the policy none", c.IPsec)
	}
	var err error
	if cfg.PCSCF, err = resolve(ctx, c.PCSCF); err != nil {
		return cfg, fmt.Errorf("--pcscf %s: %w; want HOST:PORT", c.PCSCF, err)
	}
	if c.SQN != "" {
		if cfg.SQN, err = aka.ParseSQN(c.SQN); err != nil {
			return cfg, fmt.Errorf("--sqn: %w", err)
		}
	}
	if c.AMF != "" {
		if _, err = aka.ParseAMF(c.AMF); err != nil {
			return cfg, fmt.Errorf("--amf: %w", err)
		}
	}
	if c.Local != "" {
		if a, aerr := netip.ParseAddr(c.Local); aerr == nil {
			cfg.Local = a
		} else if ap, aerr := netip.ParseAddrPort(c.Local); aerr == nil {
			cfg.Local, cfg.Port = ap.Addr(), ap.Port()
		} else {
			return cfg, fmt.Errorf("--local %s: want an address, or address and port", c.Local)
		}
	}
	if c.Transport == "tcp" {
		cfg.Transport = sip.TCP
	}
	return cfg, nil
}

// resolve finds the address of HOST:PORT.
func resolve(ctx context.Context, hostport string) (netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(hostport)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), uint16(port)), nil
}
