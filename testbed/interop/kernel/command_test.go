//go:build integration

package kernel

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os/exec"
	"testing"

	"github.com/gocscf/gocscf/ipsec/xfrm/guest"
	"github.com/gocscf/gocscf/testbed/lab"
)

// The phone's command protects by the kernel of its namespace, and in user space by
// ESP in IP; it leaves nothing behind.
func TestPhoneCommand(t *testing.T) {
	host, phones := guest.Host(t), guest.NewNet(t, "phones")
	guest.Wire(t, "phones", host, subnets(gmAt), phones, subnets(userAt))
	c := startCore(t, gmAt[0], 1, nil)
	sub := subscribers(1)[0]
	for _, k := range []struct{ ipsec, profile string }{{"kernel", "samsung"}, {"user", "pixel"}} {
		t.Run(k.ipsec, func(t *testing.T) {
			cmd := exec.Command("/bin/testbed", "ue", "register", "--ipsec", k.ipsec, "--profile", k.profile, "--pcscf", c.gm.String(),
				"--domain", lab.DefaultDomain, "--impi", sub.IMPI, "--impu", sub.IMPUs[0], "--k", key, "--opc", opc, "--timeout", patience.String(), "--json")
			var out, said bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &said
			if err := phones.Start(cmd); err != nil {
				t.Fatal(err)
			}
			err := cmd.Wait()
			var got struct {
				OK    bool
				IPsec struct {
					Backend string
					Phone   struct{ Addr netip.Addr }
				}
			}
			if jerr := json.Unmarshal(out.Bytes(), &got); err != nil || jerr != nil || !got.OK || got.IPsec.Backend != k.ipsec || got.IPsec.Phone.Addr != userAt[0] {
				t.Errorf("%v, %v: %s%s", err, jerr, out.Bytes(), said.Bytes())
			}
			if states, policies := phones.Standing(t); states != 0 || policies != 0 {
				t.Errorf("%d states and %d policies are left", states, policies)
			}
		})
	}
}
