package as

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Mode is what an application server does with a request.
type Mode string

// The modes. Each answers a third-party REGISTER, and an OPTIONS that asks for the
// AS itself, with 200.
const (
	// Proxy gives a request back to the S-CSCF by its original dialog identifier.
	Proxy Mode = "proxy"
	// B2BUA ends the dialog and begins another one, which takes the same way back.
	B2BUA Mode = "b2bua"
	// Redirect answers 302 with Config.Target.
	Redirect Mode = "redirect"
	// Reject answers Config.Status.
	Reject Mode = "reject"
	// Silent reads and never answers.
	Silent Mode = "silent"
	// Answer takes the call itself, and messages.
	Answer Mode = "answer"
	// RegisterOnly wants to know who is registered and refuses anything else.
	RegisterOnly Mode = "register-only"
)

// Modes lists all modes.
func Modes() []Mode {
	return []Mode{Proxy, B2BUA, Redirect, Reject, Silent, Answer, RegisterOnly}
}

// Config configures an application server.
type Config struct {
	// Listen is the address for UDP and TCP, as IP:PORT or localhost:PORT. It is also
	// what others are told, so it cannot be the unspecified address. Port 0 takes a
	// free one.
	Listen string
	// Mode is what happens to requests.
	Mode Mode
	// Name is the value of the header that shows that a request passed here. Default "as".
	Name string
	// Header is the name of that header. Default X-AS.
	Header string
	// Hosts are further names, as HOST or HOST:PORT, by which a Route may mean this AS.
	Hosts []string
	// RecordRoute keeps a proxy in the dialogs that it has let pass.
	RecordRoute bool
	// Status and Reason are the answer of mode reject. Default 403, with the usual
	// phrase of the status.
	Status int
	Reason string
	// Target is the SIP or tel URI to which mode redirect sends callers.
	Target string
	// OnBehalfOf makes a B2BUA's call one that this user originates: From,
	// P-Asserted-Identity and P-Served-User name the user, and the Route asks the
	// S-CSCF for originating services by `orig` (TS 24.229 5.7.3).
	OnBehalfOf string
	// SCSCF is the SIP URI to which OnBehalfOf sends. Default: where the request came
	// from, by its Route.
	SCSCF string
	// Ring is how long mode answer rings first; 0 answers at once.
	Ring time.Duration
	// RegisterStatus is the answer to a third-party REGISTER. Default 200.
	RegisterStatus int
	// RegisterSilent leaves a third-party REGISTER without any answer.
	RegisterSilent bool
	// Keep is how many requests are kept for Requests, the newest. Default 512.
	Keep int
}

// DefaultConfig is a proxy on a free port of loopback.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:0", Mode: Proxy, Name: "as", Header: "X-AS", RecordRoute: true,
		Status: 403, RegisterStatus: 200, Keep: 512,
	}
}

// fill sets what was left out to its default, but for the booleans.
func (c *Config) fill() {
	d := DefaultConfig()
	for _, f := range [][2]*string{{&c.Listen, &d.Listen}, {&c.Name, &d.Name}, {&c.Header, &d.Header}} {
		if *f[0] == "" {
			*f[0] = *f[1]
		}
	}
	if c.Mode == "" {
		c.Mode = d.Mode
	}
	for _, f := range [][2]*int{{&c.Status, &d.Status}, {&c.RegisterStatus, &d.RegisterStatus}, {&c.Keep, &d.Keep}} {
		if *f[0] == 0 {
			*f[0] = *f[1]
		}
	}
}

// Check names all faults at once.
func (c *Config) Check() error {
	full := *c
	full.fill()
	_, err := full.check()
	return err
}

func (c *Config) check() (netip.AddrPort, error) {
	var faults []error
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	at, err := resolve(c.Listen)
	if err != nil {
		wrong("listen is %q: %w", c.Listen, err)
	}
	if !slices.Contains(Modes(), c.Mode) {
		wrong("mode is %q: it must be one of %v", c.Mode, Modes())
	}
	if c.Status < 300 || c.Status > 699 {
		wrong("status is %d: it must refuse, 300 to 699", c.Status)
	}
	if c.RegisterStatus < 200 || c.RegisterStatus > 699 {
		wrong("register-status is %d: it must be final, 200 to 699", c.RegisterStatus)
	}
	if c.Mode == Redirect && c.Target == "" {
		wrong("target is missing: mode redirect needs a URI")
	}
	for _, f := range []struct{ key, uri string }{{"target", c.Target}, {"on-behalf-of", c.OnBehalfOf}, {"scscf", c.SCSCF}} {
		if f.uri == "" {
			continue
		}
		var u sip.Uri
		if err := sip.ParseUri(f.uri, &u); err != nil || strings.ContainsAny(f.uri, "<> \t\r\n") {
			wrong("%s is %q: it must be a URI like sip:user@host, without angle brackets", f.key, f.uri)
		}
	}
	if c.OnBehalfOf != "" && c.Mode != B2BUA {
		wrong("on-behalf-of needs mode b2bua: another mode does not originate")
	}
	for _, f := range []struct{ key, value string }{{"name", c.Name}, {"header", c.Header}, {"reason", c.Reason}} {
		if strings.ContainsAny(f.value, "\r\n") || f.key != "reason" && strings.ContainsAny(f.value, " \t:;,@<>\"") {
			wrong("%s is %q: it must be one word, and a reason one line", f.key, f.value)
		}
	}
	if c.Keep < 1 || c.Keep > 1<<16 {
		wrong("keep is %d: it must be 1 to 65536", c.Keep)
	}
	return at, errors.Join(faults...)
}

// resolve reads an address that can be told to others.
func resolve(listen string) (netip.AddrPort, error) {
	a, err := net.ResolveUDPAddr("udp", listen)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("want IP:PORT: %w", err)
	}
	at := a.AddrPort()
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	if !at.Addr().IsValid() || at.Addr().IsUnspecified() {
		return netip.AddrPort{}, errors.New("requests come back to this address: give that of an interface, 127.0.0.1 for this machine alone")
	}
	return at, nil
}
