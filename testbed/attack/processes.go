package attack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/lab"
)

// Processes are the three services and the HSS as users run them, each with a
// configuration that `testbed lab --write-config` has written.
type Processes struct {
	Target  *Target
	dir     string
	running []*process
}

// process is a service.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan error
}

// startTime bounds how long a service takes to be ready.
const startTime = 30 * time.Second

// ProcessesConfig says what StartProcesses starts.
type ProcessesConfig struct {
	Bin    string // the directory of pcscf, icscf, scscf and testbed
	Dir    string // where configurations and logs go
	Crooks int
	// Victims is in the names of how many subscribers strangers register.
	Victims int
	// IPsec has the P-CSCF demand it, in user space, from phones that have it there, too.
	IPsec bool
	Seed  uint64
}

// StartProcesses starts the services, with an Interceptor on Cx.
func StartProcesses(ctx context.Context, cfg ProcessesConfig) (*Processes, error) {
	p := &Processes{dir: cfg.Dir, Target: &Target{Domain: lab.DefaultDomain, Victims: cfg.Victims}}
	if err := p.start(ctx, cfg); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

func (p *Processes) start(ctx context.Context, cfg ProcessesConfig) error {
	t := p.Target
	var at [5]netip.AddrPort // Gm, I, S, HSS, ESP in UDP
	for i := range at {
		a, err := freePort(at[:i])
		if err != nil {
			return err
		}
		at[i] = a
	}
	t.Gm, t.Mw, t.I, t.S = at[0], netip.AddrPortFrom(at[0].Addr(), at[0].Port()+1), at[1], at[2]
	w := lab.WriteConfig{Dir: p.dir, Force: true, Domain: t.Domain, PCSCF: at[0].String(), ICSCF: at[1].String(), SCSCF: at[2].String(), HSS: at[3].String(), IPsec: "none"}
	if cfg.IPsec {
		w.IPsec = "required"
	}
	if _, err := w.Write(); err != nil {
		return err
	}
	if cfg.IPsec {
		if err := p.edit("pcscf.yaml", "policy: required", fmt.Sprintf("policy: required, backend: user, udp: %q", at[4])); err != nil {
			return err
		}
		if err := t.Protect(at[4]); err != nil {
			return err
		}
	}
	if rule := Victims(t.Victims); rule.Count > 0 {
		err := p.edit("hss.yaml", "subscribers: subscribers.yaml", fmt.Sprintf("subscribers: subscribers.yaml\ngenerate:\n  - {first: %q, count: %d, msisdn: %q, k: %q, opc: %q}",
			rule.First, rule.Count, rule.MSISDN, string(rule.K), string(rule.OPc)))
		if err != nil {
			return err
		}
	}
	var err error
	if t.Peer, err = StartPeer(lab.Loopback, cfg.Seed); err != nil {
		return err
	}
	t.Honest, t.Crooks = Subscribers(t.Domain, cfg.Crooks, t.Peer.Addr())
	if err := os.WriteFile(filepath.Join(p.dir, "subscribers.yaml"), subscribersFile(append(t.Honest[:], t.Crooks...)), 0o600); err != nil {
		return fmt.Errorf("writing the subscribers: %w", err)
	}
	if t.Cx, err = StartInterceptor(lab.Loopback, at[3], cfg.Seed); err != nil {
		return err
	}
	for _, name := range []string{"icscf.yaml", "scscf.yaml"} {
		if err := p.edit(name, at[3].String(), t.Cx.Addr().String()); err != nil {
			return err
		}
	}
	for _, s := range []struct {
		name string
		args []string
		port uint16
	}{{"testbed", []string{"hss", "--config", filepath.Join(p.dir, "hss.yaml")}, at[3].Port()}, {"scscf", nil, at[2].Port()}, {"icscf", nil, at[1].Port()}, {"pcscf", nil, at[0].Port()}} {
		if s.args == nil {
			s.args = []string{"--config", filepath.Join(p.dir, s.name+".yaml")}
		}
		base := fmt.Sprintf("http://127.0.0.1:%d", s.port+4000)
		if err := p.run(ctx, filepath.Join(cfg.Bin, s.name), s.name, s.args, base+"/readyz"); err != nil {
			return err
		}
		if s.name != "testbed" {
			t.Services = append(t.Services, Scraped(s.name, base))
		}
	}
	return nil
}

// edit replaces what a configuration has once.
func (p *Processes) edit(name, old, with string) error {
	file := filepath.Join(p.dir, name)
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("changing a configuration: %w", err)
	}
	if n := bytes.Count(b, []byte(old)); n != 1 {
		return fmt.Errorf("changing %s: it holds %q %d times, want once", file, old, n)
	}
	return os.WriteFile(file, bytes.ReplaceAll(b, []byte(old), []byte(with)), 0o644)
}

// run starts a service, whose output goes to a file, and waits until it is ready.
func (p *Processes) run(ctx context.Context, file, name string, args []string, ready string) error {
	out, err := os.Create(filepath.Join(p.dir, name+".log"))
	if err != nil {
		return err
	}
	defer out.Close() // the process has it
	s := &process{name: name, cmd: exec.Command(file, args...), done: make(chan error, 1)}
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w; make build puts it there", name, err)
	}
	p.running = append(p.running, s)
	go func() { s.done <- s.cmd.Wait() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(startTime); ; {
		if resp, err := http.Get(ready); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-s.done:
			s.done <- err
			return fmt.Errorf("%s has ended at its start (%w): %s", name, err, p.tail(name))
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			if now.After(late) {
				return fmt.Errorf("%s is not ready after %v: %s", name, startTime, p.tail(name))
			}
		}
	}
}

// Crashed says which services have ended by themselves, nil when none has.
func (p *Processes) Crashed() error {
	var errs []error
	for _, s := range p.running {
		select {
		case err := <-s.done:
			s.done <- err
			errs = append(errs, fmt.Errorf("%s has ended: %w: %s", s.name, err, p.tail(s.name)))
		default:
		}
	}
	return errors.Join(errs...)
}

// tail is the end of a service's log.
func (p *Processes) tail(name string) string {
	b, err := os.ReadFile(filepath.Join(p.dir, name+".log"))
	if err != nil {
		return err.Error()
	}
	if i := bytes.LastIndex(b, []byte("\npanic:")); i >= 0 {
		b = b[i:]
		return string(b[:min(len(b), 4000)])
	}
	return string(b[max(0, len(b)-2000):])
}

// Stop ends everything in order. The error says what did not end as it should.
func (p *Processes) Stop() error {
	err := p.Crashed()
	for i := len(p.running) - 1; i >= 0; i-- {
		s := p.running[i]
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case e := <-s.done:
			if e != nil && err == nil {
				err = fmt.Errorf("stopping %s: %w", s.name, e)
			}
		case <-time.After(startTime):
			_ = s.cmd.Process.Kill()
			err = errors.Join(err, fmt.Errorf("%s did not end within %v of SIGTERM", s.name, startTime))
		}
	}
	if p.Target.Cx != nil {
		p.Target.Cx.Close()
	}
	if p.Target.Peer != nil {
		p.Target.Peer.Close()
	}
	return errors.Join(err, p.Target.Close())
}

// freePort finds a port of loopback such that it, the next one and that 4000 above
// are free, as `testbed lab --write-config` uses them.
func freePort(taken []netip.AddrPort) (netip.AddrPort, error) {
	for range 100 {
		port := uint16(10000 + 2*rand.IntN(10000))
		good := true
		for _, t := range taken {
			good = good && t.Port() != port && t.Port() != port+4000 && t.Port()+4000 != port
		}
		for _, n := range [...]uint16{port, port + 1, port + 4000} {
			ln, err := net.Listen("tcp", netip.AddrPortFrom(lab.Loopback, n).String())
			if err != nil {
				good = false
				continue
			}
			ln.Close()
		}
		if good {
			return netip.AddrPortFrom(lab.Loopback, port), nil
		}
	}
	return netip.AddrPort{}, errors.New("looking for free ports of 127.0.0.1: 100 tries found none")
}

// subscribersFile writes subscribers as hss.yaml names them.
func subscribersFile(list []hss.Subscriber) []byte {
	var b strings.Builder
	b.WriteString("subscribers:\n")
	for _, s := range list {
		fmt.Fprintf(&b, "  - impi: %s\n    impus: [\"%s\"]\n    k: \"%s\"\n    opc: \"%s\"\n", s.IMPI, strings.Join(s.IMPUs, `", "`), string(s.K), string(s.OPc))
		for _, c := range s.IFC {
			fmt.Fprintf(&b, "    ifc:\n      - '%s'\n", strings.ReplaceAll(strings.ReplaceAll(c, "'", "''"), "\n", " "))
		}
	}
	return []byte(b.String())
}
