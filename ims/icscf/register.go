package icscf

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/uri"
)

// registration is a REGISTER for which an S-CSCF is looked for.
type registration struct {
	s         *Server
	x         *proxy.Exchange
	impi      string
	impu      identity.IMPU
	visited   string
	leaving   bool // de-registration
	answering bool // it answers a challenge
	proven    bool // its P-CSCF has it from the user's SA set (TS 24.229 5.2.2.2)

	tried []string // S-CSCFs
	left  []string // still to try
	asked bool     // for capabilities
	// Most registrations know of one S-CSCF and try no more: the lists' first room.
	tried1, left1 [1]string
}

// register asks the HSS for the user's S-CSCF and takes the REGISTER there (TS
// 24.229 5.3.1.2).
func (s *Server) register(x *proxy.Exchange) {
	r := &registration{s: s, x: x}
	r.tried = r.tried1[:0]
	if refusal := r.identify(); refusal.Status != 0 {
		refusal.IMPI = r.impi
		s.verdicts.Refuse(x, refusal)
		return
	}
	if !s.mayAsk(x) {
		return
	}
	r.visited = s.cfg.Domain
	if v, err := sip.ParseVisitedNetworkID(x.Req.First(sip.HPVisitedNetworkID)); err == nil && v.ID != "" {
		r.visited = v.ID
	}
	r.leaving = leaving(x.Req)
	x.Edits.Remove(sip.HRoute)
	x.OnResponse(r.response)
	x.OnBest(r.best)

	kind := cx.Registration
	if r.leaving {
		kind = cx.Deregistration
	}
	s.cx.UAR(s.cx.Deadline(), r.uar(kind), func(a *cx.UAA, err error) {
		node.Answered(x, a, func() { r.authorized(a, err) })
	})
}

// identify finds out whose REGISTER it is, and whether a P-CSCF has sent it. Status
// 0 of the refusal is none.
func (r *registration) identify() node.Refusal {
	m := r.x.Req
	to, err := sip.ParseNameAddr(m.Get(sip.HTo))
	if err == nil {
		r.impu, err = identity.ParseIMPUIn(to.URI)
	}
	if err != nil {
		return node.Refusal{Status: 400, Cause: "bad_to", Text: "To names no public identity: " + err.Error() + ".", Next: "Look at the identity that the phone is configured with."}
	}
	for line := range m.Lines(sip.HAuthorization) {
		c, err := sip.ParseCredentials(line)
		if err != nil {
			return node.Refusal{Status: 400, Cause: "bad_authorization", Text: "The Authorization header cannot be read: " + err.Error() + ".", Next: "Look at the REGISTER in the trace: it is the phone's or its P-CSCF's to mend."}
		}
		if r.impi == "" {
			// One with a nonce answers a challenge, if only to say that it failed.
			r.impi, r.answering = c.Username, c.Nonce != ""
			r.proven = strings.EqualFold(c.IntegrityProtected, "yes")
		}
	}
	if r.impi == "" {
		u, err := uri.Parse(to.URI)
		if err == nil {
			var id identity.IMPI
			id, err = identity.IMPIFromIMPU(u)
			r.impi = string(id)
		}
		if err != nil {
			return node.Refusal{Status: 403, Cause: "no_impi", Clause: "TS 24.229 5.3.1.2",
				Text: "The REGISTER names no private identity: it has no Authorization with a username, and none follows from " + string(r.impu) + ".",
				Next: "The phone must send its private identity as username of Authorization."}
		}
	}
	if !m.Has(sip.HPath) {
		return node.Refusal{Status: 403, Cause: "no_path", Clause: "TS 24.229 5.3.1.1",
			Text: "The REGISTER of " + r.impi + " has no Path: it did not come through a P-CSCF.", Next: "Point the phone at the P-CSCF."}
	}
	return node.Refusal{}
}

func (r *registration) uar(kind cx.UserAuthorizationType) *cx.UAR {
	q := &cx.UAR{UserName: r.impi, PublicIdentity: string(r.impu), VisitedNetworkID: r.visited, Type: kind}
	if emergency(r.x.Req) {
		q.Flags = cx.UAREmergencyRegistration
	}
	return q
}

// emergency reports whether a REGISTER is for an emergency: its contact has the sos
// parameter (TS 24.229 5.3.1.2, 7.2A.13). The HSS then bars nobody, nor roaming.
func emergency(m *sip.Message) bool {
	for v := range m.Values(sip.HContact) {
		if a, err := sip.ParseNameAddr(v); err == nil {
			if u, err := uri.Parse(a.URI); err == nil && u.HasParam("sos") {
				return true
			}
		}
	}
	return false
}

// leaving reports whether a REGISTER removes all its contacts (TS 24.229 5.3.1.2).
func leaving(m *sip.Message) bool {
	header, ok := m.Expires()
	all := ok && header == 0
	contacts := 0
	for v := range m.Values(sip.HContact) {
		if v == "*" {
			return true
		}
		contacts++
		gone := all
		if a, err := sip.ParseNameAddr(v); err == nil {
			if e, ok := a.Expires(); ok {
				gone = e == 0
			}
		}
		if !gone {
			return false
		}
	}
	return contacts > 0
}

// authorized goes on with the HSS's answer.
func (r *registration) authorized(a *cx.UAA, err error) {
	s := r.s
	if err != nil {
		s.verdicts.Refuse(r.x, r.unauthorized(err))
		return
	}
	if name := serverURI(a.ServerName); name != "" {
		r.left = append(r.left1[:0], name)
	} else {
		r.left = choose(s.cfg.SCSCFs, a.Capabilities)
	}
	s.nameHSS(r.x, a.OriginHost)
	if r.answering {
		if name := s.recent.by(r.impi, r.x.Req.CallID(), time.Now()); name != "" {
			r.left = append(r.left1[:0], name)
		}
	}
	r.tell(a)
	r.forward()
}

// tell writes what the HSS has said. It says the same to whoever names a user without
// being him: those lines are limited.
func (r *registration) tell(a *cx.UAA) {
	const text = "user authorized"
	v := r.s.verdicts
	fields := [...]zap.Field{
		zap.String("impi", r.impi), zap.String("impu", string(r.impu)), zap.String("result", cx.ResultName(a.Result)),
		zap.Strings("scscf", r.left), zap.String("call_id", r.x.Req.CallID()), zap.String("icid", node.ICID(r.x.Req)),
	}
	if r.proven {
		node.Info(v.Log, text, fields[:]...)
		return
	}
	v.Often("authorized", text, fields[:]...)
}

// forward takes the REGISTER to the next S-CSCF: its name is the Request-URI.
func (r *registration) forward() {
	if len(r.left) == 0 {
		r.exhausted()
		return
	}
	name := r.left[0]
	r.left = r.left[1:]
	r.tried = append(r.tried, name)
	if r.s.verdicts.Deciding() {
		r.s.verdicts.Decide(r.x, "S-CSCF of "+r.impi+": "+name+".", "TS 24.229 5.3.1.2")
	}
	r.x.Retry(proxy.Target{URI: name, Hop: proxy.Hop{Role: sip.RoleCore}, Timeout: r.s.cfg.SCSCFTimeout.D()})
}

func (r *registration) response(_ *proxy.Branch, m *sip.Message, _ *sip.Edits) bool {
	if m.Status() == 401 && len(r.tried) > 0 {
		r.s.recent.challenged(r.impi, m.CallID(), r.tried[len(r.tried)-1], time.Now())
	}
	return true
}

// best decides what to do when the S-CSCF did not serve the user (TS 24.229
// 5.3.1.3): silence, 3xx and 480 mean another one.
func (r *registration) best(best *proxy.Final) bool {
	if !best.Local() && best.Status/100 != 3 && best.Status != 480 && best.Status != 503 {
		return true
	}
	why := "answered " + strconv.Itoa(best.Status)
	if best.Err != nil {
		why = "did not answer: " + best.Err.Error()
	}
	r.s.verdicts.Decide(r.x, "S-CSCF "+r.tried[len(r.tried)-1]+" "+why+". Looking for another one.", "TS 24.229 5.3.1.3")
	if len(r.left) > 0 {
		r.forward()
		return false
	}
	if best.Status == 503 && !best.Local() {
		// The HSS would name others that have not had this user so far; to move users
		// away from an S-CSCF because it is busy makes more work, not less.
		refusal := overloaded(best)
		refusal.IMPI = r.impi
		r.s.verdicts.Refuse(r.x, refusal)
		return false
	}
	if r.asked || r.leaving {
		r.exhausted()
		return false
	}
	r.asked = true
	r.s.cx.UAR(r.s.cx.Deadline(), r.uar(cx.RegistrationAndCapabilities), func(a *cx.UAA, err error) {
		node.Answered(r.x, a, func() {
			if err != nil {
				r.exhausted()
				return
			}
			names := choose(r.s.cfg.SCSCFs, a.Capabilities)
			r.left = without(names, r.tried)
			r.forward()
		})
	})
	return false
}

func (r *registration) exhausted() {
	text := "No S-CSCF serves " + r.impi + ": tried " + strings.Join(r.tried, ", ") + "."
	if len(r.tried) == 0 {
		text = "No S-CSCF has the capabilities that the HSS asks for " + r.impi + "."
	}
	r.s.verdicts.Refuse(r.x, node.Refusal{Status: 504, Cause: "no_scscf", Clause: "TS 24.229 5.3.1.3", IMPI: r.impi,
		Text: text, Next: "Check that an S-CSCF runs at the name in scscfs of the I-CSCF's configuration."})
}

// unauthorized says why the HSS did not authorize (TS 24.229 5.3.1.3).
func (r *registration) unauthorized(err error) node.Refusal {
	out := node.Refusal{Status: 403, IMPI: r.impi, Clause: "TS 29.228 6.1.1"}
	var result *diameter.ResultError
	errors.As(err, &result)
	switch {
	case cx.IsResult(err, cx.ErrorUserUnknown):
		out.Cause, out.Text = "unknown_user", "The HSS does not know "+r.impi+" ("+string(r.impu)+")."
		out.Next = "Add the subscriber to the HSS, or correct the IMSI, MNC and MCC of the SIM."
	case cx.IsResult(err, cx.ErrorIdentitiesDontMatch):
		out.Cause, out.Text = "identities_dont_match", string(r.impu)+" is no public identity of "+r.impi+" at the HSS."
		out.Next = "Add it to the subscriber's impus, or correct the phone's identity."
	case cx.IsResult(err, cx.ErrorIdentityNotRegistered):
		out.Cause, out.Text = "not_registered", string(r.impu)+" is not registered at the HSS: there is nothing to de-register."
		out.Next = "Nothing is left to do: the registration had ended before."
	case cx.IsResult(err, cx.ErrorRoamingNotAllowed):
		out.Cause, out.Text = "roaming", r.impi+" may not roam in "+r.visited+"."
		out.Next = "Allow the visited network at the HSS, or correct visited_network of the P-CSCF."
	case result != nil && result.Is(diameter.AuthorizationRejected):
		out.Cause, out.Text = "barred", r.impi+" is barred: the HSS rejects the authorization of "+string(r.impu)+"."
		out.Next = "Remove the barring at the HSS."
	case node.TooBusy(err):
		busy := r.s.cx.Busy()
		busy.IMPI = r.impi
		return busy
	default:
		out.Status, out.Cause = 480, "hss"
		out.Text = "The HSS could not be asked about " + r.impi + ": " + err.Error() + "."
		out.Next = "Check that the HSS runs and that diameter.peers of the I-CSCF names it."
	}
	return out
}

// nameHSS tells the S-CSCF which HSS has the user, where there are several (RFC
// 4457 4; TS 24.229 5.3.1.2, 5.3.2.1).
func (s *Server) nameHSS(x *proxy.Exchange, host string) {
	if len(s.cfg.Diameter.Peers) > 1 && host != "" {
		x.Edits.Set(sip.HPUserDatabase, sip.UserDatabase(host))
	}
}
