//go:build integration

package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/lab"
	"github.com/gocscf/gocscf/testbed/ue"
)

// process is a P-CSCF as a process of its own.
type process struct {
	cmd    *exec.Cmd
	stderr *strings.Builder
}

// startProcess starts one and waits until it is ready.
func startProcess(t *testing.T, config string) *process {
	t.Helper()
	pid := filepath.Join(t.TempDir(), "pid")
	p := &process{exec.Command("/bin/pcscf", "--config", config, "--pid-file", pid), &strings.Builder{}}
	p.cmd.Stdout, p.cmd.Stderr = p.stderr, p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	within(t, "the P-CSCF is ready", func(ctx context.Context) error {
		for {
			if _, err := os.Stat(pid); err == nil {
				return nil
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%w; it says:\n%s", ctx.Err(), p.stderr)
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	return p
}

// A P-CSCF is killed with 200 phones registered and starts again: nothing of theirs is
// in the kernel, and phones register anew.
func TestRestartWithTwoHundredPhones(t *testing.T) {
	conformance.Shows(t, "IP-24")
	const phones = 200
	host, user := guest.Host(t), guest.NewNet(t, "user")
	at := make([]netip.Prefix, 0, phones)
	for i := range phones {
		at = append(at, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 4, byte(i + 2)}), 16))
	}
	guest.Wire(t, "user", host, []netip.Prefix{netip.PrefixFrom(gmAt[0], 16)}, user, at)
	c := startCore(t, gmAt[0], phones, nil)
	mw, i := c.P.Mw(), c.I.Addr()
	if err := c.StopOne(lab.NameP); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "pcscf.yaml")
	text := fmt.Sprintf("domain: %s\nlisten: {gm: %v, mw: %v}\nicscf: [%v]\nipsec: {backend: kernel}\n", lab.DefaultDomain, c.gm, mw, i)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, config)
	_, blocks := host.Standing(t)

	stack := byUser(t, user, netip.MustParseAddrPort("0.0.0.0:0"))
	list := make([]*ue.Phone, phones)
	for i := range list {
		list[i] = c.phone(t, i, "user", stack, user, at[i].Addr(), func(cfg *ue.Config) { cfg.NoSubscribe, cfg.NoRefresh = true, true })
	}
	all := func(list []*ue.Phone) {
		var wg sync.WaitGroup
		errs := make([]error, len(list))
		gate := make(chan bool, 4)
		for i, p := range list {
			wg.Go(func() {
				gate <- true
				defer func() { <-gate }()
				// As a real phone does: a core under emulation may be too late.
				for range 3 {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					_, errs[i] = p.Register(ctx)
					cancel()
					if errs[i] == nil {
						return
					}
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	all(list)
	t.Logf("%d phones registered in %v", phones, time.Since(begin))
	if states, policies := host.Standing(t); states != 4*phones || policies != 4*phones+blocks {
		t.Errorf("with %d phones registered %d states and %d policies stand", phones, states, policies-blocks)
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait()
	if states, _ := host.Standing(t); states != 4*phones {
		t.Errorf("after the kill %d states stand", states)
	}
	p = startProcess(t, config)
	if states, policies := host.Standing(t); states != 0 || policies != blocks {
		t.Errorf("after the restart %d states and %d policies stand beside %d blocks", states, policies-blocks, blocks)
	}
	again := list[:20]
	for _, p := range again {
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
	}
	all(again)
	if states, policies := host.Standing(t); states != 4*len(again) || policies != 4*len(again)+blocks {
		t.Errorf("with %d phones registered again %d states and %d policies stand", len(again), states, policies-blocks)
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the P-CSCF stops: %v\n%s", err, p.stderr)
	}
	if states, policies := host.Standing(t); states != 0 || policies != 0 {
		t.Errorf("after it has stopped %d states and %d policies stand", states, policies)
	}
}
