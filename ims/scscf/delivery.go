package scscf

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// delivery is a request on its way to the contacts of the called user (TS 24.229
// 5.4.3.3).
type delivery struct {
	l      *leg
	groups [][]*way // still to be tried, one after the other
	open   []*way   // the group that is being tried
	due    int      // ways whose next flow is about to be tried
	tries  []try    // all so far, for the history

	revived bool     // for a further 2xx
	entries []string // then, what tell adds
}

// way leads to one phone: the flows that it has registered, the newest first, of
// which one at a time is used (RFC 5626 5.3). Usually there is one.
type way struct {
	q      int // in thousandths
	flows  []registrar.Binding
	used   int      // flows that have been used
	branch int      // index of the latest one's branch
	ended  bool     // it has answered
	record []string // the entries of History-Info that the latest one got
}

// maxWays bounds the branches of one delivery.
const maxWays = 32

// deliver sends the request to where the user is now, which may have changed
// while application servers had the request.
func (l *leg) deliver() {
	d := &delivery{l: l}
	reg := l.s.store.Get(string(l.reg.Identities[0].Key))
	if reg != nil {
		d.groups = waysTo(reg.Bindings, time.Now(), l.x.Req)
	}
	if len(d.groups) == 0 {
		r := node.Refusal{Status: 480, Cause: "not_registered", Clause: "TS 24.229 5.4.3.3",
			Text: string(l.impu) + " is not registered, and none of its services for that has taken the call.",
			Next: "Is the phone switched on? If it is, this S-CSCF has been restarted since it registered: its next REGISTER mends that."}
		if l.registered {
			r.Next = "The phone has switched off, or its registration has ended: it must register again."
			r.Text = string(l.impu) + " has left while its application servers had the request."
		}
		l.refuse(r)
		return
	}
	x, e := l.x, &l.x.Edits
	for _, id := range [...]sip.ID{sip.HPServedUser, sip.HRoute} {
		if x.Req.Has(id) {
			e.Remove(id)
		}
	}
	e.Set(sip.HPCalledPartyID, "<"+x.RequestURI()+">")
	l.chargeRequest(e, 1)
	l.delivery = d
	d.next(x.Retry)
}

// next tries the next group.
func (d *delivery) next(send func(...proxy.Target)) {
	d.open, d.groups = d.groups[0], d.groups[1:]
	d.send(d.open, send)
}

// send tries the next flow of each way.
func (d *delivery) send(ways []*way, send func(...proxy.Target)) {
	l := d.l
	targets := make([]proxy.Target, len(ways))
	past := d.past()
	for i, w := range ways {
		b := &w.flows[w.used]
		w.used++
		w.branch, w.ended = l.sent+i, false
		l.decide("TS 24.229 5.4.3.3", func() string {
			return "To the contact " + b.Contact + " of " + string(l.impu) + " by " + strings.Join(b.Path, ", ") + "."
		})
		record := d.record(past, b.Contact, w.branch)
		w.record = record
		t := &targets[i]
		*t = proxy.Target{URI: b.Contact, Hop: proxy.Hop{Role: sip.RoleCore}, RecordRoute: l.recordRoute(), Ringing: node.Ringing(l.x.Req), Edits: func(e *sip.Edits) {
			for _, path := range slices.Backward(b.Path) {
				e.Prepend(sip.HRoute, path)
			}
			for _, entry := range record {
				e.Add(sip.HHistoryInfo, entry)
			}
		}}
		if l.x.Req.Method() == "INVITE" {
			t.Timeout = hopTimeout
		}
	}
	l.sent += len(ways)
	send(targets...)
}

// otherFlow hears the final response of a branch. When it says that only the flow
// has failed, and the phone has another, that is tried at once.
func (d *delivery) otherFlow(b *proxy.Branch, status int) bool {
	d.ended(b.Index, status)
	for _, w := range d.open {
		if w.branch != b.Index {
			continue
		}
		if (status == 408 || status == 430 || status == 480) && w.used < len(w.flows) && !d.l.x.Cancelled() {
			// Not at once: the branch that ends now still has its Max-Breadth.
			d.due++
			d.l.x.Post(func() {
				d.due--
				d.send([]*way{w}, d.l.x.Forward)
			})
			return true
		}
		w.ended = true
	}
	return false
}

// undelivered goes on with other flows and contacts, and in the end says why
// nobody was reached (TS 24.229 5.4.3.3; RFC 5626 5.3, RFC 3261 16.7).
func (l *leg) undelivered(f *proxy.Final) bool {
	d := l.delivery
	if f.Status >= 600 {
		return true
	}
	if d.due > 0 {
		return false
	}
	d.allEnded()
	var silent []*way
	for _, w := range d.open {
		if !w.ended && w.used < len(w.flows) {
			silent = append(silent, w)
		}
	}
	switch {
	case len(silent) > 0:
		d.send(silent, l.x.Forward)
	case len(d.groups) > 0:
		d.next(l.x.Forward)
	case f.Status == 430:
		l.refuse(node.Refusal{Status: 480, Cause: "flow_failed", Clause: "RFC 5626 5.3",
			Text: "The P-CSCF has no way to the phone of " + string(l.impu) + " any more.", Next: "The phone must register again."})
	case f.Local() && l.rangInVain(f):
	case !f.Local(), f.Branch != nil && f.Branch.Provisional(), f.Status == 408 && l.x.Req.Method() != "INVITE":
		return true
	default:
		text := "No answer from the P-CSCF of " + string(l.impu)
		if f.Err != nil {
			text += ": " + f.Err.Error()
		}
		l.refuse(node.Refusal{Status: 480, Cause: "pcscf_silent", Clause: "TS 24.229 5.4.3.3", Text: text + ".",
			Next: "Check that the P-CSCF runs at the address in the Path of the registration."})
	}
	return false
}

// waysTo orders the contacts as the caller and their q values ask: groups to be
// tried one after the other, the contacts of each at once (RFC 3261 16.6, RFC 3841
// 7.3).
func waysTo(bindings []registrar.Binding, now time.Time, m *sip.Message) [][]*way {
	var ways []*way
	byInstance := map[string]*way{}
	newest := slices.Clone(bindings)
	slices.SortStableFunc(newest, func(a, b registrar.Binding) int { return b.Created.Compare(a.Created) })
	for _, b := range newest {
		if !usable(b, now) {
			continue
		}
		if w := byInstance[b.InstanceID]; w != nil && b.InstanceID != "" && b.RegID != 0 {
			w.flows = append(w.flows, b)
			continue
		}
		w := &way{q: qOf(b.Params), flows: []registrar.Binding{b}}
		if b.RegID != 0 {
			byInstance[b.InstanceID] = w
		}
		ways = append(ways, w)
	}
	slices.SortStableFunc(ways, func(a, b *way) int { return cmp.Compare(b.q, a.q) })
	ways = ways[:min(len(ways), maxWays)]
	if len(ways) > 1 && m.HasOption(sip.HRequestDisposition, "no-fork") {
		ways = ways[:1]
	}
	parallel, sequential := m.HasOption(sip.HRequestDisposition, "parallel"), m.HasOption(sip.HRequestDisposition, "sequential")
	var groups [][]*way
	for i, w := range ways {
		if last := len(groups) - 1; i > 0 && !sequential && (parallel || w.q == ways[i-1].q) {
			groups[last] = append(groups[last], w)
		} else {
			groups = append(groups, []*way{w})
		}
	}
	return groups
}

// qOf reads the q value among a contact's parameters, in thousandths; 1 when there
// is none (RFC 3261 20.10).
func qOf(params string) int {
	v, ok := sip.Params(params).Get("q")
	if !ok {
		return 1000
	}
	whole, fraction, _ := strings.Cut(v, ".")
	if whole != "0" && whole != "" {
		return 1000
	}
	q := 0
	for i := range 3 {
		q *= 10
		if i < len(fraction) && '0' <= fraction[i] && fraction[i] <= '9' {
			q += int(fraction[i] - '0')
		}
	}
	return q
}
