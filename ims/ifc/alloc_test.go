//go:build !race

// The race detector makes pools lose what they hold.

package ifc_test

import (
	"testing"

	"github.com/gocscf/gocscf/ims/ifc"
)

func TestNextAllocatesNothing(t *testing.T) {
	c, r := large(t), invite()
	var req ifc.Request = r
	if f, ok := c.Next(0, req, ifc.Session{}); !ok || f.Priority != 5 {
		t.Fatal("the chain is not walked to its end")
	}
	if n := testing.AllocsPerRun(200, func() { _, _ = c.Next(0, req, ifc.Session{}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
