package diameter

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// journal notes what happens, in order.
type journal struct {
	mu  sync.Mutex
	all []string
}

func (j *journal) note(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, s)
}

func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := strings.Join(j.all, " ")
	j.all = nil
	return s
}

func (j *journal) Hold()    { j.note("hold") }
func (j *journal) Release() { j.note("release") }

// TestGather: what follows from answers that came in one read is gathered, and released
// before the reader waits, also where it waits for the rest of an answer or the connection
// ends; each answer says whether another is behind it.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, j := newMemNet(), &journal{}
		l := mem.listen("hss:3868")
		cfg := testConfig("client.example.net")
		cfg.Dialer, cfg.Peers = mem, []PeerConfig{{Address: "hss:3868"}}
		n := newNode(t, cfg)
		n.Gather(j)
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		p := acceptRaw(t, l)
		p.accept("hss.example.net")
		ready(t, n)
		ask := func(count int) (answers [][]byte) {
			for i := range count {
				n.Do(time.Now().Add(time.Minute), testRequest(n, "a"), func(a *Answer, err error) {
					if err != nil {
						j.note(err.Error())
						return
					}
					j.note(fmt.Sprint(i+1, a.More()))
				})
				q := p.read()
				a := &Message{Command: q.Command, Application: q.Application, HopByHop: q.HopByHop, EndToEnd: q.EndToEnd, AVPs: []*AVP{Base(Success).AVP()}}
				answers = append(answers, a.Append(nil))
			}
			return answers
		}
		want := func(what, text string) {
			t.Helper()
			synctest.Wait()
			if got := j.take(); got != text {
				t.Errorf("%s:\n got %s\nwant %s", what, got, text)
			}
		}
		want("capabilities", "")
		three := ask(3)
		p.write(slices.Concat(three...))
		want("three at once", "hold 1 true 2 true 3 false release")
		two := ask(2)
		p.write(append(two[0], two[1][:25]...))
		want("one and a part", "hold 1 false release")
		p.write(two[1][25:])
		want("the rest", "hold 2 false release")
		last := ask(1)
		p.write(append(append(last[0], 1, 0, 0, 4), make([]byte, 16)...)) // a length that ends the stream
		want("the end", "hold 1 true release")
	})
}
