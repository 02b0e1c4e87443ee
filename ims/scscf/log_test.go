package scscf

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/sip"
)

// What strangers and a broken HSS bring about is logged a hundred times a second, and
// how often it was left out.
func TestLinesOfStrangersAreLimited(t *testing.T) {
	atHome(t, nil, func(h *homeNet) {
		h.alicePhone()
		const many = 150
		all := func() {
			for i := range many {
				p := h.phone("alice")
				p.callID = sip.NewCallID()
				p.write(p.digest("", nil))
				q := &cx.RTR{RequestHeader: pushTo, UserName: fmt.Sprint("nobody", i)}
				h.hss.client.RTR(time.Time{}, q, func(*cx.RTA, error) {})
				h.hss.client.PPR(time.Time{}, &cx.PPR{RequestHeader: pushTo, UserName: q.UserName}, func(*cx.PPA, error) {})
			}
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			for len(h.p.box) > 0 {
				<-h.p.box
			}
		}
		lines := []string{"challenged", "registration ended by the HSS", "profile pushed by the HSS"}
		all()
		for _, line := range lines {
			if n := h.logs.FilterMessage(line).Len(); n != 100 {
				t.Errorf("%d lines say %q", n, line)
			}
		}
		time.Sleep(time.Second)
		all()
		for _, line := range lines {
			got := h.logs.FilterMessage(line).All()
			var said []any // by one alone, of the second hundred: the first let in, which another may overtake
			for i, l := range got {
				if left, ok := l.ContextMap()["lines_left_out"]; ok {
					if said = append(said, left); i < 100 {
						t.Errorf("of %q line %d says already that some are left out", line, i)
					}
				}
			}
			if len(got) != 200 || len(said) != 1 || said[0] != int64(many-100) {
				t.Errorf("of %q %d lines, and %v are said to be left out", line, len(got), said)
			}
		}
	})
}
