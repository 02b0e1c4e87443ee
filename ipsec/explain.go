package ipsec

import (
	"errors"
	"fmt"
	"time"
)

// Patience is how long a phone may take to answer a challenge before one wonders.
const Patience = 4 * time.Second

// soon is within what time after its 200 a phone that registers anew did not like it.
const soon = 5 * time.Minute

// Complete fills in what follows from the rest.
func (r *Report) Complete() {
	if r.Facts.RefusedFor != nil {
		r.Facts.RefusedText = r.Facts.RefusedFor.Error()
	}
	r.Explanation = r.Explain()
}

// Explain says what a report shows, the gravest first. It looks at nothing else, not
// even at the clock.
func (r *Report) Explain() []Sentence {
	e := explainer{Report: r, f: &r.Facts}
	first := func(to **SetReport, s *SetReport) {
		if *to == nil {
			*to = s
		}
	}
	for i := range r.Sets {
		switch s := &r.Sets[i]; s.State {
		case Temporary.String():
			first(&e.temp, s)
		case InUse.String():
			first(&e.inUse, s)
		case Unused.String():
			first(&e.next, s)
		}
	}
	e.refused()
	e.reported()
	e.challenge()
	e.drops()
	e.state()
	return e.said
}

type explainer struct {
	*Report
	f                 *Facts
	temp, inUse, next *SetReport
	said              []Sentence
}

func (e *explainer) say(code, what, cause, next string) {
	e.said = append(e.said, Sentence{code, what, cause, next})
}

// ago is how long before the report something happened.
func (e *explainer) ago(t time.Time) string { return words(e.At.Sub(t)) }

// refused explains what we ourselves refused, unless a REGISTER has got further since.
func (e *explainer) refused() {
	f := e.f
	if f.RefusedAt.IsZero() || f.RefusedAt.Before(f.ForwardedAt) || f.RefusedAt.Before(f.RegisteredAt) {
		return
	}
	what := fmt.Sprintf("REGISTER refused with %d %s ago", f.RefusedStatus, e.ago(f.RefusedAt))
	var none *UnacceptableError
	var stale *StaleError
	var gave *GaveWayError
	switch err := f.RefusedFor; {
	case errors.As(err, &none) && none.BehindNAT:
		e.say(codeNATInTheWay, what, fmt.Sprintf("NAT between phone and P-CSCF, the phone says %s and its packets come from %v, and it does not offer UDP-enc-tun, or we do not allow it", f.Via, f.Source.Addr()),
			"Route the phones' network to the P-CSCF without masquerading it")
	case errors.As(err, &none) && len(none.Why) == 0:
		e.say(codeNoOffer, what, "the REGISTER has no Security-Client with ipsec-3gpp",
			"Switch IPsec on in the phone's carrier settings, or set ipsec: {policy: none} here")
	case errors.As(err, &none):
		e.say(codeNoCommonPair, what, none.Error(), "Compare security_client below with ipsec.algorithms")
	case errors.Is(err, ErrVerify), errors.Is(err, ErrNoVerify):
		e.say(codeBadVerify, what, err.Error(), "Compare the Security-Server of the 401 with the Security-Verify in a trace of both messages; try ipsec: {offer: chosen}")
	case errors.Is(err, ErrClient):
		e.say(codeBadClient, what, err.Error(), "Compare the Security-Client of both REGISTERs in a trace; what stands between them and us changes it")
	case errors.As(err, &stale):
		e.say(codeStaleOffer, what, stale.Error(), "Switch the phone to flight mode and back: it then registers in clear")
	case errors.As(err, &gave):
		e.say(codeGaveWay, what, gave.Why+": "+crowds, seeCrowds)
	case errors.Is(err, ErrPorts):
		e.say(codeNoPorts, what, err.Error(), "Widen ipsec.server_ports and ipsec.client_ports")
	case err != nil && f.RefusedStatus >= 500:
		e.say(codeInstallFailed, what, "the SAs could not be set up: "+err.Error(), "Do what the error says; ipsec: {backend: user} needs nothing of the kernel")
	case err != nil:
		e.say(codeRefusedOtherwise, what, err.Error(), "See the trace of this REGISTER")
	default:
		e.say(codeRefusedOtherwise, what, "no reason was kept", "See the trace of this REGISTER")
	}
}

// reported explains what the phone said about the challenge, and what the home network said.
func (e *explainer) reported() {
	f := e.f
	if n := f.MACFailures; n > 0 {
		e.say(codeMACFailure, fmt.Sprintf("the phone reported MAC failure %s since its last success", counted(n)),
			"K, OPc or the AMF differ between SIM and HSS",
			"Compare K and OPc of "+e.IMPI+" in the HSS with the SIM's; an OP given as OPc does this too")
	}
	if n := f.Resyncs; n > 1 {
		e.say(codeSyncFailure, fmt.Sprintf("the phone asked %s for resynchronisation since its last success", counted(n)),
			"the HSS does not take the SQN from AUTS, or two HSSes count for one SIM",
			"See whether the SQN of "+e.IMPI+" in the HSS moves; one HSS for EPC and IMS, or different IND values")
	}
	switch {
	case f.ForwardedAt.IsZero() || f.ForwardedAt.Before(f.RegisteredAt):
	case f.HomeAt.Before(f.ForwardedAt):
		if e.At.Sub(f.ForwardedAt) >= Patience {
			e.say(codeNoAnswerHome, fmt.Sprintf("REGISTER forwarded, no answer in %s", e.ago(f.ForwardedAt)),
				"I-CSCF, S-CSCF or HSS do not answer", "See the log of the I-CSCF: is its Cx peer open, does it find an S-CSCF?")
		}
	case f.HomeStatus < 300 || f.HomeStatus == 401:
	case f.HomeStatus == 403 && !f.AnsweredAt.IsZero() && !f.AnsweredAt.Before(f.ForwardedAt): // the answer was what it refused
		e.say(codeWrongAnswer, fmt.Sprintf("the phone answered the challenge over its SAs, the home network answered %d %s ago", f.HomeStatus, e.ago(f.HomeAt)),
			"the keys agree, or ESP would not have come through; so the S-CSCF computes another response: auth-int with a body, another algorithm, or the subscriber is barred",
			"See the log of the S-CSCF for this IMPI")
	case f.MACFailures == 0:
		e.say(codeHomeRefused, fmt.Sprintf("the home network answered the REGISTER with %d %s ago", f.HomeStatus, e.ago(f.HomeAt)),
			"not a matter of IPsec: the subscriber is unknown or barred, or a service of the home network is down",
			"See the logs of I-CSCF and S-CSCF for this IMPI")
	}
}

// Why sets of challenges give way, and what then.
const (
	crowds    = "somebody sends REGISTERs in the names of others, or very many phones are challenged whose answers do not come through, or phones behind one NAT share their ports"
	seeCrowds = `See gocscf_pcscf_sa_sets{state="temporary"}, and in the log whose sets give way and why; the phone comes up when it tries again`
)

// challenge explains what has become of the last 401.
func (e *explainer) challenge() {
	f, t := e.f, e.temp
	if f.ChallengedAt.IsZero() || !f.AnsweredAt.Before(f.ChallengedAt) {
		return
	}
	waited := e.At.Sub(f.ChallengedAt)
	if t == nil && e.inUse == nil && !f.GaveWayAt.Before(f.ChallengedAt) {
		e.say(codeGaveWay, fmt.Sprintf("401 sent %s ago, and its SAs were taken for others %s later, unanswered", e.ago(f.ChallengedAt), words(f.GaveWayAt.Sub(f.ChallengedAt))),
			crowds, seeCrowds)
		return
	}
	if t == nil {
		if f.MACFailures == 0 && f.RegisteredAt.Before(f.ChallengedAt) && f.HomeStatus == 401 {
			e.say(codeNeverAnswered, fmt.Sprintf("401 sent %s since the last success, the last %s ago, no answer, and its SAs are gone", counted(f.Challenges), e.ago(f.ChallengedAt)),
				e.silence(nil), "Capture 'esp or udp port 4500' on the P-CSCF while the phone registers, and ask again")
		}
		return
	}
	sum := t.received()
	sent := "401 sent, SAs stand"
	switch {
	case sum.BadICV > 0 && sum.Packets == 0:
		e.say(codeBadIntegrity, "ESP arrives, integrity fails ("+times(sum.BadICV, "packet")+")",
			"CK/IK differ, or the phone took another algorithm than "+t.pair(),
			"Check OPc and K of "+e.IMPI+" in the HSS; then try ipsec: {offer: chosen}")
	case sum.Malformed > 0 && sum.Packets == 0:
		e.say(codeBadEncryption, "ESP arrives, integrity is good, nothing readable is in it ("+times(sum.Malformed, "packet")+")",
			"CK differs, or the phone encrypts with another ealg than "+t.EAlg,
			"Allow only pairs with null in ipsec.algorithms and see whether it passes; check what the HSS sends as CK")
	case sum.Selector > 0 && sum.Packets == 0:
		e.say(codeBadSelector, "ESP arrives and decrypts, but for other addresses or ports than agreed ("+times(sum.Selector, "packet")+")",
			fmt.Sprintf("the phone does not use port-c %d towards port-s %d, or a NAT changed its address", t.Remote.PortC, t.Local.PortS),
			"Decrypt a capture with the keys of this set and compare the ports with security_client")
	case sum.Packets > 0:
		if waited >= Patience {
			e.say(codeNoSIP, fmt.Sprintf("401 sent, ESP arrives (%s), no REGISTER in it after %s", times(sum.Packets, "good packet"), e.ago(f.ChallengedAt)),
				"the phone's TCP connection to port_ps does not come up, or large packets are lost on the way",
				"Look for SYN without SYN-ACK, and for fragments: set the MTU of the phones' network to 1400 or less")
		}
	case f.UnknownSPIs > 0: // drops says it
	case waited < Patience:
		e.say(codeWaiting, sent+", "+e.ago(f.ChallengedAt)+" ago", "the phone is still at it", "Ask again in a few seconds")
	default:
		e.say(codeNoESP, fmt.Sprintf("%s, no ESP packet has arrived in %s", sent, e.ago(f.ChallengedAt)), e.silence(t),
			"Capture 'esp or udp port 4500' at the P-CSCF and at the phone's gateway; take masquerading off the phones' network")
	}
}

// silence is why a phone may send nothing after a 401.
func (e *explainer) silence(t *SetReport) string {
	f := e.f
	switch {
	case f.BehindNAT && t != nil && t.Mode == UDPTunnel.String():
		return "UDP port 4500 is blocked between phone and P-CSCF"
	case f.BehindNAT:
		return fmt.Sprintf("NAT between phone and P-CSCF, the phone says %s and its packets come from %v", f.Via, f.Source.Addr())
	case f.Challenges > 1:
		return fmt.Sprintf("NAT between phone and P-CSCF, or ESP blocked, or the phone does not get the 401 or does not take it: %d challenges in a row", f.Challenges)
	}
	return "NAT between phone and P-CSCF, or ESP blocked"
}

// drops explains what came and could not be used, whatever the state.
func (e *explainer) drops() {
	f := e.f
	if f.UnknownSPIs > 0 {
		e.say(codeUnknownSPI, fmt.Sprintf("ESP arrives from %v for no SA of ours (%s, the last with SPI %d)", f.Source.Addr(), times(f.UnknownSPIs, "packet"), f.UnknownSPI),
			"the phone uses SAs from before a restart, or answers a challenge that a newer one has replaced",
			"Switch the phone to flight mode and back; if it comes again, see whether it sends two REGISTERs at once")
	}
	for i := range e.Sets {
		s := &e.Sets[i]
		sum := s.received()
		if s != e.temp && sum.BadICV > 0 && sum.Packets == 0 {
			e.say(codeBadIntegrity, "ESP arrives for a set that is "+s.State+", integrity fails ("+times(sum.BadICV, "packet")+")",
				"the phone has other keys for these SPIs", "Switch the phone to flight mode and back")
		}
		if n := sum.BadICV + sum.Malformed + sum.Selector; n > 0 && sum.Packets > 0 {
			e.say(codeDamagedPackets, fmt.Sprintf("%s of the set that is %s dropped (integrity %d, unreadable %d, other ports %d), %d good",
				times(n, "packet"), s.State, sum.BadICV, sum.Malformed, sum.Selector, sum.Packets),
				"packets are changed on the way or are not the phone's", "Capture on both sides of the gateway and compare")
		}
		if sum.Replayed > 0 {
			e.say(codeReplays, fmt.Sprintf("%s with a used sequence number in the set that is %s, %d good", times(sum.Replayed, "packet"), s.State, sum.Packets),
				"the network doubles packets, or the phone began to count anew without new SAs, or somebody replays them",
				"If SIP gets through, nothing; if not, switch the phone to flight mode and back")
		}
	}
	if f.ClearDropped > 0 {
		e.say(codeClearToProtect, times(f.ClearDropped, "message")+" in clear to a protected port dropped",
			"the phone answers outside its SAs: it takes the request for one from another port than it expects, or has lost its SAs",
			"Set ipsec: {response_port: uc} for it, and compare; if it has lost its SAs it registers anew by itself")
	}
	if f.ClearRefused > 0 {
		e.say(codeClearRequests, times(f.ClearRefused, "request")+" in clear to the open port refused",
			"only a REGISTER or an emergency call may come in clear: the phone has not set up its SAs, or does without",
			"Switch IPsec on in the phone's carrier settings, or set ipsec: {policy: none} here")
	}
	if f.Unanswered > 0 {
		e.say(codePhoneIsDeaf, times(uint64(f.Unanswered), "request")+" to the phone without a response since its last message",
			"the way to its port-s is closed, the phone has left its network without a word, or does not know its newest SAs",
			"Look whether ESP leaves for the phone; a phone behind a stateful firewall opens the way only by sending")
	}
}

// state says where the phone stands.
func (e *explainer) state() {
	f := e.f
	switch {
	case e.inUse == nil && len(e.said) > 0:
	case e.inUse == nil && f.RegisterAt.IsZero() && f.RegisteredAt.IsZero():
		e.say(codeNoRegister, "no REGISTER of "+e.IMPI+" has arrived", "the phone does not know or does not reach the P-CSCF, or has another IMPI",
			"Check that the APN 'ims' carries the P-CSCF's address, and look with tcpdump at its port")
	case e.inUse == nil && f.Registered && e.Policy == "none":
		e.say(codeUnprotected, "registered without IPsec", "ipsec: {policy: none} allows it", "Nothing, if that was meant")
	case e.inUse == nil && f.Registered:
		e.say(codeSetLost, "registered, and no SA set stands", "something outside has removed the SAs, or they were cleared with the kernel's state",
			"See who calls 'ip xfrm state flush'; the phone recovers when it registers anew")
	case e.inUse == nil && !f.RegisteredAt.IsZero():
		e.say(codeGone, "last registered "+e.ago(f.RegisteredAt)+" ago, and no longer", "the registration has expired, or phone or network ended it", "Nothing, if that was meant")
	case e.inUse == nil:
		e.say(codeWaiting, "REGISTER received "+e.ago(f.RegisterAt)+" ago", "it is being dealt with", "Ask again in a few seconds")
	case !f.Registered && e.temp == nil: // its set lingers
		if len(e.said) == 0 {
			e.say(codeGone, "last registered "+e.ago(f.RegisteredAt)+" ago, and no longer", "the registration has expired, or phone or network ended it", "Nothing, if that was meant")
		}
	case f.Registered && f.RegisterAt.After(f.RegisteredAt) && f.RegisterAt.Sub(f.RegisteredAt) < soon:
		e.say(codeStartsOver, fmt.Sprintf("registered %s ago, and REGISTER in clear again %s later", e.ago(f.RegisteredAt), words(f.RegisterAt.Sub(f.RegisteredAt))),
			"the 200 does not reach the phone or does not please it, or the phone has lost its SAs or its network",
			"If it comes again and again, set ipsec: {response_port: uc} for this phone, and look at its Expires and P-Associated-URI")
	case e.next != nil:
		e.say(codeNewSetNotInUse, "re-registered, and still sending over the set before", "the phone has sent nothing over its new set yet, as it should be", "Nothing")
	case e.temp != nil && len(e.said) == 0:
		e.say(codeRefreshPending, "re-registration under way over the set in use", "the phone has been challenged", "Ask again in a few seconds")
	case len(e.said) == 0:
		sum := e.inUse.received()
		what := "registered over IPsec with " + e.inUse.pair()
		if !sum.Last.IsZero() {
			what += ", last packet from the phone " + e.ago(sum.Last) + " ago"
		}
		e.say(codeFine, what, "all is as it should be", "Nothing")
	}
}
