//go:build integration

package kerneltest

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
	"github.com/gocscf/gocscf/ipsec/xfrm"
	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
)

// What is missing is named, with what to do about it.
func TestAProbeNamesWhatIsMissing(t *testing.T) {
	n := guest.NewNet(t, "core")
	both := xfrm.Config{Addrs: []netip.Addr{core4, core6}, EncapPort: 4500}
	// An algorithm that has been used holds its module: this test has to be the first.
	missing := []struct {
		module string
		pair   ipsec.Pair
		v6     bool
		want   string
	}{
		{"esp6", ipsec.Pair{Alg: ipsec.HMACMD5}, true, "modprobe esp6"},
		{"des_generic", ipsec.Pair{Alg: ipsec.HMACSHA1, EAlg: ipsec.DESEDE3CBC}, false, "take hmac-sha-1-96/des-ede3-cbc out of ipsec.algorithms"},
		{"authenc", ipsec.Pair{Alg: ipsec.HMACSHA1}, false, "modprobe -a authenc"},
		{"gcm", ipsec.Pair{EAlg: ipsec.AESGCM}, false, "rfc4106(gcm(aes))"},
	}
	for _, m := range missing {
		if err := unix.DeleteModule(m.module, unix.O_NONBLOCK); err != nil {
			t.Fatalf("take %s out: %v", m.module, err)
		}
	}
	for _, m := range missing {
		c := xfrm.Config{Addrs: []netip.Addr{core4}, Pairs: []ipsec.Pair{m.pair}}
		if m.v6 {
			c.Addrs[0] = core6
		}
		if err := n.Do(c.Probe); err == nil || !strings.Contains(err.Error(), m.want) {
			t.Errorf("without %s: %v, want %q", m.module, err, m.want)
		} else {
			t.Log(err)
		}
	}
	for _, m := range missing {
		files, err := filepath.Glob("/modules/*-" + m.module)
		if err != nil || len(files) != 1 {
			t.Fatalf("the module %s is in %v, %v", m.module, files, err)
		}
		b, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.InitModule(b, ""); err != nil {
			t.Fatalf("put %s back: %v", m.module, err)
		}
	}
	if err := n.Do(both.Probe); err != nil {
		t.Errorf("with everything back: %v", err)
	}
	err := n.Do(func() error {
		// This thread alone loses its privileges, and then ends.
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Fatal(err)
		}
		return both.Probe()
	})
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("without privileges: %v", err)
	}
	if states, policies := n.Standing(t); states != 0 || policies != 0 {
		t.Errorf("the probes leave %d states and %d policies", states, policies)
	}
}
