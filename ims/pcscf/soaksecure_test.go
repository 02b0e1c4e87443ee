package pcscf

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/testbed/conformance"
)

// Phones that do what phones do, in any order, and vanish in between: nothing is left
// of them in the end, and each that answers its challenge is reached.
func TestSoakOverIPsec(t *testing.T) {
	conformance.Partly(t, "IP-24")
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			secure(t, func(w *world) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				var phones []*soaked
				for i := range 5 {
					phones = append(phones, &soaked{ue: w.ue(fmt.Sprintf("p%d", i), fmt.Sprintf("192.0.2.%d", 100+i))})
				}
				for i := range 150 {
					p := phones[rnd.IntN(len(phones))]
					p.step(rnd, i)
					if n := len(w.p.Report(p.name + "@" + domain).Sets); n > 4 {
						t.Fatalf("%s has %d sets: %s", p.name, n, w.sets(p.name))
					}
					time.Sleep(time.Duration(rnd.IntN(120)) * time.Second)
					synctest.Wait()
				}
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				w.leaks()
				if n := w.p.bindings.len(); n != 0 {
					t.Errorf("%d contacts are left", n)
				}
			})
		})
	}
}

// soaked is a phone with what it believes of itself.
type soaked struct {
	*ue
	until time.Time // of its registration
	portC uint16
}

func (p *soaked) step(rnd *rand.Rand, i int) {
	w := p.w
	up := time.Now().Add(10 * time.Second).Before(p.until)
	p.portC = 7000 + (p.portC+1)%20
	switch n := rnd.IntN(8); {
	case n == 0: // challenged, and never seen again
		p.spi += 10
		p.offer(p.portC)
		p.clearRegister()
		w.challenge()
		p.challenged(p.open)
		p.until = time.Time{} // over which set it would go on, it has forgotten
	case n == 1 || !up: // in clear, whatever it had
		p.spi += 10
		p.offer(p.portC)
		p.begin()
		p.answer401()
		p.until = time.Now().Add(time.Hour)
	case n == 2: // refused over the new set
		old, ps, pc, server := p.out, p.ps, p.pc, p.server
		p.offer(p.portC)
		old.send(ps, p.register("Security-Verify: "+server, p.auth("n", "ok")))
		w.challenge()
		p.challenged(p.peer)
		p.take()
		p.say(p.register("Security-Verify: "+p.server, p.auth("n", "wrong")))
		w.icscf.answer(w.icscf.request("REGISTER"), 403)
		p.status(403)
		p.out, p.ps, p.pc, p.server = old, ps, pc, server
	case n == 3:
		p.again(p.portC)
		p.until = time.Now().Add(time.Hour)
	case n == 4: // without a challenge
		p.say(p.register("Security-Verify: "+p.server, p.auth("n", "ok")))
		p.grant()
		p.until = time.Now().Add(time.Hour)
	case n == 5:
		p.say(p.register("Security-Verify: "+p.server, p.auth("n", "ok"), "Expires: 0"))
		w.icscf.answer(w.icscf.request("REGISTER"), 200)
		p.status(200)
		p.until = time.Time{}
	case n == 6:
		p.message(w.token(p.name), fmt.Sprint("m", i))
	default:
		p.say(p.text("MESSAGE", "sip:x@"+domain, fmt.Sprint("o", i)))
		w.scscf.answer(w.scscf.request("MESSAGE"), 200)
		p.status(200)
	}
}
