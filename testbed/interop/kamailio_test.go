//go:build integration

package interop

import (
	"context"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/lab"
	"github.com/gocscf/gocscf/testbed/ue"
)

// TestWithKamailio: whoever plays the three functions, two phones register, call
// each other, send messages and go. README.md tells what is left out where, because
// Kamailio cannot do it.
func TestWithKamailio(t *testing.T) {
	tests := []struct {
		name string
		ours []string
	}{
		{"Kamailio's P, I and S", nil},
		{"our P before Kamailio's I and S", []string{lab.NameP}},
		{"Kamailio's P before our I and S", []string{lab.NameI, lab.NameS}},
		{"our I between Kamailio's P and S", []string{lab.NameI}},
		{"our S behind Kamailio's P and I", []string{lab.NameS}},
		{"Kamailio's I between our P and S", []string{lab.NameP, lab.NameS}},
		{"Kamailio's S behind our P and I", []string{lab.NameP, lab.NameI}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := startCore(t, tt.ours...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			adjust := func(u *ue.Config) {
				if !c.is(lab.NameP) {
					// A phone that registered over UDP and sends a long INVITE over TCP, as
					// RFC 3261 18.1.1 has it, is a stranger to Kamailio's P-CSCF.
					u.Transport = sip.TCP
				}
			}
			alice, bob := c.phone(0, adjust), c.phone(1, adjust)

			c.everything(ctx, alice, bob)
		})
	}
}

// everything is what two phones can do with all the mixes.
func (c *core) everything(ctx context.Context, alice, bob *ue.Phone) {
	c.t.Helper()
	c.stranger(ctx, alice)
	c.register(ctx, alice)
	c.register(ctx, bob)
	c.registerAgain(ctx, alice)

	c.call(ctx, alice, bob, impu(bob))
	c.call(ctx, bob, alice, impu(alice))
	if c.is(lab.NameS) { // Kamailio does not find who is registered by tel URI, and answers no PPR
		c.call(ctx, alice, bob, "+15550000002")
		c.profileChanged(ctx, bob)
	}
	c.hungUpByCallee(ctx, alice, bob)
	c.cancelled(ctx, alice, bob)
	c.busy(ctx, alice, bob)
	c.message(ctx, alice, bob)
	c.message(ctx, bob, alice)

	c.deregister(ctx, bob)
	c.refused(ctx, alice, impu(bob), 480)
	c.resynchronised(ctx, bob)
	c.call(ctx, alice, bob, impu(bob))
	c.ended(ctx, bob)
	c.deregister(ctx, alice)
}
