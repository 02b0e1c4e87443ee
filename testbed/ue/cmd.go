package ue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
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
	IPsec     string        `name:"ipsec" enum:"auto,none,user,kernel" default:"auto" help:"IPsec towards the P-CSCF, in user space or by the kernel: ${enum}. With auto in user space if the P-CSCF agrees to it, and in clear if it offers none."`
	ESPUDP    string        `name:"esp-udp" placeholder:"HOST:PORT" help:"Where the P-CSCF takes ESP in UDP; by default port 4500 of its address. Without this flag a phone that may (root) also sends ESP in IP to a P-CSCF on another host."`
	NAT       bool          `name:"nat" help:"Offer UDP-enc-tun too, for a phone behind a NAT."`
	Offer     []string      `placeholder:"ALG/EALG" help:"Algorithms to offer, in order, as hmac-sha-1-96/aes-cbc; by default the profile's."`
	Profile   string        `default:"generic" help:"Whose manners the phone has: generic, ios, iphone, mediatek, pixel, pixel-rows, qualcomm, qualcomm-compact, samsung, samsung-6, zte."`
	Fault     []string      `placeholder:"NAME" help:"What the phone does wrong: wrong-res, wrong-opc, sqn-ahead, wrong-keys, wrong-spi, wrong-verify, no-esp, replay, cut, duplicate, clear-responses; and once registered clear-register, or ip-change (it goes on at the next address)."`
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
	OK             bool        `json:"ok"`
	Status         int         `json:"status"` // of the final response; 0: none came
	Reason         string      `json:"reason,omitempty"`
	Warning        string      `json:"warning,omitempty"`
	Error          string      `json:"error,omitempty"`
	Next           string      `json:"next,omitempty"`
	IMPU           string      `json:"impu"`
	Expires        int         `json:"expires,omitempty"` // seconds
	Challenges     int         `json:"challenges"`
	Resynchronised bool        `json:"resynchronised,omitempty"`
	IPsec          ipsecReport `json:"ipsec"`
	ServiceRoute   []string    `json:"service_route,omitempty"`
	Identities     []string    `json:"identities,omitempty"`
	To             string      `json:"to,omitempty"`
	RegisterMS     int64       `json:"register_ms"`
	CallMS         int64       `json:"call_ms,omitempty"` // from INVITE to 200
}

// ipsecReport is what protects, without keys. Backend is "none" where nothing does.
type ipsecReport struct {
	Backend string     `json:"backend"`
	Alg     string     `json:"alg,omitempty"`
	EAlg    string     `json:"ealg,omitempty"`
	Mod     string     `json:"mod,omitempty"`
	Phone   *endReport `json:"phone,omitempty"`
	PCSCF   *endReport `json:"pcscf,omitempty"`
}

type endReport struct {
	Addr  netip.Addr `json:"addr"`
	PortC uint16     `json:"port_c"`
	PortS uint16     `json:"port_s"`
	SPIC  uint32     `json:"spi_c"`
	SPIS  uint32     `json:"spi_s"`
}

func reportIPsec(p *Protection) ipsecReport {
	if p == nil {
		return ipsecReport{Backend: ipsecNone}
	}
	end := func(e ipsec.End) *endReport { return &endReport{e.Addr, e.PortC, e.PortS, e.SPIC, e.SPIS} }
	return ipsecReport{
		Backend: p.Backend, Alg: p.Pair.Alg.String(), EAlg: p.Pair.EAlg.String(), Mod: p.Mode.String(),
		Phone: end(p.Local), PCSCF: end(p.Remote),
	}
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
	r := &report{IMPU: c.IMPU, IPsec: reportIPsec(nil)}
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
		how := "in clear"
		if i := &r.IPsec; i.Phone != nil {
			how = fmt.Sprintf("over IPsec (%s, %s/%s, ports %d and %d to %d and %d)", i.Backend, i.Alg, i.EAlg, i.Phone.PortC, i.Phone.PortS, i.PCSCF.PortS, i.PCSCF.PortC)
		}
		_, err = fmt.Fprintf(out, "%s registered for %d s %s (challenges: %d), in %d ms\n", r.IMPU, r.Expires, how, r.Challenges, r.RegisterMS)
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
	if err == nil {
		g, err = c.afterwards(ctx, p, g)
	}
	if err != nil {
		return err
	}
	r.OK, r.Status, r.Reason = true, 200, "OK"
	r.RegisterMS = time.Since(start).Milliseconds()
	r.Expires, r.Challenges, r.Resynchronised = int(g.Expires/time.Second), g.Challenges, g.Resynchronised
	r.ServiceRoute, r.Identities, r.IPsec = g.ServiceRoute, g.Identities, reportIPsec(g.Protection)
	err = f(ctx, p, r)
	// What was asked for is done; leaving in order must not change the result.
	bye, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	_ = p.Deregister(bye)
	return err
}

// The faults of a phone that has registered.
const (
	faultClearRegister = "clear-register"
	faultIPChange      = "ip-change"
)

// afterwards does what --fault has a registered phone do, and registers it again.
func (c *Flags) afterwards(ctx context.Context, p *Phone, g *Registration) (*Registration, error) {
	for _, name := range c.Fault {
		switch name {
		case faultClearRegister:
			f := p.cfg.Faults
			f.ClearRegister = true
			if err := p.SetFaults(f); err != nil {
				return nil, err
			}
		case faultIPChange:
			if err := p.Move(p.Addr().Addr().Next()); err != nil {
				return nil, &Error{Doing: "changing the phone's address", Err: err, Next: "give this host the address, or use one of 127.0.0.0/8 with --local"}
			}
		default:
			continue
		}
		var err error
		if g, err = p.Register(ctx); err != nil {
			return nil, err
		}
	}
	return g, nil
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
	cfg.IPsec, cfg.NAT = c.IPsec, c.NAT
	var err error
	if cfg.PCSCF, err = resolve(ctx, c.PCSCF); err != nil {
		return cfg, fmt.Errorf("--pcscf %s: %w; want HOST:PORT", c.PCSCF, err)
	}
	if c.ESPUDP != "" {
		if cfg.ESPUDP, err = resolve(ctx, c.ESPUDP); err != nil {
			return cfg, fmt.Errorf("--esp-udp %s: %w; want HOST:PORT", c.ESPUDP, err)
		}
	}
	for _, o := range c.Offer {
		alg, ealg, _ := strings.Cut(o, "/")
		pair, ok := ipsec.ParsePair(alg, ealg)
		if !ok {
			return cfg, fmt.Errorf("--offer %s: want ALG/EALG, one of %v", o, ipsec.Pairs)
		}
		cfg.Offer = append(cfg.Offer, pair)
	}
	for _, f := range c.Fault {
		if f == faultClearRegister || f == faultIPChange {
			continue
		}
		if err := cfg.Faults.Set(f); err != nil {
			return cfg, fmt.Errorf("--fault: %w, %s", err, faultIPChange)
		}
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
