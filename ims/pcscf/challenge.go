package pcscf

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
	"github.com/gocscf/gocscf/ipsec"
)

// keys are CK and IK of a challenge.
type keys struct {
	ck, ik ipsec.Key
	ok     bool
}

// keysOf takes CK and IK out of the 401 of the home network (TS 24.229 5.2.2.2).
func keysOf(m *sip.Message) (k keys) {
	for line := range m.Lines(sip.HWWWAuthenticate) {
		ch, err := sip.ParseChallenge(line)
		if err != nil || ch.CK == "" || ch.IK == "" {
			continue
		}
		ck, errC := hex.DecodeString(ch.CK)
		ik, errI := hex.DecodeString(ch.IK)
		if errC == nil && errI == nil && len(ck) == len(k.ck) && len(ik) == len(k.ik) {
			k.ck, k.ik, k.ok = ipsec.Key(ck), ipsec.Key(ik), true
			return k
		}
	}
	return k
}

// challenged takes the 401 of the home network to the phone, once the SA set that
// it announces stands (TS 24.229 5.2.2.2): a phone that answers over SAs which are
// not there gets no answer, and nobody would know why.
func (r *registration) challenged(best *proxy.Final) {
	s, g := r.s, r.agreeing
	switch {
	case !g.keys.ok:
		r.noSet("no_keys", "The 401 for "+r.impi+" brings no CK and IK, so that no SA can be set up.",
			"The S-CSCF must put ck and ik into WWW-Authenticate; does it challenge with AKA?", "TS 24.229 5.4.1.2.1", errors.New("the 401 brings no CK and IK"))
		return
	case g.stale != nil:
		r.refuse(s.sec.mismatch(g.on, g.stale, "spi_in_use", "TS 33.203 7.4"))
		return
	case !g.offered:
		r.refuse(s.sec.refuse(r.impi, node.Refusal{Status: 421, Cause: "no_security_client", Clause: "RFC 3329 2.3.1",
			Text: "The re-registration of " + r.impi + " is challenged, and it offers no new IPsec (no Security-Client).",
			Next: "The phone must send Security-Client in each REGISTER.", Fields: s.sec.demand()}, new(ipsec.UnacceptableError)))
		return
	}
	a, err := s.sec.propose(r)
	if errors.Is(err, errMadeRoom) && r.waited < maxRoom {
		r.waited++
		s.sec.work.do(func() { // behind what frees the ports
			r.x.Shard.Post(func() {
				if !r.x.Done() {
					r.challenged(best)
				}
			})
		})
		return
	}
	g.keys = keys{}
	if err != nil {
		r.noSet("no_ports", "No SA can be set up for "+r.impi+": "+err.Error()+".", "Give ipsec.server_ports and ipsec.client_ports more ports.", "TS 33.203 7.1", err)
		return
	}
	x := r.x
	s.sec.challenge(a, g.key, g.on, func(err error) {
		x.Shard.Post(func() {
			switch {
			case x.Done(): // too late: the phone has its answer, and the set goes by itself
			case errors.Is(err, errOvertaken): // nothing is wrong: the phone is at it with the other one
				r.refuse(node.Refusal{Status: 500, Cause: "overtaken", Clause: "TS 24.229 5.2.2.2",
					Text: "The challenge of " + r.impi + " is not sent: " + err.Error() + ".", Next: "Look in the trace why the phone registers twice at once."})
			case errors.As(err, new(*ipsec.GaveWayError)): // which is counted
				s.sec.facts.note(r.impi, func(k *fact, now moment) { k.refusedAt, k.refusedStatus, k.refusedFor = now, 500, err })
				r.refuse(node.Refusal{Status: 500, Cause: "gave_way", Clause: "RFC 3261 21.5.1",
					Text: "The challenge of " + r.impi + " is not sent: " + err.Error() + ".", Next: "Look in the log and in a trace where the REGISTERs come from.",
					Fields: []sip.Field{{ID: sip.HRetryAfter, Value: "5"}}})
			case err != nil:
				r.noSet("sa_set_up", "The SA set for "+r.impi+" cannot be set up: "+err.Error()+".", "What the back end says tells what is missing.", "TS 33.203 7.2", err)
			default:
				best.Edits.Add(sip.HSecurityServer, securityServer(s.sec.server(a)))
				s.sec.facts.challenged(r.impi, s.sec.stack.strangers)
				r.answered(best.Msg)
				x.Relay(best)
			}
		})
	})
}

// noSet refuses a REGISTER for which no SA set can be made: the 401 must not reach
// the phone, it could not work.
func (r *registration) noSet(cause, text, next, clause string, err error) {
	r.refuse(r.s.sec.refuse(r.impi, node.Refusal{Status: 500, Cause: cause, Text: text, Next: next, Clause: clause}, err))
}

// propose makes the set for a challenged REGISTER, with SPIs and ports of ours.
func (c *security) propose(r *registration) (*association, error) {
	g := r.agreeing
	s := &ipsec.Set{
		ID: ipsec.NewSetID(), Owner: c.facts.name(r.impi), Pair: g.choice.Pair, Mode: g.choice.Mode,
		CK: g.keys.ck, IK: g.keys.ik, Remote: g.choice.Phone,
		Local: ipsec.End{Addr: r.x.Flow.Local.Addr().Unmap()},
	}
	s.Remote.Addr = g.key.addr
	if s.Mode == ipsec.UDPTunnel {
		s.Outer = netip.AddrPortFrom(g.outer.Addr(), 0)
	}
	if g.on != nil && c.stack.outer != nil {
		// The phone is where it was; we may be the first to send over the new set.
		if at := c.stack.outer(g.on.ID); at.IsValid() {
			s.Outer = at
		}
	}
	var avoid []uint32
	for _, m := range g.client {
		avoid = append(avoid, m.SPIC, m.SPIS)
	}
	s.Local.SPIC, s.Local.SPIS = c.spis.Take(avoid...)
	held, _ := c.held(g.key)
	if err := c.ports.Take(s, held); err != nil {
		c.spis.Release(s.Local.SPIC, s.Local.SPIS)
		if errors.Is(err, ipsec.ErrPorts) && c.makeRoom(s) {
			err = errMadeRoom
		}
		return nil, err
	}
	a := &association{Set: s, client: g.client, toClient: c.cfg.toClient(r.x.Req.Get(sip.HUserAgent))}
	if err := s.Check(); err != nil {
		c.release(s)
		return nil, fmt.Errorf("the set that would be made is impossible: %w", err)
	}
	return a, nil
}
