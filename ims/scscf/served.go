package scscf

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/ifc"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
)

// unregisteredFor is how long the profile of an unregistered user is kept (TS
// 24.229 5.4.3.3 leaves it to the operator).
const unregisteredFor = time.Hour

// fetch asks the HSS for the profile of a user who is not registered here, and
// goes on with it (TS 29.228 6.1.2). It refuses the request when there is none.
func (l *leg) fetch(impu identity.IMPU, then func(*registrar.Registration)) {
	s := l.s
	if !s.cx.Room(s.classify(l.x.Flow, l.x.Req)) {
		l.refuse(s.cx.Busy())
		return
	}
	q := &cx.SAR{PublicIdentities: []string{string(impu)}, ServerName: s.name, Type: cx.UnregisteredUser, UserDataAlreadyAvailable: cx.UserDataNotAvailable}
	if key := l.profileKey(); key != "" {
		q.WildcardedPublicIdentity = string(key)
	}
	s.learnHSS(l.x.Req, string(impu))
	s.cx.SAR(s.cx.Deadline(), q, func(a *cx.SAA, err error) {
		node.Answered(l.x, a, func() {
			if node.TooBusy(err) {
				l.refuse(s.cx.Busy())
				return
			}
			if err != nil {
				l.refuse(unregisteredRefusal(err, impu))
				return
			}
			reg, err := l.unregistered(impu, a)
			if err != nil {
				l.refuse(node.Refusal{Status: 500, Cause: "bad_profile", Clause: "TS 29.229 6.2.2",
					Text: "The profile of " + string(impu) + " cannot be used: " + err.Error() + ".", Next: "Correct the subscriber's profile or filter criteria at the HSS."})
				return
			}
			then(reg)
		})
	})
}

// learnHSS takes from the I-CSCF which HSS has the user (RFC 4457 4).
func (s *Server) learnHSS(m *sip.Message, users ...string) {
	if !m.Has(sip.HPUserDatabase) {
		return
	}
	if host, err := sip.ParseUserDatabase(m.Get(sip.HPUserDatabase)); err == nil {
		s.cx.Learn(host, users...)
	}
}

// unregistered makes a registration without contacts out of an SAA and keeps it.
func (l *leg) unregistered(impu identity.IMPU, a *cx.SAA) (*registrar.Registration, error) {
	s := l.s
	impi := a.UserName
	reg, err := s.userData(a.UserData, impi, impu)
	if err != nil {
		return nil, err
	}
	key := strings.Clone(string(impu))
	if sp, pi := reg.Profile.Find(impu); pi == nil || string(pi.Identity) != key {
		// One that a wildcarded identity stands for, or that the HSS left out: known
		// all the same, or the HSS would have said so.
		i := slices.IndexFunc(reg.Identities, func(id registrar.Identity) bool { return id.Key == key })
		reg.Identities[i].Barred = pi != nil && pi.Barred
		if sp != nil {
			chain, err := s.chains.Chain(sp)
			if err != nil {
				return nil, fmt.Errorf("compiling the filter criteria: %w", err)
			}
			if reg.Services == nil {
				reg.Services = &services{chains: map[string]*ifc.Chain{}}
			}
			servicesOf(reg).chains[key] = chain
		}
	}
	if impi != "" {
		addIMPIs(reg, impi)
		addIMPIs(reg, associatedIMPIs(a)...)
	}
	reg.HSS, reg.Charging, reg.Until = unique.Make(a.OriginHost).Value(), chargingAddresses(a.Charging), time.Now().Add(unregisteredFor)
	if err := s.store.Put(nil, reg); err != nil {
		// Somebody was quicker, the set is known by another identity, or the store
		// is full: this request is served with what the HSS said, once.
		if now := s.store.Get(key); now != nil && now.Profile != nil {
			return now, nil
		}
	}
	return reg, nil
}

// unregisteredRefusal says what an error of the HSS means for a request.
func unregisteredRefusal(err error, impu identity.IMPU) node.Refusal {
	r := node.Refusal{Status: 480, Clause: "TS 29.228 6.1.2"}
	switch {
	case cx.IsResult(err, cx.ErrorUserUnknown):
		r.Status, r.Cause, r.Text = 404, "unknown_user", "The HSS does not know "+string(impu)+"."
		r.Next = "Add it to a subscriber's impus."
	case cx.IsResult(err, cx.ErrorIdentityAlreadyRegistered):
		r.Cause, r.Text = "other_scscf", "The HSS says that another S-CSCF serves "+string(impu)+"."
		r.Next = "Requests for the user must go there: look at the S-CSCF that the HSS names, and at who sent this one here."
	case cx.IsResult(err, cx.ErrorInAssignmentType):
		r.Cause, r.Text = "assignment_type", "The HSS has "+string(impu)+" as registered, and this S-CSCF has not: it has lost the registration."
		r.Next = "The phone's next REGISTER mends it."
	case isResult(err):
		r.Cause, r.Text = "hss", "The HSS gave no profile for "+string(impu)+": "+err.Error()+"."
		r.Next = "The HSS's log says why; the result code is that of TS 29.229 6.2 or RFC 6733 7.1."
	default:
		r.Status, r.Cause, r.Text = 504, "hss", "The HSS did not answer when asked for the profile of "+string(impu)+": "+err.Error()+"."
		r.Next = "Check that the HSS runs and that diameter.peers of the S-CSCF names it."
	}
	return r
}

// profileKey is the wildcarded identity by which the I-CSCF has found the called
// user (RFC 5002 5), empty when there is none.
func (l *leg) profileKey() identity.IMPU {
	if !l.x.Req.Has(sip.HPProfileKey) {
		return ""
	}
	a, err := sip.ParseNameAddr(l.x.Req.Get(sip.HPProfileKey))
	if err != nil {
		return ""
	}
	key, err := identity.ParseIMPUIn(a.URI)
	if err != nil {
		return ""
	}
	return key
}

// aliases returns the identities that are other names of impu: those of its alias
// group, and its number in the other scheme if that is of the set (TS 24.229
// 5.4.3.2; many HSSes know no alias groups).
func aliases(reg *registrar.Registration, impu identity.IMPU, home string) []identity.IMPU {
	var out []identity.IMPU
	if reg.Profile != nil {
		out = reg.Profile.Aliases(impu)
	}
	if len(out) > 0 {
		return out
	}
	other, ok := impu.TelForm(home)
	if impu.IsTel() {
		other, ok = impu.SIPForm(home), true
	}
	if _, is := reg.Identity(string(other)); ok && is {
		return []identity.IMPU{other}
	}
	return nil
}

// alias returns an alias of impu in the other scheme that may be shown, empty when
// there is none.
func alias(reg *registrar.Registration, impu identity.IMPU, home string) identity.IMPU {
	for _, a := range aliases(reg, impu, home) {
		if id, ok := reg.Identity(string(a)); ok && !id.Barred && a.IsTel() != impu.IsTel() {
			return a
		}
	}
	return ""
}

// nameOf reads the identity in a header value, empty when there is none.
func nameOf(value string) identity.IMPU {
	a, err := sip.ParseNameAddr(value)
	if err != nil {
		return ""
	}
	impu, err := identity.ParseIMPUIn(a.URI)
	if err != nil {
		return ""
	}
	return impu
}
