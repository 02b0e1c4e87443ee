package pcscf

import (
	"slices"
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/uri"
)

// remoteTarget is the remote target that a message of the far side gives (RFC 3261
// 12.1, 12.2.1.2); "" for none to which a request could go.
func remoteTarget(m *sip.Message) string {
	c := addressURI(m.First(sip.HContact))
	if u, err := uri.Parse(c); err != nil || !u.IsSIP() {
		return ""
	}
	return c
}

// refreshesTarget reports whether the remote target that a request of that method, or the
// response m to it, gives is the dialog's from then on (RFC 5057 5.4, RFC 6141 4).
func refreshesTarget(method string, m *sip.Message) bool {
	accepted := m.Status()/100 == 2 || m.Status() < 200 && m.Has(sip.HRSeq)
	return accepted && slices.Contains([]string{"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"}, method)
}

// retarget notes the remote target that a message of the far side gives, where no route
// says where the phone's requests go.
func (t *dialogs) retarget(k dialogKey, m *sip.Message) {
	target := remoteTarget(m)
	if target == "" || len(target) > maxRoutes {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.get(k); d != nil && len(d.routes) == 0 && d.target != target {
		d.target = strings.Clone(target)
	}
}

// keepToTarget sees to it that what a phone sends in a dialog goes to who is in it: with
// nobody of the core in the route, the Request-URI alone says where that is. It reports
// whether there is such a place.
func (s *Server) keepToTarget(x *proxy.Exchange, d *dialog) bool {
	switch {
	case len(d.routes) > 0:
		return true
	case d.target == "":
		return false
	}
	if !sameHop(x.RequestURI(), d.target) {
		x.Edits.RequestURI(d.target)
		s.verdicts.Decide(x, "The Request-URI was not the remote target of the dialog, which has no route: mended.", "RFC 3261 12.2.1.1")
	}
	return true
}

// sameHop reports whether requests for two URIs go to the same place.
func sameHop(a, b string) bool {
	x, err := uri.Parse(a)
	if err != nil {
		return false
	}
	y, err := uri.Parse(b)
	if err != nil || x.Scheme != y.Scheme || !uri.SameHost(x.Host, y.Host) || x.Port != y.Port {
		return false
	}
	for _, name := range [...]string{"transport", "maddr"} {
		v, _ := x.Param(name)
		w, _ := y.Param(name)
		if !strings.EqualFold(v, w) {
			return false
		}
	}
	return true
}
