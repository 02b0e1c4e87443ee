package pcscf

import (
	"strconv"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// Why a call was not answered: what people did, and phones, is passed on as it is,
// and told to the log and the trace as what the network refuses is.

// phoneRefuses tells of a called phone that does not take a request.
func (s *Server) phoneRefuses(x *proxy.Exchange, b *binding, best *proxy.Final) {
	m := best.Msg
	r := node.Refusal{Status: best.Status, IMPI: b.impi, Clause: "RFC 3261 21"}
	switch best.Status {
	case 401, 407, 422, 487:
		return // a step on the way, or the end of what has been told already
	case 486, 600:
		r.Cause, r.Next = "phone_busy", "Nothing is wrong in the network: the user is on another call."
	case 603:
		r.Cause, r.Next = "phone_declined", "Nothing is wrong in the network: the user has declined."
	case 408, 480:
		r.Cause, r.Next = "phone_no_answer", "Nothing is wrong in the network: the user did not answer, or has switched calls off at the phone."
	case 415, 488, 606:
		r.Cause, r.Next = "phone_media", "Compare the session description of the request with the media and codecs that this phone has."
	case 420, 421:
		r.Cause, r.Next = "phone_extension", "Compare Require of the request with Unsupported, or Require, of the answer."
	case 580:
		r.Cause, r.Next = "phone_bearer", "The phone did not get the bearer for its media: look at the policy server and the radio side."
	default:
		r.Cause, r.Next = "phone_refused", "The phone has decided this: its own log says why."
		if best.Status/100 == 3 {
			r.Next = "The phone names another target in Contact; nobody here follows it."
		}
	}
	r.Text = "The phone of " + b.impi + " answered " + x.Req.Method() + " with " + strconv.Itoa(best.Status) + " " + sip.StatusText(best.Status)
	if reason, err := sip.ParseReason(m.First(sip.HReason)); err == nil && reason.HasCause {
		r.Text += " (" + reason.Protocol + " cause " + strconv.Itoa(int(reason.Cause)) + ")"
	}
	r.Text += "."
	s.verdicts.Heard(x, r)
}

// callerGaveUp tells of a caller who hangs up before anybody has answered.
func (s *Server) callerGaveUp(x *proxy.Exchange, b *binding, since time.Time, ringing bool) {
	r := node.Refusal{Status: 487, Cause: "caller_gave_up", Clause: "RFC 3261 9.1", IMPI: b.impi,
		Text: "The caller " + b.impi + " hung up after " + time.Since(since).Round(100*time.Millisecond).String() + ", before anybody had answered"}
	if ringing {
		r.Text, r.Next = r.Text+": the called phone was ringing.", "Nothing is wrong in the network: nobody took the call."
	} else {
		r.Text, r.Next = r.Text+": no phone had rung yet.", "If callers often do, look where the INVITE waits: the last message with this Call-ID says."
	}
	s.verdicts.Heard(x, r)
}

// nobodyAnswers is the refusal of a call that rings until Timer C ends it, or maxRinging.
func nobodyAnswers(x *proxy.Exchange, who, impi string) node.Refusal {
	return node.Refusal{Status: 408, Cause: "no_answer", Clause: "RFC 3261 16.8", IMPI: impi,
		Text: who + " has not answered the call to " + x.Req.RequestURI() + ", and has said nothing more for three minutes (Timer C), or rung for ten.",
		Next: "Nothing is wrong in the network if it rang: a service that diverts calls on no answer would act earlier."}
}
