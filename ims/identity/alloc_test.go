//go:build !race

// The race detector makes the pools of package regexp lose what they hold.

package identity_test

import (
	"testing"

	"github.com/gocscf/gocscf/ims/identity"
)

func TestWildcardMatchAllocatesNothing(t *testing.T) {
	w, err := identity.ParseWildcard("sip:room![0-9]{2}!x@example.com")
	if err != nil {
		t.Fatal(err)
	}
	matched := false
	n := testing.AllocsPerRun(200, func() { matched = w.Match("sip:room12x@example.com") })
	if n != 0 || !matched {
		t.Errorf("%v allocations, matched %v", n, matched)
	}
}
