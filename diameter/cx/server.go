package cx

import (
	"github.com/gocscf/gocscf/diameter"
)

// HSS answers what CSCFs ask. Each method runs on the reader goroutine of the
// connection and must not block; answer may be called later from any goroutine,
// once. It returns diameter.ErrAnswered for a second call and an error when the
// connection is gone.
type HSS interface {
	UAR(r *diameter.Request, q *UAR, answer func(*UAA) error)
	SAR(r *diameter.Request, q *SAR, answer func(*SAA) error)
	LIR(r *diameter.Request, q *LIR, answer func(*LIA) error)
	MAR(r *diameter.Request, q *MAR, answer func(*MAA) error)
}

// SCSCF answers what an HSS asks, under the rules of HSS.
type SCSCF interface {
	RTR(r *diameter.Request, q *RTR, answer func(*RTA) error)
	PPR(r *diameter.Request, q *PPR, answer func(*PPA) error)
}

// A Server hands the Cx requests of a node to an HSS or an S-CSCF. Its Handle
// method is a diameter.Handler. Commands that have no taker are answered with
// DIAMETER_COMMAND_UNSUPPORTED, requests that break the rules of TS 29.229 with
// the code of the fault.
type Server struct {
	HSS   HSS
	SCSCF SCSCF
	// Refuse, if not nil, is asked before a request that breaks the rules is
	// answered with its fault. When it returns true it has answered, or handled
	// the request in another way; the testbed mimics other HSSes with it.
	Refuse func(r *diameter.Request, q Request, fault *diameter.AVPError) bool
}

// Handle takes one request of a node.
func (s *Server) Handle(r *diameter.Request) {
	switch {
	case r.Application != Application:
	case s.HSS != nil && r.Command == UserAuthorization:
		serve(s, r, new(UAR), s.HSS.UAR)
		return
	case s.HSS != nil && r.Command == ServerAssignment:
		serve(s, r, new(SAR), s.HSS.SAR)
		return
	case s.HSS != nil && r.Command == LocationInfo:
		serve(s, r, new(LIR), s.HSS.LIR)
		return
	case s.HSS != nil && r.Command == MultimediaAuth:
		serve(s, r, new(MAR), s.HSS.MAR)
		return
	case s.SCSCF != nil && r.Command == RegistrationTermination:
		serve(s, r, new(RTR), s.SCSCF.RTR)
		return
	case s.SCSCF != nil && r.Command == PushProfile:
		serve(s, r, new(PPR), s.SCSCF.PPR)
		return
	}
	_ = r.Reject(&diameter.AVPError{Code: diameter.CommandUnsupported, Reason: CommandName(r.Command, true) + " is not served here"})
}

func serve[Q Request, A any, PA interface {
	*A
	Answer
}](s *Server, r *diameter.Request, q Q, handle func(*diameter.Request, Q, func(PA) error)) {
	if fault := DecodeRequest(r.Message, q); fault != nil {
		if s.Refuse == nil || !s.Refuse(r, q, fault) {
			_ = r.Reject(fault) // a connection that is gone needs no answer
		}
		return
	}
	handle(r, q, func(a PA) error { return r.Answer(EncodeAnswer(r, a)) })
}
