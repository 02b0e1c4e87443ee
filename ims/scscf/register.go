package scscf

import (
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ims/uri"
)

// registration is a REGISTER that is being dealt with.
type registration struct {
	s    *Server
	x    *proxy.Exchange
	impi string
	impu identity.IMPU
	cred *sip.Credentials // nil when register has returned: nothing later needs them

	contacts []contact
	all      bool // Contact is "*"
	expires  time.Duration
	path     []string
	cseq     uint32
	turn     bool             // it has the turn of its private identity
	before   *profile.Profile // of the set, when the HSS was asked; nil for none

	// Most have one contact and came through one P-CSCF: the lists' first room.
	contacts1 [1]contact
	path1     [1]string
}

// register deals with a REGISTER (TS 24.229 5.4.1.1).
func (s *Server) register(x *proxy.Exchange) {
	r := &registration{s: s, x: x, cred: credentials.Get().(*sip.Credentials)}
	r.contacts, r.path = r.contacts1[:0], r.path1[:0]
	if ref, bad := r.read(); bad {
		r.refuse(ref)
	} else {
		r.authenticate()
	}
	*r.cred = sip.Credentials{} // which holds on to the message
	credentials.Put(r.cred)
	r.cred = nil
}

// credentials are used again: 256 octets for each REGISTER.
var credentials = sync.Pool{New: func() any { return new(sip.Credentials) }}

// maxPath bounds the Path of a REGISTER, which each of its bindings keeps.
const maxPath = 16

// maxCallID bounds the Call-ID of a REGISTER, in octets, which each of its bindings keeps
// and subscribers to the reg event are told.
const maxCallID = 512

// read takes out of the REGISTER what it needs; a refusal says what is wrong.
func (r *registration) read() (node.Refusal, bool) {
	m := r.x.Req
	bad := func(cause, text string) (node.Refusal, bool) {
		return node.Refusal{Status: 400, Cause: cause, Text: text, Next: "Look at the REGISTER in the trace: it is the phone's or its P-CSCF's to mend."}, true
	}
	to, err := sip.ParseNameAddr(m.Get(sip.HTo))
	if err == nil {
		r.impu, err = identity.ParseIMPUIn(to.URI)
	}
	if err != nil {
		return bad("bad_to", "To names no public identity: "+err.Error()+".")
	}
	if m.Has(sip.HAuthorization) {
		if *r.cred, err = sip.ParseCredentials(m.Get(sip.HAuthorization)); err != nil {
			return bad("bad_authorization", "The Authorization header cannot be read: "+err.Error()+".")
		}
	}
	if ref, bad := r.identify(to.URI); bad {
		return ref, true
	}
	if u, err := uri.Parse(m.RequestURI()); err != nil || !r.s.core.IsSelf(u) {
		return node.Refusal{Status: 403, Cause: "not_for_us", Clause: "TS 24.229 5.4.1.2",
			Text: "The REGISTER of " + r.impi + " is for " + m.RequestURI() + ", this S-CSCF is " + r.s.name + ".",
			Next: "The name in the I-CSCF's scscfs, the HSS's stored name and this S-CSCF's name must be the same."}, true
	}
	for v := range m.Values(sip.HPath) {
		if len(r.path) == maxPath {
			return bad("bad_path", "The REGISTER of "+r.impi+" has more than "+strconv.Itoa(maxPath)+" Path entries.")
		}
		r.path = append(r.path, v)
	}
	if len(r.path) == 0 {
		return node.Refusal{Status: 403, Cause: "no_path", Clause: "RFC 3327 5.3",
			Text: "The REGISTER of " + r.impi + " has no Path: it did not come through a P-CSCF.",
			Next: "Point the phone at the P-CSCF, and the I-CSCF alone at this S-CSCF."}, true
	}
	var unknown []string
	for tag := range m.Values(sip.HRequire) {
		if !strings.EqualFold(tag, "path") && !strings.EqualFold(tag, "outbound") {
			unknown = append(unknown, tag)
		}
	}
	if unknown != nil {
		return node.Refusal{Status: 420, Cause: "bad_extension", Clause: "RFC 3261 10.3",
			Text:   "The REGISTER of " + r.impi + " requires " + strings.Join(unknown, ", ") + ", which the S-CSCF does not have.",
			Next:   "sec-agree is between the phone and the P-CSCF: the P-CSCF takes it out of Require.",
			Fields: []sip.Field{{ID: sip.HUnsupported, Value: strings.Join(unknown, ", ")}}}, true
	}
	if n := len(m.CallID()); n > maxCallID {
		return bad("bad_call_id", "The Call-ID of the REGISTER of "+r.impi+" has "+strconv.Itoa(n)+" octets, more than "+strconv.Itoa(maxCallID)+".")
	}
	cs, err := m.CSeq()
	if err != nil {
		return bad("bad_cseq", "The CSeq cannot be read.")
	}
	r.cseq = cs.Seq
	r.s.learnHSS(m, r.impi, string(r.impu))
	return r.readContacts()
}

// identify finds the private identity: the username, or without one what follows
// from To (TS 24.229 5.4.1.1).
func (r *registration) identify(to string) (node.Refusal, bool) {
	var id identity.IMPI
	var err error
	if name := r.cred.Username; name != "" {
		id, err = identity.ParseIMPI(name)
	} else if u, bad := uri.Parse(to); bad == nil {
		id, err = identity.IMPIFromIMPU(u)
	}
	if err != nil {
		return node.Refusal{Status: 403, Cause: "bad_impi", Clause: "TS 24.229 5.4.1.2.1",
			Text: "The REGISTER of " + string(r.impu) + " names no private identity: " + err.Error() + ".",
			Next: "The phone's username must look like 001010000000001@" + r.s.cfg.Domain + "."}, true
	}
	r.impi = string(id)
	return node.Refusal{}, false
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// refuse answers the REGISTER with a failure.
func (r *registration) refuse(ref node.Refusal) {
	ref.IMPI = r.impi
	r.counts(ref.Status)
	r.s.verdicts.Refuse(r.x, ref)
	r.over()
}

// counts notes the answer that is about to be sent, unless nobody waits for it any more.
func (r *registration) counts(status int) {
	if !r.x.Done() {
		r.s.metrics.registers.WithLabelValues(strconv.Itoa(status)).Inc()
	}
}

// info logs a line about the REGISTER: what they all have, then more.
func (r *registration) info(text string, more ...zap.Field) {
	var buf [8]zap.Field
	fields := append(buf[:0], zap.String("impi", r.impi), zap.String("impu", string(r.impu)), zap.String("call_id", r.x.Req.CallID()), zap.String("icid", node.ICID(r.x.Req)))
	node.Info(r.s.verdicts.Log, text, append(fields, more...)...)
}

// authenticate decides whether the REGISTER must be challenged, answers a
// challenge, or needs neither (TS 24.229 5.4.1.2).
func (r *registration) authenticate() {
	s := r.s
	protected := strings.EqualFold(r.cred.IntegrityProtected, "yes")
	if other := s.challenges.ofNonce(r.cred.Nonce); other != nil && other.impi != r.impi {
		r.refuse(node.Refusal{Status: 403, Cause: "wrong_username", Clause: "TS 24.229 5.4.1.2.2",
			Text: r.impi + " answers a challenge that was made for " + other.impi + ".",
			Next: "The phone must answer with the username that it registered with: are two phones mixed up behind one address?"})
		return
	}
	open := s.challenges.of(r.impi, r.x.Req.CallID())
	answers := open != nil && r.cred.Nonce == open.nonce && time.Now().Before(open.until)
	switch {
	case r.cred.AUTS != "" && answers:
		r.resynchronise(open)
	case answers && r.cred.Response == "":
		r.macFailure(open)
	case answers && (protected || s.cfg.AKAWithoutIPsec):
		r.verify(open)
	case answers:
		r.refuse(node.Refusal{Status: 403, Cause: "unprotected_answer", Clause: "TS 24.229 5.4.1.2.1",
			Text: "The challenge of " + r.impi + " was answered without IPsec, which this S-CSCF does not take.",
			Next: "Use IPsec on Gm, or for a lab set aka_without_ipsec in the S-CSCF's configuration."})
	case protected && open == nil:
		r.unchallenged()
	default:
		r.challenge(nil, 0)
	}
}

// unchallenged deals with a protected REGISTER while no challenge is outstanding.
// It repeats the last nonce and response, which is no replay (TS 24.229
// 5.1.1.4.2): the security association proves who sends it. Who is registered is
// challenged only where the configuration says so; who is not, after a restart of
// ours for one, must be (TS 24.229 5.4.1.2.2).
func (r *registration) unchallenged() {
	reg := r.s.store.Get(string(r.impu))
	switch {
	case !reg.Has(r.impi):
		r.challenge(nil, 0)
		return
	case !r.leaving():
		for _, c := range r.contacts {
			if known(reg, c, r.impi) {
				continue
			}
			if c.addr.Params.Has("reg-id") { // a further flow of the phone
				r.challenge(nil, 0)
				return
			}
			r.refuse(node.Refusal{Status: 403, Cause: "unknown_contact", Clause: "TS 24.229 5.4.1.2.2",
				Text: "A protected REGISTER of " + r.impi + " brings the contact " + c.addr.URI + ", which is not registered.",
				Next: "A phone with a new address registers from the start: without the old security association."})
			return
		}
		if r.s.cfg.Reauthenticate && len(r.contacts) > 0 {
			r.challenge(nil, 0)
			return
		}
	}
	r.s.verdicts.Decide(r.x, "Protected REGISTER of a registered contact: no new challenge is needed.", "TS 24.229 5.4.1.2.2")
	r.assign()
}

// challenge asks the HSS for a vector and sends the 401 (TS 24.229 5.4.1.2.1).
// resync is RAND‖AUTS after a synchronisation failure, nil otherwise.
func (r *registration) challenge(resync []byte, failures int) {
	s := r.s
	if !s.cx.Room(s.classify(r.x.Flow, r.x.Req)) {
		r.refuse(s.cx.Busy())
		return
	}
	q := &cx.MAR{UserName: r.impi, PublicIdentity: string(r.impu), NumberAuthItems: 1, ServerName: s.name,
		Item: cx.AuthDataItem{Scheme: "Digest-" + s.algorithm.String(), Authorization: resync}}
	s.cx.MAR(s.cx.Deadline(), q, func(a *cx.MAA, err error) {
		node.Answered(r.x, a, func() { r.vector(a, err, resync != nil, failures) })
	})
}

// vector goes on with the HSS's answer to the MAR.
func (r *registration) vector(a *cx.MAA, err error, resynced bool, failures int) {
	s := r.s
	if node.TooBusy(err) {
		r.refuse(s.cx.Busy())
		return
	}
	if err != nil {
		r.refuse(hssRefusal(err, "a vector for "+r.impi, resynced))
		return
	}
	if len(a.Items) == 0 {
		r.refuse(node.Refusal{Status: 403, Cause: "no_vector", Text: "The HSS sent no authentication vector for " + r.impi + ".", Next: "Look at the HSS: has the subscriber a key, and does it know the algorithm that the S-CSCF asks for?"})
		return
	}
	item := a.Items[0]
	n, err := aka.NonceFromOctets(item.Authenticate)
	if err != nil || len(item.Authorization) == 0 || len(item.ConfidentialityKey) != 16 || len(item.IntegrityKey) != 16 {
		r.refuse(node.Refusal{Status: 403, Cause: "bad_vector",
			Text: "The authentication vector of " + r.impi + " cannot be used: RAND and AUTN, XRES, CK or IK have wrong lengths.",
			Next: "Look at the HSS: it must send 16 octets each of RAND, AUTN, CK and IK, and 4 to 16 of XRES."})
		return
	}
	ck, ik := aka.NewSecret(item.ConfidentialityKey), aka.NewSecret(item.IntegrityKey)
	c := &challenge{
		impi: r.impi, callID: r.x.Req.CallID(), impu: string(r.impu), nonce: n.String(), rand: n.RAND, algorithm: s.algorithm,
		password: s.algorithm.Password(aka.NewSecret(item.Authorization), ck, ik),
		until:    time.Now().Add(s.cfg.RegAwaitAuth.D()), resynced: resynced, failures: failures,
	}
	if gone := s.challenges.put(c); gone != nil {
		s.unanswered(gone, "The challenge of "+gone.impi+" has given way to a newer one: too many wait for their answers. Look where the REGISTERs come from: so many phones do not wait at once.")
	}
	s.await(r.x.Shard)
	r.counts(401)
	s.verdicts.Often("challenged", "challenged", zap.String("impi", r.impi), zap.String("impu", string(r.impu)), zap.String("call_id", r.x.Req.CallID()), zap.String("icid", node.ICID(r.x.Req)))
	var buf [64]byte
	keys := string(hex.AppendEncode(hex.AppendEncode(buf[:0], item.ConfidentialityKey), item.IntegrityKey)) // 16 octets each
	head := sip.Challenge{
		Scheme: "Digest", Realm: s.cfg.Domain, Nonce: c.nonce, Algorithm: s.algorithm.String(), QOP: "auth,auth-int",
		CK: keys[:32], IK: keys[32:],
	}
	b := r.x.Response(401, "")
	b.Add(sip.HWWWAuthenticate, string(head.AppendTo(make([]byte, 0, 384))))
	r.x.Send(401, b)
	b.Free()
}

// hssRefusal says what an error of the HSS means for a REGISTER.
func hssRefusal(err error, what string, resync bool) node.Refusal {
	r := node.Refusal{Status: 403, Clause: "TS 24.229 5.4.1.2.3"}
	switch {
	case cx.IsResult(err, cx.ErrorUserUnknown):
		r.Cause, r.Text = "unknown_user", "The HSS knows no such user when asked for "+what+"."
		r.Next = "Add the subscriber to the HSS."
	case cx.IsResult(err, cx.ErrorIdentitiesDontMatch):
		r.Cause, r.Text = "identities_dont_match", "Private and public identity do not belong together when asked for "+what+"."
		r.Next = "Add the public identity to the subscriber's impus, or correct the phone's."
	case cx.IsResult(err, cx.ErrorAuthSchemeNotSupported):
		r.Cause, r.Text = "scheme", "The HSS does not support the authentication scheme when asked for "+what+"."
		r.Next = "Set algorithm of the S-CSCF's configuration to AKAv1-MD5."
	case cx.IsResult(err, cx.ErrorIdentityAlreadyRegistered):
		r.Cause, r.Text = "other_scscf", "The HSS says that another S-CSCF serves the user when asked for "+what+"."
		r.Next = "Is the user still registered elsewhere? (Open5GS means by the same code that it misses an AVP.)"
	case resync && isResult(err):
		r.Cause, r.Text = "auts_refused", "The HSS refused the AUTS when asked for "+what+": "+err.Error()+"."
		r.Next = "K or OPc differ between the SIM and the HSS."
	case isResult(err):
		r.Status, r.Cause, r.Text = 500, "hss", "The HSS refused when asked for "+what+": "+err.Error()+"."
		r.Next = "The HSS's log says why; the result code is that of TS 29.229 6.2 or RFC 6733 7.1."
	default:
		r.Status, r.Cause, r.Text = 504, "hss", "The HSS did not answer when asked for "+what+": "+err.Error()+"."
		r.Next = "Check that the HSS runs and that diameter.peers of the S-CSCF names it."
	}
	return r
}

// isResult reports whether the HSS has answered, with a failure.
func isResult(err error) bool {
	var r *diameter.ResultError
	return errors.As(err, &r)
}
