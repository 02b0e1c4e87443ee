package transaction

import (
	"testing"
	"testing/synctest"

	"github.com/gocscf/gocscf/ims/sip"
)

// gatherer counts how its Hold and Release are called.
type gatherer struct{ holds, releases, most, inside int }

func (g *gatherer) Send(sip.Flow, []byte, func(error)) {}
func (g *gatherer) Hold()                              { g.holds++ }
func (g *gatherer) Release()                           { g.releases++; g.most, g.inside = max(g.most, g.inside), 0 }

// What a shard does is done between Hold and Release, a bounded number of events at
// a time: what the first of a long queue has sent does not wait for the last.
func TestHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gatherer{}
		l := New(Config{Sender: g, Shards: 1})
		sh := l.Shard("a")
		sh.Post(func() {
			for range 5 * heldFor {
				sh.Post(func() {
					g.inside++
					if g.holds != g.releases+1 {
						t.Errorf("%d holds and %d releases before an event", g.holds, g.releases)
					}
				})
			}
		})
		synctest.Wait()
		l.Close()
		if g.holds != g.releases || g.most == 0 || g.most > heldFor {
			t.Errorf("%d holds, %d releases, at most %d events between", g.holds, g.releases, g.most)
		}
	})
}
