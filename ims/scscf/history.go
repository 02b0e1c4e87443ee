package scscf

import (
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// histInfo is the option tag of RFC 7044.
const histInfo = "histinfo"

// We keep the history of a request's targets (RFC 7044 9) when it has one, when
// its sender asks for it, and when an application server has diverted it: an entry
// for each change of the Request-URI, none where it only passes through.

// recordTarget begins the history, or completes it, with the target that the
// request now has.
func (l *leg) recordTarget() {
	m, e := l.x.Req, &l.x.Edits
	if l.kase == profile.OriginatingCDIV && !m.Has(sip.HHistoryInfo) {
		// The server that has diverted the request leaves it to us to say from whom.
		h := sip.HistoryInfo{}.Missing(string(l.impu))
		e.Add(sip.HHistoryInfo, h.String())
		l.history = h.Missing(l.x.RequestURI())
		e.Add(sip.HHistoryInfo, l.history.String())
		return
	}
	l.history, _ = sip.RecordTarget(m, e, l.x.RequestURI(), m.HasOption(sip.HSupported, histInfo))
}

// recordNumber records that the target is now called by its number: the same user,
// so that none of the tags fits.
func (l *leg) recordNumber(target string) {
	if l.history.Index != "" && !l.history.Names(target) {
		l.x.Edits.Add(sip.HHistoryInfo, l.history.Next(1, target, "").String())
	}
}

// try is a contact that the request has been sent to.
type try struct {
	entry  sip.HistoryInfo
	branch int
	status int // how it ended, 0 while it has not
}

// past are the entries of the contacts that have not taken the request, with why.
// Those that are being tried do not know of each other (RFC 7044 10.3).
func (d *delivery) past() []string {
	var out []string
	for _, t := range d.tries {
		if t.status != 0 {
			out = append(out, t.entry.Because(t.status).String())
		}
	}
	return out
}

// record returns the entries for the next contact, which the registrar has bound to
// the target; nil when no history is kept.
func (d *delivery) record(past []string, contact string, branch int) []string {
	h := d.l.history
	if h.Index == "" {
		return nil
	}
	t := try{entry: h.Next(len(d.tries)+1, contact, "rc"), branch: branch}
	d.tries = append(d.tries, t)
	return append(past[:len(past):len(past)], t.entry.String())
}

// ended notes with which status a try has ended.
func (d *delivery) ended(branch, status int) {
	for i := range d.tries {
		if t := &d.tries[i]; t.branch == branch {
			t.status = status
		}
	}
}

// allEnded notes that those that are still open have got no answer.
func (d *delivery) allEnded() {
	for i := range d.tries {
		if t := &d.tries[i]; t.status == 0 {
			t.status = 408
		}
	}
}

// tell puts the history into a response for a sender who asks for it, when the
// phone has not (RFC 7044 9.4).
func (d *delivery) tell(b *proxy.Branch, m *sip.Message, e *sip.Edits) {
	if m.Has(sip.HHistoryInfo) {
		return
	}
	for _, entry := range d.told(b) {
		e.Add(sip.HHistoryInfo, entry)
	}
}

// told is the history that the sender is told of; nil when he does not ask for it.
func (d *delivery) told(b *proxy.Branch) (entries []string) {
	x := d.l.x
	if d.revived || !x.Req.HasOption(sip.HSupported, histInfo) {
		return d.entries
	}
	req, err := x.Req.Apply(&x.Edits)
	if err != nil {
		return nil
	}
	for v := range req.Lines(sip.HHistoryInfo) {
		entries = append(entries, v)
	}
	for _, w := range d.open {
		if w.branch == b.Index {
			entries = append(entries, w.record...)
		}
	}
	return entries
}
