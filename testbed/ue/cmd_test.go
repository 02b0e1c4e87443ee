package ue

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/gocscf/gocscf/ims/sip/transport"
)

// run parses and runs a command line as "testbed ue …" does.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var cli struct {
		Register RegisterCmd `cmd:""`
		Call     CallCmd     `cmd:""`
	}
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	k, err := kong.New(&cli, kong.Exit(func(int) { t.Error("kong exits") }), kong.Writers(io.Discard, io.Discard),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.BindTo(&out, (*io.Writer)(nil)))
	if err != nil {
		t.Fatal(err)
	}
	kctx, err := k.Parse(args)
	if err != nil {
		return "", err
	}
	err = kctx.Run()
	return out.String(), err
}

// The commands over the loopback, as scripts use them.
func TestCommands(t *testing.T) {
	w := newNetwork(t, transport.Kernel(), netip.MustParseAddrPort("127.0.0.1:0"))
	w.set(func() { w.noServer = true })
	bob, err := New(Config{PCSCF: w.addr, Domain: domain, IMPI: "bob@" + domain, IMPU: "sip:bob@" + domain, K: testK, OPc: testOPc})
	if err != nil {
		t.Fatal(err)
	}
	defer bob.Close()
	if _, err := bob.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	const k, opc = "465b5ce8b199b49faa5f0a2ee238a6bc", "cd63cb71954a9f4e48a5994e37a02baf"
	args := func(command, opc string, more ...string) []string {
		return append([]string{command, "--pcscf", w.addr.String(), "--domain", domain, "--impi", "alice@" + domain,
			"--impu", "sip:alice@" + domain, "--k", k, "--opc", opc, "--json"}, more...)
	}
	read := func(t *testing.T, out string) report {
		t.Helper()
		var r report
		d := json.NewDecoder(strings.NewReader(out))
		if err := d.Decode(&r); err != nil || d.More() || strings.Count(out, "\n") != 1 {
			t.Fatalf("not one JSON object: %v\n%s", err, out)
		}
		if strings.Contains(out, k) || strings.Contains(out, opc) {
			t.Error("keys in the output")
		}
		return r
	}
	t.Run("register", func(t *testing.T) {
		out, err := run(t, args("register", opc, "--sqn", "000000000001", "--amf", "8000")...)
		r := read(t, out)
		if err != nil || !r.OK || r.Status != 200 || r.Expires != 3600 || r.Challenges != 1 || len(r.Identities) != 2 || r.IPsec.Backend != "none" {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("register over TCP", func(t *testing.T) {
		if out, err := run(t, args("register", opc, "--transport", "tcp")...); err != nil || !read(t, out).OK {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("another OPc", func(t *testing.T) {
		out, err := run(t, args("register", k)...)
		if r := read(t, out); err == nil || r.OK || r.Status != 403 || !strings.Contains(r.Next, "compare K and OPc") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("call", func(t *testing.T) {
		out, err := run(t, args("call", opc, "--to", "sip:bob@"+domain, "--duration", "10ms")...)
		if r := read(t, out); err != nil || !r.OK || r.Status != 200 || r.To == "" {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("call nobody", func(t *testing.T) {
		out, err := run(t, args("call", opc, "--to", "tel:+1")...)
		if r := read(t, out); err == nil || r.OK || r.Status != 404 {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("time-out", func(t *testing.T) {
		silent, err := transport.Kernel().ListenPacket(netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		out, err := run(t, args("register", opc, "--timeout", "100ms", "--pcscf", silent.LocalAddr().String())...)
		if r := read(t, out); err == nil || r.OK || r.Status != 0 || !strings.Contains(r.Error, "--timeout 100ms") {
			t.Errorf("%v: %s", err, out)
		}
	})
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"IPsec that the P-CSCF has not", args("register", opc, "--ipsec", "user"), "no Security-Server"},
		{"bad offer", args("register", opc, "--offer", "rot13/null"), "--offer rot13/null"},
		{"bad fault", args("register", opc, "--fault", "asleep"), "ip-change"},
		{"bad way for ESP", args("register", opc, "--esp-udp", "nowhere"), "want HOST:PORT"},
		{"OPc and OP", args("register", opc, "--op", opc), "--opc and --op"},
		{"bad SQN", args("register", opc, "--sqn", "xyz"), "--sqn"},
		{"bad P-CSCF", args("register", opc, "--pcscf", "nowhere"), "want HOST:PORT"},
		{"bad key", args("register", "cd63zz"), "opc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := run(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}
