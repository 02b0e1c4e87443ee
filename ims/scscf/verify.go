package scscf

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip/transaction"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ims/uri"
)

// verify holds the phone's answer against the vector (TS 24.229 5.4.1.2.2, RFC
// 3310 3.3).
func (r *registration) verify(c *challenge) {
	s := r.s
	if !s.challenges.take(c) {
		r.challenge(nil, 0) // somebody else was quicker with it
		return
	}
	err := r.digest(c)
	if err == nil {
		c.password.Wipe()
		r.assign()
		return
	}
	c.password.Wipe()
	if failures := c.failures + 1; failures < s.cfg.MaxChallenges {
		s.verdicts.Decide(r.x, "Wrong answer of "+r.impi+": challenged again.", "TS 24.229 5.4.1.2.3A")
		r.challenge(nil, failures)
		return
	}
	ref := node.Refusal{Status: 403, Cause: "wrong_response", Clause: "TS 24.229 5.4.1.2.3A",
		Text: "The answer of " + r.impi + " to the challenge is wrong: " + err.Error() + ".",
		Next: "If the phone took the challenge, its K is the HSS's; look at how it computes the digest (qop, uri, body)."}
	r.forget(cx.AuthenticationFailure, func() { r.refuse(ref) })
}

// digest checks the response. A2 has the uri of the Authorization: the I-CSCF has
// replaced the Request-URI, so it is held against the home domain only.
func (r *registration) digest(c *challenge) error {
	u, err := uri.Parse(r.cred.URI)
	if err != nil || !uri.SameHost(u.Host, r.s.cfg.Domain) {
		return errors.New("its uri is not of " + r.s.cfg.Domain)
	}
	if r.cred.Realm != r.s.cfg.Domain {
		return errors.New("its realm is not " + r.s.cfg.Domain)
	}
	d := aka.Digest{
		Algorithm: c.algorithm, Method: "REGISTER", Username: r.cred.Username, Realm: r.cred.Realm, Nonce: c.nonce,
		URI: r.cred.URI, QOP: r.cred.QOP, NC: r.cred.NC, CNonce: r.cred.CNonce, Body: []byte(r.x.Req.Body()),
	}
	return d.Verify(c.password, r.cred.Response)
}

// resynchronise gives the HSS the SIM's AUTS and challenges anew (TS 33.102 6.3.5,
// TS 24.229 5.4.1.2.3A).
func (r *registration) resynchronise(c *challenge) {
	auts, err := aka.ParseAUTS(r.cred.AUTS)
	if err != nil {
		r.refuse(node.Refusal{Status: 400, Cause: "bad_auts", Text: "The auts of " + r.impi + " cannot be read: " + err.Error() + ".", Next: "Look at the REGISTER in the trace: it is the phone's to mend."})
		return
	}
	if !r.s.challenges.take(c) {
		r.challenge(nil, 0)
		return
	}
	if c.resynced {
		ref := node.Refusal{Status: 403, Cause: "resync_twice", Clause: "TS 24.229 5.4.1.2.3A",
			Text: "The SIM of " + r.impi + " refuses the sequence number again, right after a resynchronisation.",
			Next: "Do two HSSes hold this SIM, or does the HSS lose its SQN at a restart?"}
		r.forget(cx.AuthenticationFailure, func() { r.refuse(ref) })
		return
	}
	r.s.verdicts.Decide(r.x, "The SIM of "+r.impi+" refuses the sequence number: its AUTS goes to the HSS.", "TS 33.102 6.3.5")
	r.challenge(aka.ResyncOctets(c.rand, auts), 0)
}

// macFailure is an empty answer without auts: the SIM does not believe that the
// challenge is its home network's (TS 33.203 6.1.2.2).
func (r *registration) macFailure(c *challenge) {
	if !r.s.challenges.take(c) {
		r.challenge(nil, 0)
		return
	}
	ref := node.Refusal{Status: 403, Cause: "mac_failure", Clause: "TS 33.203 6.1.2.2",
		Text: "The UE reported MAC failure: K or OPc of " + r.impi + " differs between the SIM and the HSS.",
		Next: "Compare K and OPc of the card with the HSS's; an OP given as OPc, or the other way round, is the usual cause."}
	r.forget(cx.AuthenticationFailure, func() { r.refuse(ref) })
}

// await sees to it that the challenges which are outstanding end in time, on that shard.
func (s *Server) await(shard *transaction.Shard) {
	if wait, ok := s.challenges.watch(time.Now()); ok {
		shard.After(wait, func() {
			for _, c := range s.challenges.over(time.Now()) {
				s.notAnswered(c)
			}
			s.await(shard)
		})
	}
}

// notAnswered is the end of reg-await-auth (TS 24.229 5.4.1.2.3A).
func (s *Server) notAnswered(c *challenge) {
	if s.challenges.take(c) {
		s.unanswered(c, "No answer to the challenge of "+c.impi+" in "+s.cfg.RegAwaitAuth.D().String()+".")
	}
}

// unanswered is the end of a challenge that is no longer outstanding and that nobody has
// answered.
func (s *Server) unanswered(c *challenge, text string) {
	c.password.Wipe()
	s.verdicts.Often("not_answered", text, zap.String("impi", c.impi), zap.String("call_id", c.callID))
	s.verdicts.Trace.Emit(trace.Event{Kind: trace.State, CallID: c.callID, IMPI: c.impi, Text: text, Clause: "TS 24.229 7.8"})
	if !s.undecided(c.impi, c.impu) {
		return
	}
	s.endings.add(ending{impi: c.impi, impu: c.impu, kind: cx.AuthenticationTimeout})
}

// undecided reports whether all that the HSS knows of a user is that he was to be
// challenged: he is not registered, and nothing else is under way.
func (s *Server) undecided(impi, impu string) bool {
	return !s.store.Get(impu).Has(impi) && !s.turns.busy(impi) && !s.challenges.open(impi)
}

// forget tells the HSS that authentication failed, so that it drops its pending
// state, and then goes on. A user who is registered stays so, and the HSS is told
// nothing (TS 24.229 5.4.1.2.3A, TS 29.228 6.1.2).
func (r *registration) forget(kind cx.ServerAssignmentType, then func()) {
	if !r.s.undecided(r.impi, string(r.impu)) {
		then()
		return
	}
	r.s.tellHSS(r.impi, string(r.impu), kind, func(error) { r.x.Post(then) })
}
