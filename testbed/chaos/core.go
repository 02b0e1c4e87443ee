package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gocscf/gocscf/testbed/lab"
)

// The key of all SIMs: test set 1 of TS 35.208 clause 4.3.
const (
	simK   = "465b5ce8b199b49faa5f0a2ee238a6bc"
	simOPc = "cd63cb71954a9f4e48a5994e37a02baf"
)

const (
	hss   = "hss"
	icscf = "icscf"
	scscf = "scscf"
	pcscf = "pcscf"
	as    = "as" // an application server, where a fault needs one
)

// services in the order in which they start.
var services = []string{hss, icscf, scscf, pcscf}

// firstIMSI is the first phone's, as testbed load has it.
const firstIMSI = 1010000100000

// criterion sends each MESSAGE of a phone to the application server, and goes on
// without it where it does not answer (SESSION_CONTINUED, TS 29.228 annex B.2.2).
const criterion = "<InitialFilterCriteria><Priority>1</Priority><TriggerPoint><ConditionTypeCNF>1</ConditionTypeCNF>" +
	"<SPT><ConditionNegated>0</ConditionNegated><Group>0</Group><Method>MESSAGE</Method></SPT>" +
	"<SPT><ConditionNegated>0</ConditionNegated><Group>1</Group><SessionCase>0</SessionCase></SPT></TriggerPoint>" +
	"<ApplicationServer><ServerName>sip:%s</ServerName><DefaultHandling>0</DefaultHandling></ApplicationServer></InitialFilterCriteria>"

// core is a running IMS core of four processes.
type core struct {
	bin, dir, domain string
	gm               netip.AddrPort
	tcp              map[string]netip.AddrPort // where a service takes connections: of SIP, the P-CSCF at gm, or of Diameter
	esp              netip.AddrPort            // where the P-CSCF takes ESP in UDP, invalid without IPsec
	http             map[string]string         // where a service tells its metrics
	client           http.Client               // that asks for them
	ways             [2]*relay                 // the HSS's two front ends
	as               netip.AddrPort            // of the application server, if there is one

	mu      sync.Mutex
	running map[string]*process
	lives   map[string]int // how often each has started
}

// process is one life of a service.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how it ended, once ended is closed
}

// state is how a process that has ended did.
func (p *process) state() string { return p.cmd.ProcessState.String() }

// startCore writes the configurations and starts everything. stop must follow.
func startCore(ctx context.Context, cfg Config) (*core, error) {
	dir := cfg.Dir
	c := &core{bin: cfg.Bin, dir: dir, domain: lab.DefaultDomain, http: map[string]string{}, running: map[string]*process{}, lives: map[string]int{}}
	at, err := freePorts(8)
	if err != nil {
		return nil, err
	}
	c.gm, c.tcp = at[0], map[string]netip.AddrPort{pcscf: at[0], icscf: at[1], scscf: at[2], hss: at[3]}
	write := lab.WriteConfig{Dir: dir, Force: true, Domain: c.domain, PCSCF: at[0].String(), ICSCF: at[1].String(), SCSCF: at[2].String(), HSS: at[3].String(), IPsec: "none"}
	if cfg.IPsec {
		write.IPsec, c.esp = "required", at[7]
	}
	if _, err := write.Write(); err != nil {
		return nil, err
	}
	c.ways[0] = newRelay(at[4].String(), at[3].String(), c.domain, 0)
	c.ways[1] = newRelay(at[5].String(), at[3].String(), c.domain, 'x')
	ifc, all := "", services
	if cfg.server {
		c.as = at[6]
		c.http[as] = netip.AddrPortFrom(c.as.Addr(), c.as.Port()+4000).String()
		ifc = fmt.Sprintf(", ifc: ['"+criterion+"']", c.as)
		all = slices.Concat([]string{as}, services)
	}
	var peers strings.Builder
	for _, w := range c.ways {
		fmt.Fprintf(&peers, "\n    - address: %q", w.at)
	}
	for _, name := range services {
		edits := []string{"format: console}", fmt.Sprintf("format: json, file: %q}", c.log(name))}
		switch name {
		case hss:
			// It keeps sequence numbers, as nobody wants each phone to resynchronise.
			edits = append(edits, "subscribers: subscribers.yaml", fmt.Sprintf("state: %q\ngenerate:\n  - {first: \"%015d\", count: %d, k: %q, opc: %q%s}",
				filepath.Join(dir, "sqn.json"), firstIMSI, cfg.Phones, simK, simOPc, ifc))
		case pcscf:
			if cfg.IPsec {
				edits = append(edits, "policy: required", fmt.Sprintf("policy: required, backend: user, udp: %q", c.esp))
			}
		case icscf, scscf:
			edits = append(edits, fmt.Sprintf("\n    - address: %q", at[3]), peers.String())
		}
		if err := c.edit(name, edits...); err != nil {
			return nil, err
		}
	}
	for _, w := range c.ways {
		if err := w.open(); err != nil {
			return nil, errors.Join(err, c.stop())
		}
	}
	for _, name := range all {
		if err := c.start(ctx, name); err != nil {
			return nil, errors.Join(err, c.stop())
		}
	}
	for _, name := range all {
		if err := c.ready(ctx, name); err != nil {
			return nil, errors.Join(err, c.stop())
		}
	}
	return c, nil
}

// edit replaces text in a service's configuration, and learns where its metrics are.
func (c *core) edit(name string, pairs ...string) error {
	path := filepath.Join(c.dir, name+".yaml")
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("changing a configuration: %w", err)
	}
	text := string(b)
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(text, pairs[i]) != 1 {
			return fmt.Errorf("%s does not hold %q once", path, pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	_, rest, _ := strings.Cut(text, "\nhttp: \"")
	c.http[name], _, _ = strings.Cut(rest, `"`)
	return os.WriteFile(path, []byte(text), 0o600)
}

func (c *core) log(name string) string { return filepath.Join(c.dir, name+".log") }

// start starts a service.
func (c *core) start(ctx context.Context, name string) error {
	binary, args := name, []string{"--config", filepath.Join(c.dir, name+".yaml"), "--pid-file", filepath.Join(c.dir, name+".pid")}
	switch name {
	case hss:
		binary, args = "testbed", append([]string{"hss"}, args...)
	case as:
		binary, args = "testbed", []string{"as", "--listen", c.as.String(), "--http", c.http[as], "--log-level", "warn"}
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(c.bin, binary), args...)
	die(cmd)
	out, err := os.OpenFile(filepath.Join(c.dir, name+".stderr"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[name] = p
	c.lives[name]++
	return nil
}

// of gives the running process of a service and how many there have been.
func (c *core) of(name string) (*process, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running[name], c.lives[name]
}

func (c *core) pid(name string) int {
	p, _ := c.of(name)
	if p == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// ready waits until a service says that it is.
func (c *core) ready(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	p, _ := c.of(name)
	for {
		if c.isReady(ctx, name) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", name, ctx.Err())
		case <-p.ended:
			said, _ := os.ReadFile(filepath.Join(c.dir, name+".stderr"))
			return fmt.Errorf("%s has ended before it was ready: %s: %.500s", name, p.state(), said)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *core) isReady(ctx context.Context, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.http[name]+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// end sends a service a signal and waits until it has ended.
func (c *core) end(ctx context.Context, name string, s syscall.Signal) error {
	p, _ := c.of(name)
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("ending %s: %w", name, err)
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		return fmt.Errorf("%s does not end: %w", name, ctx.Err())
	}
	if s == syscall.SIGTERM && p.err != nil {
		return fmt.Errorf("%s was asked to stop and ended with: %w", name, p.err)
	}
	return nil
}

// signal sends a service a signal.
func (c *core) signal(name string, s syscall.Signal) error {
	p, _ := c.of(name)
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("sending %v to %s: %w", s, name, err)
	}
	return nil
}

// ended says which services have ended by themselves.
func (c *core) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for name, p := range c.running {
		select {
		case <-p.ended:
			said, _ := os.ReadFile(filepath.Join(c.dir, name+".stderr"))
			errs = append(errs, fmt.Errorf("%s has ended by itself: %s: %.2000s", name, p.state(), said[max(0, len(said)-2000):]))
		default:
		}
	}
	return errors.Join(errs...)
}

// stopTime is how long a service may take to stop in order.
const stopTime = 30 * time.Second

// stop ends everything in order. What does not stop in its time is killed; nothing runs
// any more when it returns.
func (c *core) stop() error {
	var errs []error
	for _, name := range []string{pcscf, scscf, icscf, hss, as} {
		p, _ := c.of(name)
		if p == nil {
			continue
		}
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		if err := c.end(ctx, name, syscall.SIGTERM); err != nil {
			errs = append(errs, err)
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
		cancel()
	}
	for _, w := range c.ways {
		w.cut()
	}
	return errors.Join(errs...)
}

// freePorts finds ports of 127.0.0.1 that are free for UDP and TCP, each with the one
// beside it for Mw and the one 4000 above for HTTP.
func freePorts(n int) (list []netip.AddrPort, err error) {
	var held []interface{ Close() error }
	defer func() {
		for _, h := range held {
			_ = h.Close()
		}
	}()
	for range 1000 {
		if len(list) == n {
			return list, nil
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("looking for free ports: %w", err)
		}
		held = append(held, ln)
		at := ln.Addr().(*net.TCPAddr).AddrPort()
		good := at.Port() < 60000
		for _, offset := range []uint16{0, 1, 4000} {
			near := netip.AddrPortFrom(at.Addr(), at.Port()+offset)
			u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(near))
			if err != nil {
				good = false
				continue
			}
			held = append(held, u)
			if offset == 0 {
				continue
			}
			if t, err := net.Listen("tcp", near.String()); err != nil {
				good = false
			} else {
				held = append(held, t)
			}
		}
		if good {
			list = append(list, at)
		}
	}
	return nil, errors.New("looking for free ports: there are none")
}
