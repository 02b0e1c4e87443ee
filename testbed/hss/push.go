package hss

import (
	"context"
	"errors"
	"fmt"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
)

// SendRTR tells the S-CSCF that serves impi to end the registration of some of
// his public identities, of all when none are named (TS 29.228 6.1.3). It goes to
// the host that sent the SAR or MAR, and after a success the user is not
// registered. NEW_SERVER_ASSIGNED goes to the S-CSCF that served him before, once
// another has taken over (TS 29.228 8.1.1), and changes nothing here.
//
// The error is a *diameter.ResultError with the answer, or tells why there is none.
func (s *Server) SendRTR(ctx context.Context, impi string, reason cx.DeregistrationReason, impus ...string) (*cx.RTA, error) {
	u, header, err := s.serving(impi, reason.Code == cx.NewServerAssigned)
	if err != nil {
		return nil, fmt.Errorf("RTR for %s: %w", impi, err)
	}
	if reason.Code == cx.NewServerAssigned && len(impus) == 0 {
		for _, impu := range u.impus {
			impus = append(impus, string(impu)) // required with this reason
		}
	}
	q := &cx.RTR{RequestHeader: header, UserName: string(u.impi), PublicIdentities: impus, Reason: reason}
	a, err := call(ctx, func(done func(*cx.RTA, error)) {
		deadline, _ := ctx.Deadline()
		s.client.RTR(deadline, q, done)
	})
	if a != nil {
		s.pushed("RTR", "TS 29.228 6.1.3", string(u.impi), header.DestinationHost, a.Result,
			fmt.Sprintf("%v: %s", reason.Code, reason.Info))
	}
	if err != nil {
		return a, fmt.Errorf("RTR for %s: %w", impi, err)
	}
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	switch now := s.db.users[u.impi]; { // as it is after a Put
	case now == nil:
	case reason.Code == cx.NewServerAssigned:
		now.sub.oldHost, now.sub.oldRealm = "", ""
	default:
		now.state, now.pending = NotRegistered, false
		now.sub.release()
	}
	return a, nil
}

// SendPPR gives the S-CSCF that serves impi his present profile and charging
// addresses (TS 29.228 6.2.2). The errors are as with SendRTR.
func (s *Server) SendPPR(ctx context.Context, impi string) (*cx.PPA, error) {
	u, header, err := s.serving(impi, false)
	if err != nil {
		return nil, fmt.Errorf("PPR for %s: %w", impi, err)
	}
	s.db.mu.Lock()
	data := u.userData()
	s.db.mu.Unlock()
	q := &cx.PPR{RequestHeader: header, UserName: string(u.impi), UserData: string(data), Charging: u.charging}
	a, err := call(ctx, func(done func(*cx.PPA, error)) {
		deadline, _ := ctx.Deadline()
		s.client.PPR(deadline, q, done)
	})
	if a != nil {
		s.pushed("PPR", "TS 29.228 6.2.2", string(u.impi), header.DestinationHost, a.Result, "the profile as it is now")
	}
	if err != nil {
		return a, fmt.Errorf("PPR for %s: %w", impi, err)
	}
	return a, nil
}

// serving finds the S-CSCF of a user, or the one before.
func (s *Server) serving(impi string, before bool) (*user, cx.RequestHeader, error) {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	u := s.db.user(impi)
	if u == nil {
		return nil, cx.RequestHeader{}, errors.New("there is no such subscriber")
	}
	if before {
		if u.sub.oldHost == "" {
			return nil, cx.RequestHeader{}, errors.New("no other host served the user before")
		}
		return u, cx.RequestHeader{DestinationHost: u.sub.oldHost, DestinationRealm: u.sub.oldRealm}, nil
	}
	if u.sub.host == "" {
		return nil, cx.RequestHeader{}, fmt.Errorf("no S-CSCF is assigned; the user is %v", u.state)
	}
	return u, cx.RequestHeader{DestinationHost: u.sub.host, DestinationRealm: u.sub.realm}, nil
}

// pushed counts and tells an answer of an S-CSCF.
func (s *Server) pushed(command, clause, impi, peer string, result diameter.Result, why string) {
	s.count(command, result)
	s.tell(command, impi, "", peer, reply{result: result, why: why, clause: clause, state: command == "RTR",
		next: "Look at the S-CSCF's log for this IMPI."})
}

// call makes a blocking call of one with a callback. When ctx ends first, the
// callback finds room in the channel.
func call[A any](ctx context.Context, start func(func(*A, error))) (*A, error) {
	type outcome struct {
		a   *A
		err error
	}
	ch := make(chan outcome, 1)
	start(func(a *A, err error) { ch <- outcome{a, err} })
	select {
	case o := <-ch:
		return o.a, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
