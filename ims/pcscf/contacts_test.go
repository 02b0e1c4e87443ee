package pcscf

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gocscf/gocscf/ims/sip"
)

// Contacts are what a plain list would be, whatever comes and goes.
func TestContactsAreAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c contacts
		var list []*binding
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			b := new(binding)
			var old *binding
			if len(list) > 0 {
				old = list[rapid.IntRange(0, len(list)-1).Draw(t, "which")]
			}
			switch what := rapid.IntRange(0, 3).Draw(t, "what"); {
			case old == nil || what == 0:
				c, list = c.with(b), append(list, b)
			case what == 1:
				c = c.replaced(old, b)
				list[slices.Index(list, old)] = b
			case what == 2:
				c = c.without(old)
				list = slices.DeleteFunc(list, func(o *binding) bool { return o == old })
			default: // one that is not there
				c = c.without(b).replaced(b, new(binding))
			}
			if got := slices.Collect(c.all); !slices.Equal(got, list) || (c.first == nil) != (len(list) == 0) {
				t.Fatalf("%d contacts, want %d: %p, %p", len(got), len(list), got, list)
			}
		}
	})
}

// several makes a binding of one private identity's contact with that number, as a
// REGISTER does.
func several(n int) *binding {
	b := bound("alice", sip.UDP, fmt.Sprintf("198.51.100.%d:5060", n), "")
	b.contact = fmt.Sprintf("sip:alice@198.51.100.%d", n)
	b.hold(b.sets)
	return b
}

// Of the contacts of a private identity each comes and goes by itself, in whatever order.
func TestContactsOfOneIdentity(t *testing.T) {
	now := time.Now()
	for _, count := range []int{2, 3} {
		for gone := range count {
			for _, how := range []string{"replaced", "swept", "ended"} {
				t.Run(fmt.Sprintf("%d of %d is %s", gone, count, how), func(t *testing.T) {
					var left []string
					bs := newBindings(10, func(impi string) { left = append(left, impi) })
					var list, want []*binding
					for n := range count {
						b := several(n)
						if n == gone && how == "swept" {
							b.sets[0].expires = now.Add(-time.Hour)
						}
						list = append(list, b)
						if !bs.put(b) {
							t.Fatal("no room")
						}
					}
					at, was := list[gone], list[gone].sets[0].expires
					want = slices.Delete(slices.Clone(list), gone, gone+1)
					switch how {
					case "replaced":
						again := several(gone)
						if want = append(want, again); !bs.put(again) {
							t.Fatal("no room")
						}
					case "swept":
						bs.sweep(now)
					default:
						check(t, "it was registered", bs.end(at, "alice", now), true)
						if got := bs.ofToken(at.token, now); got == at || got.registered(now) || !at.registered(now) || at.sets[0].expires != was {
							t.Error("who holds the binding of before sees it change, or nothing has changed")
						}
						want = slices.Insert(want, gone, bs.ofToken(at.token, now))
					}
					if got := bs.of("alice"); !slices.Equal(got, want) {
						t.Errorf("contacts %p, want %p", got, want)
					}
					check(t, "users who have left", len(left), 0)
					for _, b := range want {
						check(t, "found by its contact", bs.ofContact("alice", b.contact, now), b)
					}
					for _, b := range want { // each can still end
						if b.registered(now) {
							check(t, "it was registered", bs.end(bs.ofToken(b.token, now), "alice", now), true)
						}
					}
					bs.sweep(now.Add(2 * time.Hour))
					check(t, "left after the end", fmt.Sprint(len(bs.byToken), len(bs.bySource), len(bs.byIMPI), left), "0 0 0 [alice]")
				})
			}
		}
	}
}

// The latest contact of a phone that is registered counts, where one has ended.
func TestTheLatestContactOfAPhone(t *testing.T) {
	now := time.Now()
	bs := newBindings(10, func(string) {})
	k := phoneKey{impi: "alice"}
	var list []*binding
	for n := range 3 {
		b := several(n)
		b.phone = k
		list = append(list, b)
		bs.put(b)
	}
	check(t, "the latest", bs.ofPhone(k, now), list[2])
	bs.end(list[2], "alice", now)
	check(t, "the latest that is registered", bs.ofPhone(k, now), list[1])
}

// The contact that a subscriber writes otherwise each time is one, as it is for the
// registrar: it keeps its token, and takes no room from others.
func TestOneContactIsOneBinding(t *testing.T) {
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		token := w.token("alice")
		for n := range 1000 {
			contact := fmt.Sprintf("<sip:alice@%v;p%d>", u.addr, n)
			u.granted = []string{"Contact: " + contact + ";expires=3600", "Service-Route: " + route}
			u.say(u.register("Security-Verify: "+u.server, "Contact: "+contact, u.auth("n", "ok")))
			u.grant()
		}
		check(t, "bindings", w.p.bindings.len(), 1)
		check(t, "its token", w.token("alice"), token)
	})
}

// Two REGISTERs of one contact that were under way at once have tokens of their own.
func TestOneContactWithTwoTokens(t *testing.T) {
	now := time.Now()
	bs := newBindings(10, func(string) {})
	one, two := bound("alice", sip.UDP, "198.51.100.1:5060", ""), bound("alice", sip.UDP, "198.51.100.2:5060", "")
	one.contact, two.contact = "sip:alice@10.0.0.1;p1", "sip:alice@10.0.0.1;p2"
	bs.put(one)
	bs.put(two)
	check(t, "bindings", bs.len(), 1)
	check(t, "the later one stands", bs.ofContact("alice", "sip:alice@10.0.0.1", now) == two, true)
}

// Of the contacts of a private identity so many stand, those that have registered last,
// whatever room there is for others'.
func TestContactsOfOneIdentityAreBounded(t *testing.T) {
	now := time.Now()
	bs := newBindings(100, func(impi string) { t.Errorf("%s has left", impi) })
	bs.put(bound("bob", sip.UDP, "198.51.100.200:5060", ""))
	var list []*binding
	for n := range maxContactsOfOne + 3 {
		if n == maxContactsOfOne { // the oldest comes again
			again := several(0)
			again.token = list[0].token
			bs.put(again)
		}
		b := several(n)
		list = append(list, b)
		if !bs.put(b) {
			t.Fatal("no room")
		}
	}
	check(t, "bindings", bs.len(), 1+maxContactsOfOne)
	for n, b := range list {
		check(t, fmt.Sprint(n, " stands"), bs.ofToken(b.token, now) != nil, n == 0 || n > 3)
	}
}
