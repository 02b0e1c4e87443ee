package scscf

import (
	"strings"

	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// What a leg keeps for a further 2xx to its INVITE, once it is retired: a letter for
// each of these, the session case, the served user's first identity, and the history
// that the sender is told, each on a line of its own.
const (
	keptDelivery = 'd'
	keptFromAS   = 'a'
	keptOutside  = 'o'
)

// retires lets go of the leg with its first 2xx.
func (l *leg) retires(b *proxy.Branch) {
	var buf [256]byte
	note := append(buf[:0], '0'+byte(l.kase))
	if l.fromAS {
		note = append(note, keptFromAS)
	}
	if l.outside {
		note = append(note, keptOutside)
	}
	var entries []string
	if l.delivery != nil {
		note = append(note, keptDelivery)
		entries = l.delivery.told(b)
	}
	note = append(append(note, '\n'), l.reg.Identities[0].Key...)
	for _, e := range entries {
		note = append(append(note, '\n'), e...)
	}
	l.x.Retires(string(note))
}

// Revive sees to a further 2xx to an INVITE that was retired.
func (h handler) Revive(x *proxy.Exchange, note string) {
	lines := strings.Split(note, "\n")
	if len(lines) < 2 || lines[0] == "" {
		return
	}
	has := func(letter byte) bool { return strings.IndexByte(lines[0], letter) > 0 }
	l := &leg{s: h.s, x: x, serving: serving{kase: profile.SessionCase(lines[0][0] - '0'), reg: h.s.store.Get(lines[1])}}
	l.fromAS, l.outside = has(keptFromAS), has(keptOutside)
	if has(keptDelivery) {
		l.delivery = &delivery{l: l, revived: true, entries: lines[2:]}
	}
	x.OnResponse(l.response)
}
