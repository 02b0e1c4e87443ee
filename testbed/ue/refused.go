package ue

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
)

// refused makes the error for a REGISTER that was not accepted.
func (r *registrar) refused(op *procedure, o dialog.Outcome) *Error {
	e := seen(r.what(op), o)
	if op.cause != nil {
		e.Err = op.cause
	}
	cfg := &r.phone.cfg
	switch {
	case errors.Is(op.cause, aka.ErrMACFailure):
		e.Next = "compare K and OPc of " + cfg.IMPI + " between the phone and the HSS"
	case op.resync && e.Status != 0:
		e.Next = "the SIM asked for resynchronisation and was refused: look at the HSS, K and OPc agree but it does not take SQN_MS over"
	case e.Status == 401:
		e.Next = fmt.Sprintf("the network challenged %d times: look at the S-CSCF, which takes no answer", op.challenges)
	case e.Status == 403 && op.challenges > 0:
		e.Next = "the answer to the challenge was refused: compare K, OPc and the algorithm of " + cfg.IMPI + " with the HSS, and look at the S-CSCF's log"
	case e.Status == 403 || e.Status == 404:
		e.Next = "check at the HSS that " + cfg.IMPI + " exists, owns " + cfg.IMPU + " and may register in this network"
	case e.Status == 421:
		e.Next = "the P-CSCF insists on IPsec: use a phone that has it (IPsec user or kernel), or set the P-CSCF's policy to none"
	case e.Status == 420:
		e.Next = "the P-CSCF does not know " + strings.Clone(o.Msg.Get(sip.HUnsupported)) + ": give it a policy of IPsec, or use a phone without (IPsec none)"
	case e.Status == 494:
		e.Next = "the P-CSCF does not accept the security agreement: it has " + listed(o.Msg) + "; compare its Security-Server with the phone's Security-Client and Security-Verify"
	case e.Status == 0:
		e.Next = r.silence(op)
	case e.Status >= 500 || e.Status == 480 || e.Status == 408:
		e.Next = "a node behind the P-CSCF did not answer: look at the logs of I-CSCF, S-CSCF and HSS for this Call-ID " + r.callID
	}
	return e
}

// silence is what to do when nothing is answered.
func (r *registrar) silence(op *procedure) string {
	switch {
	case op.over == nil:
		return fmt.Sprintf("check that a P-CSCF listens at %v over %v and that nothing between drops it", *r.phone.pcscf.Load(), r.phone.cfg.Transport)
	case op.over == op.answer:
		return fmt.Sprintf("the 401 came in clear, but nothing over %v: look whether ESP reaches the P-CSCF, and what that says of this phone (pcscf --explain %s)", op.over.set, r.phone.cfg.IMPI)
	}
	return fmt.Sprintf("nothing comes over %v, which was in use: look whether the P-CSCF has been restarted (pcscf --explain %s); Reset has the phone come in clear", op.over.set, r.phone.cfg.IMPI)
}

// listed are the algorithms of the Security-Server in a 494 (RFC 3329 2.3.1), or its
// mechanisms as they stand where nothing is agreed yet, which need no SPIs.
func listed(m *sip.Message) string {
	var pairs []string
	for v := range m.Values(sip.HSecurityServer) {
		switch s, err := sip.ParseSecMechanism(v); {
		case err != nil:
			pairs = append(pairs, strings.Clone(v))
		case s.IsIPsec():
			pairs = append(pairs, strings.Clone(s.Alg+"/"+s.Encryption()))
		}
		if len(pairs) == maxServer {
			break
		}
	}
	if pairs == nil {
		return "no Security-Server with IPsec"
	}
	return strings.Join(pairs, ", ")
}
