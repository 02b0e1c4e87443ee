package as

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
)

const (
	// streamFrom is the size from which a request goes over a stream (RFC 3261 18.1.1).
	streamFrom = 1300
	// viaSize is an upper bound of what our Via adds.
	viaSize = 100
	// dialTimeout bounds a connection's set-up, shorter than any timer that waits for
	// an application server.
	dialTimeout = 2 * time.Second
)

// outgoing is a client transaction.
type outgoing struct {
	req  *sip.Request
	tx   *sip.ClientTx
	wire *wire
	// outcome is the final status of an INVITE, 0 before: sipgo's transaction sees no
	// second refusal.
	outcome atomic.Int32
	// cancel is the CANCEL to the request, made before sipgo owns the request.
	cancel *sip.Request
}

// hop is where a request goes next.
type hop struct {
	addr  string // HOST:PORT
	proto string // "udp" or "tcp"
	// choice is set when the URI asked for no transport.
	choice bool
}

// next finds the next hop of a request (RFC 3261 16.6 step 7): its first Route, else
// its Request-URI.
func (s *Server) next(r *sip.Request) (hop, error) {
	u := r.Recipient
	if list := values(r, "Route"); len(list) > 0 {
		var ok bool
		if u, ok = addrURI(list[0]); !ok {
			return hop{}, fmt.Errorf("the Route %.100q cannot be read", list[0])
		}
	}
	if u.Scheme != "sip" {
		return hop{}, fmt.Errorf("there is no way to a %s URI without a Route", u.Scheme)
	}
	if s.mine(u) {
		return hop{}, errors.New("the request is for this application server, which has nobody behind it")
	}
	port := u.Port
	if port == 0 {
		port = 5060
	}
	h := hop{addr: net.JoinHostPort(strings.Trim(u.Host, "[]"), strconv.Itoa(port)), proto: "udp"}
	asked, _ := u.UriParams.Get("transport")
	switch asked = strings.ToLower(asked); asked {
	case "":
		h.choice = true
		if len(r.String())+viaSize > streamFrom {
			h.proto = "tcp"
		}
	case "udp", "tcp":
		h.proto = asked
	default:
		return hop{}, fmt.Errorf("the next hop asks for transport %.20q: this server has UDP and TCP", asked)
	}
	return h, nil
}

// connect gives a request our Via and finds the connection to its next hop. The
// request has no Via of ours yet.
func (s *Server) connect(r *sip.Request) (*wire, error) {
	h, err := s.next(r)
	if err != nil {
		return nil, err
	}
	w, err := s.connectTo(r, h)
	if err != nil && h.choice && h.proto == "tcp" && s.ctx.Err() == nil {
		// Who has no TCP gets what RFC 3261 18.1.1 forbids for its size.
		h.proto = "udp"
		r.RemoveHeader("Via")
		return s.connectTo(r, h)
	}
	return w, err
}

func (s *Server) connectTo(r *sip.Request, h hop) (*wire, error) {
	via := &sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: strings.ToUpper(h.proto),
		Host: s.addr.Addr().String(), Port: int(s.addr.Port()),
	}
	via.Params.Add("branch", sip.GenerateBranch())
	r.PrependHeader(via)
	r.SetTransport(via.Transport)
	r.SetDestination(h.addr)
	r.Laddr = sip.Addr{}
	if h.proto == "udp" {
		// The listening socket sends too. Not so over TCP: sipgo takes the address of a
		// listener for that of the last connection it accepted.
		r.Laddr = sip.Addr{IP: s.addr.Addr().AsSlice(), Port: int(s.addr.Port())}
	}
	ctx, cancel := context.WithTimeout(s.ctx, dialTimeout)
	defer cancel()
	conn, err := s.tp.ClientRequestConnection(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("reaching %s over %s: %w", h.addr, h.proto, err)
	}
	return &wire{Connection: conn, s: s, proto: h.proto, remote: h.addr}, nil
}

// send begins a client transaction. again is called with each 2xx to an INVITE
// behind the first, by the goroutine that reads.
func (s *Server) send(r *sip.Request, again func(*sip.Response)) (*outgoing, error) {
	w, err := s.connect(r)
	if err != nil {
		return nil, err
	}
	return s.begin(r, w, again)
}

// begin is send for a request that has its Via and its connection.
func (s *Server) begin(r *sip.Request, w *wire, again func(*sip.Response)) (*outgoing, error) {
	k, err := sip.ClientTxKeyMake(r)
	if err != nil {
		w.TryClose()
		return nil, err
	}
	out := &outgoing{req: r, wire: w}
	if r.IsInvite() {
		out.cancel = cancelOf(r)
	}
	out.tx = sip.NewClientTx(k, r, w, s.log)
	if again != nil {
		out.tx.OnRetransmission(again)
	}
	out.tx.OnTerminate(func(string, error) {
		s.mu.Lock()
		delete(s.outs, k)
		s.mu.Unlock()
	})
	s.mu.Lock()
	s.outs[k] = out
	s.mu.Unlock()
	if err := out.tx.Init(); err != nil {
		out.tx.Terminate()
		return nil, fmt.Errorf("sending %s to %s: %w", r.Method, w.remote, err)
	}
	return out, nil
}

// post sends a request that has no transaction: the ACK to a 2xx.
func (s *Server) post(r *sip.Request) error {
	w, err := s.connect(r)
	if err != nil {
		return err
	}
	defer w.TryClose()
	return w.write(r)
}

// onResponse hands an answer to its transaction. sipgo's passes it on to who waits
// and comes back when that has taken it: so answers keep their order.
func (s *Server) onResponse(res *sip.Response) {
	if res.Via() == nil || res.CSeq() == nil || res.To() == nil {
		return
	}
	k, err := sip.ClientTxKeyMake(res)
	if err != nil {
		return
	}
	s.mu.Lock()
	out := s.outs[k]
	s.mu.Unlock()
	switch {
	case out == nil: // late or not for us: RFC 6026 8.9 drops it
	case out.outcome.Load() >= 300:
		out.wire.acknowledge()
	default:
		if out.req.IsInvite() && res.StatusCode >= 200 {
			out.outcome.CompareAndSwap(0, int32(res.StatusCode))
		}
		out.tx.Receive(res)
	}
}

// cancelOf makes the CANCEL to an INVITE (RFC 3261 9.1).
func cancelOf(invite *sip.Request) *sip.Request {
	r := sip.NewRequest(sip.CANCEL, invite.Recipient)
	r.AppendHeader(sip.HeaderClone(invite.Via()))
	for _, name := range []string{"Route", "From", "To", "Call-ID"} {
		for _, h := range invite.GetHeaders(name) {
			r.AppendHeader(sip.NewHeader(name, h.Value()))
		}
	}
	r.AppendHeader(sip.NewHeader("CSeq", strconv.FormatUint(uint64(invite.CSeq().SeqNo), 10)+" CANCEL"))
	r.AppendHeader(sip.NewHeader("Max-Forwards", "70"))
	r.SetTransport(invite.Transport())
	r.SetDestination(invite.Destination())
	r.Laddr = invite.Laddr
	return r
}

// abort sends the CANCEL with Reason values and forgets about it: the answer to
// the INVITE tells what came of it.
func (s *Server) abort(out *outgoing, reason []string) {
	for _, v := range reason {
		out.cancel.AppendHeader(sip.NewHeader("Reason", v))
	}
	out.cancel.SetBody(nil)
	conn, err := s.tp.ClientRequestConnection(s.ctx, out.cancel)
	if err != nil {
		return
	}
	w := &wire{Connection: conn, s: s, proto: out.wire.proto, remote: out.wire.remote}
	c, err := s.begin(out.cancel, w, nil)
	if err != nil {
		return
	}
	s.spawn(func() {
		for {
			select {
			case res := <-c.tx.Responses():
				if !res.IsProvisional() {
					return
				}
			case <-c.tx.Done():
				return
			case <-s.ctx.Done():
				return
			}
		}
	})
}
