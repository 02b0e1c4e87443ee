package pcscf

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// Who sends REGISTERs in a phone's name, from many addresses or from its own, ends
// neither the challenge that the phone has not answered yet, nor the set over which its
// answer has come.
func TestOthersInAPhonesName(t *testing.T) {
	conformance.Partly(t, "IP-24")
	for _, from := range []string{"elsewhere", "its own address"} {
		t.Run(from, func(t *testing.T) {
			secure(t, func(w *world) {
				u := w.ue("alice", "192.0.2.50")
				others := func(network string) {
					for i := range maxPhonesOfOne {
						w.ue("alice", fmt.Sprintf("%s.%d", network, 101+i)).begin()
					}
				}
				u.begin()
				if from == "elsewhere" {
					others("198.51.100")
				}
				u.say(u.register("Security-Verify: "+u.server, u.auth("n", "ok")))
				a := w.icscf.request("REGISTER")
				w.icscf.answer(a, 100)
				if from == "elsewhere" {
					others("192.0.2") // where the phone itself is
				} else {
					for range 3 {
						u.clearRegister("Call-ID: "+sip.NewBranch(), "Contact: <sip:mallory@192.0.2.50:6000>")
						w.challenge()
						u.open.status(401)
					}
					u.clearRegister("Call-ID: "+sip.NewBranch(), u.auth("n", "", `auts="AAAAAAAAAAAAAAAAAAAAAAAAAAA="`))
					w.icscf.answer(w.icscf.request("REGISTER"), 403)
					u.open.status(403)
				}
				w.icscf.answer(a, 200, u.peer.granted()...)
				u.status(200)
				u.say(u.text("MESSAGE", "sip:bob@"+domain, "m1"))
				w.scscf.answer(w.scscf.request("MESSAGE"), 200)
				u.status(200)
				check(t, "a request comes from", u.message(w.token("alice"), "m2"), u.pc)
				check(t, "challenges answered", w.p.SASetsEstablished(), 1)
				synctest.Wait()
				if n := len(w.ipsec.installed()); n > maxPhonesOfOne {
					t.Errorf("%d sets of one identity, want %d", n, maxPhonesOfOne)
				}
			})
		})
	}
}

// Of many who may be strangers those go that have the most neighbours: one phone has a
// network of IPv6 to itself, and so may a stranger.
func TestWhoGivesWay(t *testing.T) {
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50")
		u.begin()
		for i := range 3 * maxPhonesOfOne / 2 {
			w.ue("alice", fmt.Sprintf("198.51.100.%d", 1+i)).begin()
			if i%16 == 0 { // and a few from everywhere
				w.ue("alice", fmt.Sprintf("10.%d.0.1", i)).begin()
			}
		}
		u.answer401()
	})
}

// Where somebody sends REGISTERs in the names of all subscribers and answers no challenge, one of
// the oldest sets goes when there are too many, from where most of them are; who has shown the
// keys of his is not counted, and stays.
func TestUnprovenSetsGiveWay(t *testing.T) {
	const most = 8
	gaveWay := func(w *world) float64 { return testutil.ToFloat64(w.p.sec.metric.failures.WithLabelValues("gave_way")) }
	t.Run("from few networks", func(t *testing.T) {
		secure(t, func(w *world) {
			w.p.sec.crowd.most = most
			bob := w.ue("bob", "192.0.2.51").up()
			alice, carol := w.ue("alice", "192.0.2.50"), w.ue("carol", "192.0.2.52")
			alice.begin()
			carol.begin()
			for i := range most - 1 {
				w.ue(fmt.Sprintf("victim%d", i), fmt.Sprintf("198.51.100.%d", 1+i)).begin()
			}
			check(t, "of nine the first of the largest network has gone", w.sets("victim0"), "")
			check(t, "gave way", gaveWay(w), 1)
			carol.answer401()
			w.ue("dave", "192.0.2.53").begin()
			check(t, "gave way when one of eight has answered and another has come", gaveWay(w), 1)
			w.ue("erin", "192.0.2.54").begin()
			check(t, "and with one more", gaveWay(w), 2)
			check(t, "it is the next", w.sets("victim1"), "")
			check(t, "why", w.p.Report("victim1@" + domain).Explanation[0].Code, "gave-way")
			alice.answer401()
			for _, u := range []*ue{bob, carol, alice} {
				u.say(u.text("MESSAGE", "sip:bob@"+domain, "m-"+u.name))
				w.scscf.answer(w.scscf.request("MESSAGE"), 200)
				u.status(200)
			}
			time.Sleep(w.p.sec.timers.Await + time.Second)
			synctest.Wait()
			check(t, "counted when their time is over", w.p.sec.crowd.count+len(w.p.sec.crowd.from), 0)
		})
	})
	t.Run("from everywhere", func(t *testing.T) {
		secure(t, func(w *world) {
			w.p.sec.crowd.most = most
			for i := range 3 * most {
				w.ue(fmt.Sprintf("victim%d", i), fmt.Sprintf("10.%d.0.1", i)).begin()
				check(t, "counted", w.p.sec.crowd.count, min(i+1, most))
			}
			for i := range 3 * most {
				stands := w.sets(fmt.Sprintf("victim%d", i)) != ""
				check(t, fmt.Sprintf("the set of the REGISTER number %d stands", i), stands, i >= 2*most)
			}
		})
	})
	t.Run("in order by age", func(t *testing.T) {
		secure(t, func(w *world) {
			w.ue("first", "192.0.2.60").begin()
			for i := range 3 * looked {
				w.ue(fmt.Sprintf("u%d", i), fmt.Sprintf("10.%d.%d.1", i/100, i%100)).up()
			}
			if n := len(w.p.sec.crowd.order); n > looked+4 {
				t.Errorf("%d sets are kept in order, of which one has not been answered", n)
			}
		})
	})
	t.Run("behind quiet phones", func(t *testing.T) {
		secure(t, func(w *world) {
			w.p.sec.crowd.most = 2 * most
			for i := range most {
				w.ue(fmt.Sprintf("quiet%d", i), fmt.Sprintf("10.%d.0.1", i)).begin()
			}
			longest := 0
			for i := range 3 * looked {
				w.ue(fmt.Sprintf("victim%d", i), fmt.Sprintf("198.51.100.%d", 1+i)).begin()
				longest = max(longest, len(w.p.sec.crowd.order))
			}
			if longest > 2*most+2 { // one that has come, and one that has just gone
				t.Errorf("%d sets were kept in order, of which %d stood", longest, 2*most)
			}
			for i := range most {
				check(t, "a quiet phone's set", w.sets(fmt.Sprintf("quiet%d", i)) != "", true)
			}
		})
	})
	t.Run("before they stand", func(t *testing.T) {
		secure(t, func(w *world) {
			w.p.sec.crowd.most = 2
			var phones []*ue
			for i := range 4 {
				phones = append(phones, w.ue(fmt.Sprintf("u%d", i), fmt.Sprintf("10.%d.0.1", i)))
			}
			phones[1].begin() // and tries again
			w.ipsec.slow = time.Second
			began := time.Now()
			for _, u := range phones {
				u.open.send(w.gm(), u.register("Via: SIP/2.0/UDP "+u.open.addr.String()+";branch="+sip.NewBranch()+";rport"))
				w.challenge()
			}
			for _, u := range phones[:2] {
				check(t, "Retry-After", u.open.status(500).Get(sip.HRetryAfter), "5")
				said := w.p.Report(u.name + "@" + domain).Explanation
				check(t, "why", said[0].Code, "gave-way")
				for _, more := range said[1:] { // the 401 of the set has not left
					if more.Code == "gave-way" {
						t.Errorf("%s: %s", u.name, more.What)
					}
				}
			}
			for _, u := range phones[2:] {
				u.challenged(u.open)
			}
			// The first was being installed when it gave way, the second waited for its turn.
			check(t, "what three of four take", time.Since(began).Round(time.Second), 3*time.Second)
		})
	})
}

// One who has a SIM registers from more addresses than he may have: that goes which ends first,
// and none of them for somebody who has not shown the keys.
func TestPhonesOfOneWithASIM(t *testing.T) {
	secure(t, func(w *world) {
		impi := "alice@" + domain
		message := func(u *ue) {
			u.say(u.text("MESSAGE", "sip:bob@"+domain, "m"+u.addr.String()))
			w.scscf.answer(w.scscf.request("MESSAGE"), 200)
			u.status(200)
		}
		sets := func(addr string) int {
			all, _ := w.p.sec.held(phoneKey{impi, netip.MustParseAddr(addr)})
			return len(all)
		}
		first := w.ue("alice", "10.0.0.1").up()
		for i := 1; i < maxPhonesOfOne; i++ {
			w.ue("alice", fmt.Sprintf("10.0.%d.1", i)).up()
			if i == 1 {
				time.Sleep(time.Minute)
				first.again(7001) // so that the second is the one that ends first
			}
		}
		for i := range 3 {
			w.ue("alice", fmt.Sprintf("198.51.100.%d", 1+i)).begin()
		}
		check(t, "phones, with one stranger", w.p.sec.phones.count(impi), maxPhonesOfOne+1)
		check(t, "the first phone's sets stand", sets("10.0.0.1") > 0, true)
		check(t, "the second phone's sets stand", sets("10.0.1.1") > 0, true)
		last := w.ue("alice", "10.1.0.1").up()
		check(t, "phones, when one more has answered", w.p.sec.phones.count(impi), maxPhonesOfOne)
		check(t, "the second phone's sets", sets("10.0.1.1"), 0)
		message(last)
	})
}

func TestNetworkOfAStranger(t *testing.T) {
	for _, tt := range []struct{ addr, want string }{
		{"192.0.2.254", "192.0.2.0/24"},
		{"2001:db8:0:0:ffff::1", "2001:db8::/64"},
		{"fe80::1%eth0", "fe80::/64"},
	} {
		check(t, tt.addr, network(netip.MustParseAddr(tt.addr)), tt.want)
	}
}
