package lab

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/testbed/hss"
	"github.com/gocscf/gocscf/testbed/ue"
)

// wire is the kernel's sockets, with a note of whom they send to.
type wire struct {
	transport.Net
	mu   sync.Mutex
	sent map[netip.AddrPort]int
}

func (w *wire) note(to ...netip.AddrPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range to {
		w.sent[a]++
	}
}

func (w *wire) ListenPacket(local netip.AddrPort) (net.PacketConn, error) {
	pc, err := w.Net.ListenPacket(local)
	return wirePacketConn{pc, w}, err
}

func (w *wire) Dial(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	w.note(remote)
	return w.Net.Dial(ctx, local, remote)
}

type wirePacketConn struct {
	net.PacketConn
	wire *wire
}

func (c wirePacketConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.wire.note(to.(*net.UDPAddr).AddrPort())
	return c.PacketConn.WriteTo(b, to)
}

// TestCoreCommand: the three services run in one process from the configurations of
// three, phones register and call through them, and nothing that goes from one to
// another is seen by the kernel.
func TestCoreCommand(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "conf")
	var at [4]netip.AddrPort
	for i := range at {
		var err error
		if at[i], err = freePort(Loopback, at[:i]); err != nil {
			t.Fatal(err)
		}
		for try := 0; i == 0 && try < 50 && !freeBeside(at[0]); try++ {
			if at[0], err = freePort(Loopback, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := WriteConfig{Dir: dir, Domain: DefaultDomain, PCSCF: at[0].String(), ICSCF: at[1].String(), SCSCF: at[2].String(), HSS: at[3].String(), IPsec: "none"}
	if _, err := write.Write(); err != nil {
		t.Fatal(err)
	}
	mw := mwAddress(t, dir)
	hc := hss.DefaultConfig()
	hc.Domain, hc.Listen, hc.Drain = DefaultDomain, at[3].String(), labDrain
	hc.Subscribers.List = demo()
	h, err := hss.New(hc, hss.Deps{Deps: (&Core{cfg: CoreConfig{}}).deps(NameHSS)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	wg.Go(func() { _ = h.Run(ctx) })

	pid := filepath.Join(dir, "core.pid")
	w := &wire{Net: transport.Kernel(), sent: map[netip.AddrPort]int{}}
	var out bytes.Buffer
	ended := make(chan error, 1)
	wg.Go(func() {
		ended <- (&CoreCmd{Config: dir, PIDFile: pid}).run(ctx, w, &out, &out)
	})
	awaitFile(t, pid, ended)

	known := func(c *ue.Config) { c.PCSCF = at[0] }
	alice, bob := newPhoneOf(t, 0, known), newPhoneOf(t, 1, known)
	mustWork(t, "alice registers", register(alice))
	mustWork(t, "bob registers", register(bob))
	mustWork(t, "alice calls bob", call(alice, demo()[1].IMPUs[0]))
	mustWork(t, "alice writes to bob", func(ctx context.Context) error { return alice.Message(ctx, demo()[1].IMPUs[0], "hello") })

	w.mu.Lock()
	for _, a := range []netip.AddrPort{mw, at[1], at[2]} {
		if w.sent[a] != 0 {
			t.Errorf("%d messages to %v left the process", w.sent[a], a)
		}
	}
	if len(w.sent) == 0 {
		t.Error("nothing was sent to the phones")
	}
	w.mu.Unlock()
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the services end with %v\n%s", err, &out)
	}
	for _, name := range []string{NameP, NameI, NameS} {
		if !strings.Contains(out.String(), name+"\tstopped") {
			t.Errorf("%s does not say that it has stopped:\n%s", name, &out)
		}
	}
	if _, err := os.Stat(pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the pid file is still there: %v", err)
	}
}

// freeBeside reports whether the port beside a P-CSCF's, where it listens towards the
// core, is free, too: an ephemeral port of somebody else's may be there.
func freeBeside(gm netip.AddrPort) bool {
	mw := netip.AddrPortFrom(gm.Addr(), gm.Port()+1)
	ln, err := net.Listen("tcp", mw.String())
	if err != nil {
		return false
	}
	defer ln.Close()
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(mw))
	if err != nil {
		return false
	}
	return udp.Close() == nil
}

// mwAddress reads where the P-CSCF listens towards the core, and gives every service
// another port for its metrics: one that is free.
func mwAddress(t *testing.T, dir string) netip.AddrPort {
	t.Helper()
	var mw netip.AddrPort
	for _, name := range []string{NameP, NameI, NameS} {
		file := filepath.Join(dir, name+".yaml")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if m := regexp.MustCompile(`mw: "(.*)"`).FindSubmatch(b); m != nil {
			mw = netip.MustParseAddrPort(string(m[1]))
		}
		b = regexp.MustCompile(`(?m)^http: ".*"`).ReplaceAll(b, []byte(`http: "127.0.0.1:0"`))
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !mw.IsValid() {
		t.Fatal("pcscf.yaml has no mw")
	}
	return mw
}

func awaitFile(t *testing.T, file string, ended <-chan error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(20 * time.Second); ; {
		if _, err := os.Stat(file); err == nil {
			return
		}
		select {
		case <-tick.C:
		case err := <-ended:
			t.Fatalf("the services have ended: %v", err)
		case <-timeout:
			t.Fatal("the services do not get ready")
		}
	}
}

// TestCoreCommandFails: what is wrong with one service ends them all, with the exit
// code that it has alone.
func TestCoreCommandFails(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		name, old, text string
		code            int
		says            string
	}{
		{"a key that is none", "log:", "nonsense: 1\nlog:", node.ExitConfig, "scscf: "},
		{"an address that is taken", "listen:", "listen: \"" + taken.Addr().String() + "\" #", node.ExitFailed, "scscf: starting"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "conf")
			var at [4]netip.AddrPort
			for i := range at {
				if at[i], err = freePort(Loopback, at[:i]); err != nil {
					t.Fatal(err)
				}
			}
			write := WriteConfig{Dir: dir, Domain: DefaultDomain, PCSCF: at[0].String(), ICSCF: at[1].String(), SCSCF: at[2].String(), HSS: at[3].String(), IPsec: "none"}
			if _, err := write.Write(); err != nil {
				t.Fatal(err)
			}
			mwAddress(t, dir)
			file := filepath.Join(dir, "scscf.yaml")
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b = bytes.Replace(b, []byte("\n"+tt.old), []byte("\n"+tt.text), 1)
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			err = (&CoreCmd{Config: dir}).run(t.Context(), transport.Kernel(), &out, &out)
			var code coreError
			if !errors.As(err, &code) || code.ExitCode() != tt.code || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want exit code %d", err, tt.code)
			}
		})
	}
}
