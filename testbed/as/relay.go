package as

import (
	"time"

	"github.com/emiago/sipgo/sip"
)

// timerC bounds a call that rings (RFC 3261 16.6 step 11: more than 3 minutes).
const timerC = 181 * time.Second

// relay sends a request for an incoming one and brings the answers back, through
// translate, which returns nil for what stays here. It returns the final status
// sent, 0 when the server was closed meanwhile. A CANCEL follows an INVITE; whoever
// cancelled gets what the called side says to that.
func (s *Server) relay(in *incoming, r *sip.Request, translate func(*sip.Response) *sip.Response) int {
	pass := func(res *sip.Response) {
		if answer := translate(res); answer != nil {
			in.respond(answer)
		}
	}
	out, err := s.send(r, pass)
	if err != nil {
		// A single branch that got nowhere counts as one with 503, which becomes 500
		// toward the caller (RFC 3261 16.9, 16.7 step 6).
		in.refuse(sip.StatusInternalServerError, "Server Internal Error: "+oneLine(err.Error()))
		return sip.StatusInternalServerError
	}
	var (
		invite    = r.IsInvite()
		cancelled <-chan struct{}
		ring      = time.NewTimer(timerC)
		giveUp    <-chan time.Time
		heard     bool // a provisional answer came: only then a CANCEL may go
		stopping  bool
	)
	defer ring.Stop()
	if invite {
		cancelled = in.cancelled
	}
	stop := func() {
		stopping, cancelled = true, nil
		if heard && giveUp == nil {
			giveUp = time.After(sip.Timer_B)
			s.abort(out, in.reason)
		}
	}
	for {
		select {
		case res := <-out.tx.Responses():
			switch code := res.StatusCode; {
			case code == sip.StatusTrying:
			case code < 200:
				ring.Reset(timerC)
				pass(res)
			default:
				pass(res)
				return code
			}
			heard = true
			if stopping {
				stop()
			}
		case <-cancelled:
			stop()
		case <-ring.C:
			if invite {
				stop()
			}
		case <-giveUp:
			out.tx.Terminate()
			return in.late(stopping)
		case <-out.tx.Done():
			return in.late(stopping)
		case <-s.ctx.Done():
			out.tx.Terminate()
			return 0
		}
	}
}

// late answers for a next hop that has not, within its timers.
func (in *incoming) late(stopping bool) int {
	code, reason := sip.StatusRequestTimeout, "Request Timeout: the next hop is silent"
	if stopping {
		code, reason = sip.StatusRequestTerminated, ""
	}
	in.refuse(code, reason)
	return code
}

// oneLine makes a text fit into a start line.
func oneLine(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = ' '
		}
	}
	return string(b[:min(len(b), 160)])
}
