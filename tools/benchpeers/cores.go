package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The cores, as the table names them.
const (
	kamailioCore = "kamailio"
	gocscfCore   = "gocscf"
	oneProcess   = "core" // testbed core: the functions in one process
	floorCore    = "floor"
)

const (
	domain = "ims.mnc001.mcc001.3gppnetwork.org"
	// Key and OPc of TS 35.208 4.3 set 1, which all subscribers have.
	keyK   = "465b5ce8b199b49faa5f0a2ee238a6bc"
	keyOPc = "cd63cb71954a9f4e48a5994e37a02baf"

	firstIMSI = 1010000100000

	servicesCPU, phonesCPU = "0", "1"
)

// core is one that runs, with its HSS.
type core struct {
	s     *settings
	name  string
	dir   string // configurations, logs and pid files
	cpu   string // the services' processor
	net   string // the addresses are net + host
	pcscf string
	procs []*process
	watch []string // NAME=PIDFILE of the services, for testbed load
}

// process is one that was started.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// start starts a core with its services on a processor. n tells apart those that run at
// the same time.
func start(ctx context.Context, s *settings, name, cpu string, n int) (c *core, err error) {
	c = &core{s: s, name: name, cpu: cpu, net: fmt.Sprintf("127.0.%d.", 70+n)}
	c.pcscf = c.net + "11:5060"
	// The name is short because a socket's path has 107 octets at most.
	if c.dir, err = os.MkdirTemp("", "peers-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(c.dir, 0o755); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop())
		}
	}()
	if err := c.configure(ctx); err != nil {
		return c, err
	}
	if err := c.run("hss", phonesCPU, nil, s.bin("testbed"), "hss", "--config", c.file("hss.yaml"), "--pid-file", c.file("hss.pid")); err != nil {
		return c, err
	}
	if err := c.await(ctx, "hss"); err != nil {
		return c, err
	}
	switch name {
	case kamailioCore:
		return c, c.startKamailio(ctx)
	case oneProcess:
		// A file of its own, as what it shares with HSS and phones would be in the
		// proportional set size of all.
		b, err := os.ReadFile(s.bin("testbed"))
		if err == nil {
			err = os.WriteFile(c.file("testbed"), b, 0o755)
		}
		if err != nil {
			return c, err
		}
		err = c.run("core", cpu, nil, c.file("testbed"), "core", "--config", c.dir, "--pid-file", c.file("core.pid"))
		if err != nil {
			return c, err
		}
		c.watch = []string{"core=" + c.file("core.pid")}
		return c, c.await(ctx, "core")
	}
	for _, r := range []string{"scscf", "icscf", "pcscf"} {
		if err := c.run(r, cpu, nil, s.bin(r), "--config", c.file(r+".yaml"), "--pid-file", c.file(r+".pid")); err != nil {
			return c, err
		}
		c.watch = append(c.watch, r+"="+c.file(r+".pid"))
	}
	for _, r := range []string{"scscf", "icscf", "pcscf"} {
		if err := c.await(ctx, r); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *core) file(name string) string { return filepath.Join(c.dir, name) }

// configure writes the configurations that testbed lab writes for users, with the log
// in a file and the HSS's subscribers made by a rule.
func (c *core) configure(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, c.s.bin("testbed"), "lab", "--write-config", c.dir, "--domain", domain, "--ipsec", "none",
		"--pcscf", c.pcscf, "--icscf", c.net+"12:5060", "--scscf", c.net+"13:5060", "--hss", c.net+"14:3868").CombinedOutput()
	if err != nil {
		return fmt.Errorf("writing the configurations: %w: %s", err, out)
	}
	for _, name := range []string{"pcscf", "icscf", "scscf", "hss"} {
		b, err := os.ReadFile(c.file(name + ".yaml"))
		if err != nil {
			return err
		}
		const log = "log: {level: info, format: console}"
		if strings.Count(string(b), log) != 1 {
			return fmt.Errorf("%s.yaml has no %q", name, log)
		}
		level := "info"
		if name == "hss" { // it shares the phones' processor
			level = "warn"
			b = fmt.Appendf(b, "generate:\n  - {first: \"%015d\", count: %d, k: %q, opc: %q}\n", firstIMSI, c.s.subscribers, keyK, keyOPc)
		}
		text := strings.Replace(string(b), log, fmt.Sprintf("log: {level: %s, format: console, file: %q}", level, c.file(name+".log")), 1)
		if err := os.WriteFile(c.file(name+".yaml"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// beside is the environment of HSS and phones: they collect no garbage up to 2 GiB, in which
// their hundreds of thousands of subscribers are. A collection of the HSS took its processor
// for a second and more, and what waited for it was counted as the services' latency.
func beside() []string { return append(os.Environ(), "GOGC=off", "GOMEMLIMIT=2GiB") }

// run starts a process on a processor.
func (c *core) run(name, cpu string, as *syscall.Credential, command string, args ...string) error {
	p := &process{name: name, done: make(chan struct{})}
	p.cmd = exec.Command("taskset", append([]string{"-c", cpu, command}, args...)...)
	log, err := os.Create(c.file(name + ".out"))
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = c.dir, log, log
	if name == "hss" {
		p.cmd.Env = beside()
	}
	// taskset becomes the command. Should we be killed, that ends.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	c.procs = append(c.procs, p)
	return nil
}

// await waits for the pid file that a service writes when it is ready.
func (c *core) await(ctx context.Context, name string) error {
	return c.until(ctx, name, func() error {
		b, err := os.ReadFile(c.file(name + ".pid"))
		if err == nil && len(b) == 0 {
			err = errors.New("its pid file is empty")
		}
		return err
	})
}

// until waits until check is content with a process.
func (c *core) until(ctx context.Context, name string, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		for _, p := range c.procs {
			select {
			case <-p.done:
				text, _ := os.ReadFile(c.file(p.name + ".out"))
				return fmt.Errorf("%s ended: %w: %.500s", p.name, errors.Join(p.err, err), text)
			default:
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", name, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends all processes and waits for them.
func (c *core) stop() error {
	var errs []error
	for i := len(c.procs) - 1; i >= 0; i-- {
		p := c.procs[i]
		group := p.cmd.Process.Pid
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(15 * time.Second):
			if c.name == kamailioCore { // its own affair: what was measured is not touched by it
				fmt.Fprintf(os.Stderr, "Kamailio's %s did not end within 15 s and was killed\n", p.name)
				break
			}
			errs = append(errs, fmt.Errorf("%s did not end and was killed", p.name))
		}
		_ = syscall.Kill(-group, syscall.SIGKILL) // children that outlive it
		<-p.done
		if p.err != nil && c.name != kamailioCore {
			errs = append(errs, fmt.Errorf("%s has ended with: %w", p.name, p.err))
		}
	}
	if c.s.keep {
		fmt.Fprintln(os.Stderr, "kept", c.dir)
	} else {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}

// account is who Kamailio runs as. Never root: as such ims_ipsec_pcscf deletes every
// IPsec association and policy of the network namespace.
func account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

// Allocator and MiB of shared memory of Kamailio's roles, chosen by measuring: tlsf may
// be used for the I-CSCF alone (see testbed/interop/kamailio/README.md), where fm slows
// down once a burst has fragmented the pool.
var kamailioSizes = map[string][2]string{"pcscf": {"fm", "1024"}, "icscf": {"tlsf", "256"}, "scscf": {"fm", "2048"}}

// startKamailio starts its three roles with the configuration of testbed/interop, tuned
// for one processor and many subscribers: two processes for UDP and for Diameter each
// (more of them only switch among themselves), 2^16 slots in the user tables, errors
// only in the log.
func (c *core) startKamailio(ctx context.Context) error {
	as, err := account()
	if err != nil {
		return err
	}
	from := filepath.Join(c.s.root, "testbed", "interop", "kamailio")
	binary, err := find("kamailio")
	if err != nil {
		return err
	}
	for i, r := range []string{"pcscf", "icscf", "scscf"} {
		at := c.net + "1" + strconv.Itoa(i+1)
		fill := strings.NewReplacer(
			"@ROLE@", r, "@ID@", strconv.Itoa(i+1), "@STATE@", c.dir, "@DOMAIN@", domain, "@IP@", at, "@PORT@", "5060",
			"@ICSCF_IP@", c.net+"12", "@ICSCF_PORT@", "5060", "@SCSCF_URI@", `sip\:`+c.net+`13\:5060`, "@HSS_IP@", c.net+"14", "@HSS_PORT@", "3868",
			"@CDP_PORT@", "3869", "@DEBUG@", "-1", "@CHILDREN@", "2", "@TCP_CHILDREN@", "1", "@CDP_WORKERS@", "2", "@CDP_QUEUE@", "256", "@UL_HASH@", "16",
		).Replace
		copied := map[string]string{"cfg/common.in": "common-" + r + ".cfg", "cfg/" + r + ".cfg.in": r + ".cfg"}
		if r != "pcscf" {
			copied["cfg/cdp-"+r+".xml.in"] = "cdp-" + r + ".xml"
		}
		for _, table := range []string{"version", "s_cscf_capabilities", "s_cscf.in", "nds_trusted_domains.in"} {
			copied["db/"+table] = "db/" + strings.TrimSuffix(table, ".in")
		}
		for source, target := range copied {
			b, err := os.ReadFile(filepath.Join(from, source))
			if err == nil {
				err = os.MkdirAll(filepath.Dir(c.file(target)), 0o755)
			}
			if err == nil {
				err = os.WriteFile(c.file(target), []byte(fill(string(b))), 0o644)
			}
			if err != nil {
				return fmt.Errorf("writing Kamailio's configuration: %w", err)
			}
		}
	}
	if as != nil { // the control sockets are made in the directory itself
		if err := os.Chown(c.dir, int(as.Uid), int(as.Gid)); err != nil {
			return err
		}
	}
	for _, r := range []string{"scscf", "icscf", "pcscf"} {
		size := kamailioSizes[r]
		err := c.run(r, c.cpu, as, binary, "-f", c.file(r+".cfg"), "-x", size[0], "-X", "fm", "-m", size[1], "-M", "16", "-Y", c.dir, "-DD", "-E")
		if err != nil {
			return err
		}
		pid := strconv.Itoa(c.procs[len(c.procs)-1].cmd.Process.Pid)
		if err := os.WriteFile(c.file(r+".pid"), []byte(pid), 0o644); err != nil {
			return err
		}
		c.watch = append(c.watch, r+"="+c.file(r+".pid"))
	}
	kamcmd, err := find("kamcmd")
	if err != nil {
		return err
	}
	for i, r := range []string{"pcscf", "icscf", "scscf"} {
		err := c.until(ctx, r, func() error {
			if err := answers(c.net + "1" + strconv.Itoa(i+1) + ":5060"); err != nil || r == "pcscf" {
				return err
			}
			out, err := exec.CommandContext(ctx, kamcmd, "-s", "unix:"+c.file(r+".ctl"), "cdp.list_peers").CombinedOutput()
			if err == nil && !strings.Contains(string(out), "I_Open") {
				err = errors.New("its HSS is not connected")
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// answers asks by OPTIONS.
func answers(at string) error {
	conn, err := net.Dial("udp", at)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return err
	}
	here := conn.LocalAddr().String()
	_, err = fmt.Fprintf(conn, "OPTIONS sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK%[3]x\r\nMax-Forwards: 10\r\n"+
		"From: <sip:%[2]s>;tag=1\r\nTo: <sip:%[1]s>\r\nCall-ID: %[3]x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", at, here, time.Now().UnixNano())
	if err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err == nil && !strings.HasPrefix(string(buf[:n]), "SIP/2.0 200 ") {
		err = fmt.Errorf("OPTIONS was answered %.30q", buf[:n])
	}
	return err
}
