//go:build integration

package kamailio

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Role is a function that a Kamailio plays.
type Role string

// The roles, in the order in which Start starts them.
const (
	SCSCF Role = "scscf"
	ICSCF Role = "icscf"
	PCSCF Role = "pcscf"
)

// Options say where each part of the core listens, be it a Kamailio or not.
// All addresses are of the loopback network.
type Options struct {
	Domain              string
	PCSCF, ICSCF, SCSCF netip.AddrPort // UDP and TCP
	HSS                 netip.AddrPort // must listen before Start: a connection that fails is tried again after 5 s only
}

// Set is a running set of roles.
type Set struct {
	t     testing.TB
	dir   string
	procs []*process
}

//go:embed cfg db
var files embed.FS

// Start starts roles, waits until they answer SIP and have their Diameter
// connections, and stops them when the test ends. A failure is fatal; that
// Kamailio is not installed is one.
func Start(t testing.TB, o Options, roles ...Role) *Set {
	t.Helper()
	binary := find(t, "kamailio")
	find(t, "kamcmd")
	s := &Set{t: t, dir: stateDir(t)}
	s.fill(o)
	t.Cleanup(s.stop)
	for _, r := range []Role{SCSCF, ICSCF, PCSCF} {
		for _, wanted := range roles {
			if r == wanted {
				s.procs = append(s.procs, s.start(binary, r))
			}
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, p := range s.procs {
		s.await(p, o.address(p.role), deadline)
	}
	return s
}

// find looks where Debian puts daemons too, which is not in everybody's PATH.
func find(t testing.TB, name string) string {
	t.Helper()
	for _, try := range []string{name, "/usr/sbin/" + name} {
		if p, err := exec.LookPath(try); err == nil {
			return p
		}
	}
	t.Fatalf("%s is not installed: install the packages of .ci/packages", name)
	return ""
}

// account is who Kamailio runs as, nil for ourselves. Never root: as such
// ims_ipsec_pcscf deletes every IPsec association and policy of the network
// namespace.
func account(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatalf("looking for a user to run Kamailio as: %v", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatalf("reading the ids of user nobody: %v", err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// stateDir makes a directory that Kamailio can write to. It is not t.TempDir,
// whose parent only we may enter; and its name is short, because a socket's path
// has 107 octets at most.
func stateDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kam-ims-")
	if err != nil {
		t.Fatalf("making a directory for Kamailio: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("removing Kamailio's directory: %v", err)
		}
	})
	return dir
}

func (o *Options) address(r Role) netip.AddrPort {
	switch r {
	case PCSCF:
		return o.PCSCF
	case ICSCF:
		return o.ICSCF
	default:
		return o.SCSCF
	}
}

// fill writes the configurations of all roles. Templates of a role end in .in.
func (s *Set) fill(o Options) {
	s.t.Helper()
	write := func(name, text string) {
		file := filepath.Join(s.dir, name)
		err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644))
		if err != nil {
			s.t.Fatalf("writing Kamailio's configuration: %v", err)
		}
	}
	for i, r := range []Role{PCSCF, ICSCF, SCSCF} {
		at := o.address(r)
		fill := strings.NewReplacer(
			"@ROLE@", string(r), "@ID@", strconv.Itoa(i+1), "@STATE@", s.dir, "@DOMAIN@", o.Domain,
			"@IP@", at.Addr().String(), "@PORT@", port(at),
			"@ICSCF_IP@", o.ICSCF.Addr().String(), "@ICSCF_PORT@", port(o.ICSCF),
			// A colon parts the columns of db_text.
			"@SCSCF_URI@", `sip\:`+o.SCSCF.Addr().String()+`\:`+port(o.SCSCF),
			"@HSS_IP@", o.HSS.Addr().String(), "@HSS_PORT@", port(o.HSS), "@CDP_PORT@", "3869",
			"@DEBUG@", "-1", "@CHILDREN@", "2", "@TCP_CHILDREN@", "1", "@CDP_WORKERS@", "2", "@CDP_QUEUE@", "64", "@UL_HASH@", "9",
		).Replace
		for _, name := range []string{"common.in", string(r) + ".cfg.in", "cdp-" + string(r) + ".xml.in"} {
			text, err := files.ReadFile("cfg/" + name)
			if errors.Is(err, fs.ErrNotExist) { // the P-CSCF has no Diameter
				continue
			}
			if name = strings.TrimSuffix(name, ".in"); name == "common" {
				name += "-" + string(r) + ".cfg"
			}
			write(name, fill(string(text)))
		}
		tables, err := fs.Glob(files, "db/*")
		if err != nil {
			s.t.Fatal(err)
		}
		for _, name := range tables {
			text, err := files.ReadFile(name)
			if err != nil {
				s.t.Fatal(err)
			}
			write(path.Join("db", strings.TrimSuffix(path.Base(name), ".in")), fill(string(text)))
		}
	}
	if cred := account(s.t); cred != nil {
		// The control sockets are made in the directory itself.
		if err := os.Chown(s.dir, int(cred.Uid), int(cred.Gid)); err != nil {
			s.t.Fatalf("giving Kamailio its directory: %v", err)
		}
	}
}

func port(a netip.AddrPort) string { return strconv.Itoa(int(a.Port())) }

// await waits until p answers SIP and, if it has any, its Diameter peer is open.
func (s *Set) await(p *process, at netip.AddrPort, deadline time.Time) {
	s.t.Helper()
	var why error
	for time.Now().Before(deadline) {
		select {
		case <-p.done:
			s.t.Fatalf("Kamailio's %s ended: %v", p.role, p.err)
		default:
		}
		if why = answers(at); why == nil && p.role != PCSCF {
			why = s.connected(p.role)
		}
		if why == nil {
			return
		}
		time.Sleep(20 * time.Millisecond) // of another process, in real time
	}
	s.t.Fatalf("Kamailio's %s is not ready: %v", p.role, why)
}

// answers asks by OPTIONS.
func answers(at netip.AddrPort) error {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return err
	}
	here := c.LocalAddr().String()
	_, err = fmt.Fprintf(c, "OPTIONS sip:%[1]v SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK%[3]x\r\nMax-Forwards: 10\r\n"+
		"From: <sip:%[2]s>;tag=1\r\nTo: <sip:%[1]v>\r\nCall-ID: %[3]x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", at, here, time.Now().UnixNano())
	if err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	if line, _, _ := strings.Cut(string(buf[:n]), "\r\n"); !strings.HasPrefix(line, "SIP/2.0 200 ") {
		return fmt.Errorf("OPTIONS was answered %q", line)
	}
	return nil
}

// connected asks for the state of the Diameter peer.
func (s *Set) connected(r Role) error {
	out, err := s.Control(r, "cdp.list_peers")
	if err != nil {
		return err
	}
	if !strings.Contains(out, "I_Open") {
		return fmt.Errorf("the HSS is not connected: %s", out)
	}
	return nil
}

// Control runs a kamcmd command, as ulscscf.showimpu, in a role.
func (s *Set) Control(r Role, command ...string) (string, error) {
	args := append([]string{"-s", "unix:" + filepath.Join(s.dir, string(r)+".ctl")}, command...)
	out, err := exec.Command(find(s.t, "kamcmd"), args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kamcmd %s at the %s: %w: %s", strings.Join(command, " "), r, err, out)
	}
	return string(out), nil
}
