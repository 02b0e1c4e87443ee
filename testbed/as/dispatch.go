package as

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"

	"github.com/gocscf/gocscf/ims/trace"
)

// incoming is a request with its server transaction.
type incoming struct {
	s   *Server
	req *sip.Request
	tx  *sip.ServerTx
	// tag goes into To of our answers.
	tag string
	// route are the Route values but for our own, which led here.
	route []string

	final atomic.Int32 // the final status sent, 0 before
	once  sync.Once
	// cancelled is closed by a CANCEL, after reason was set to its Reason headers.
	cancelled chan struct{}
	reason    []string
}

// filter is called by sipgo with what a socket has read.
func (s *Server) filter(p sip.TransportReadProps, data []byte) ([]byte, error) {
	if p.Transport == "UDP" && len(bytes.Trim(data, "\r\n\x00")) > 0 {
		s.datagram = string(data)
		if s.deps.Trace.On() {
			s.message(trace.In, "udp", p.LocalAddr.String(), p.RemoteAddr.String(), s.datagram)
		}
	}
	return data, nil
}

// onMessage is called by the goroutine that reads a socket, for one message after
// the other. It does not wait for anything slow.
func (s *Server) onMessage(m sip.Message) {
	if s.ctx.Err() != nil {
		return
	}
	proto, raw := sip.NetworkToLower(m.Transport()), ""
	if proto == "udp" {
		raw = s.datagram // of this goroutine, which is the only one that reads datagrams
	} else {
		raw = m.String()
		if s.deps.Trace.On() {
			s.message(trace.In, proto, s.addr.String(), m.Source(), raw)
		}
	}
	switch m := m.(type) {
	case *sip.Request:
		s.seen.message(false)
		s.onRequest(tidyRequest(m), proto, raw)
	case *sip.Response:
		s.seen.message(true)
		s.onResponse(tidyResponse(m))
	}
}

// key identifies a transaction (RFC 3261 17.2.3). A CANCEL and the ACK to a refusal
// belong to the INVITE.
func key(r *sip.Request, method sip.RequestMethod) string {
	via := r.Via()
	branch, _ := via.Params.Get("branch")
	return strings.Join([]string{branch, via.Host, strconv.Itoa(via.Port), string(method),
		r.CallID().Value(), strconv.FormatUint(uint64(r.CSeq().SeqNo), 10)}, "|")
}

func (s *Server) onRequest(r *sip.Request, proto, raw string) {
	if why := fault(r); why != "" {
		s.limited.Warn(s.deps.Log, "fault", "sip request refused: "+why, zap.String("remote", r.Source()))
		if r.Via() != nil && !r.IsAck() {
			s.stateless(r, received(r), sip.StatusBadRequest, "Bad Request: "+why)
		}
		return
	}
	reply := received(r)
	method := r.Method
	if r.IsAck() || r.IsCancel() {
		method = sip.INVITE
	}
	s.mu.Lock()
	in := s.ins[key(r, method)]
	s.mu.Unlock()
	switch {
	case r.IsAck() && in != nil && in.final.Load() >= 300:
		_ = in.tx.Receive(r) // its error is for methods that do not belong here
		return
	case r.IsAck():
		s.note(r, proto, raw)
		s.onACK(r)
		return
	case r.IsCancel():
		s.note(r, proto, raw)
		s.onCancel(r, reply, in)
		return
	case in != nil:
		_ = in.tx.Receive(r)
		return
	}
	s.note(r, proto, raw)
	if s.mute(r) {
		s.decided(r, fmt.Sprintf("silent: %s stays without an answer", r.Method), "")
		return
	}
	if s.busy.Load() >= maxBusy {
		s.stateless(r, reply, sip.StatusServiceUnavailable, "Service Unavailable: too many requests at once")
		return
	}
	in, err := s.accept(r, proto, reply)
	if err != nil {
		s.limited.Warn(s.deps.Log, "accept", "sip request dropped", zap.String("remote", r.Source()), zap.Error(err))
		return
	}
	s.busy.Add(1)
	s.spawn(func() {
		defer s.busy.Add(-1)
		s.handle(in)
	})
}

// note counts and keeps a request that is not a retransmission.
func (s *Server) note(r *sip.Request, proto, raw string) {
	s.metric.WithLabelValues(label(string(r.Method))).Inc()
	s.seen.request(r, proto, raw)
}

// mute reports whether a request shall have no answer. It has no transaction then:
// sipgo's sends 100 Trying by itself.
func (s *Server) mute(r *sip.Request) bool {
	switch {
	case r.Method == sip.REGISTER:
		return s.cfg.RegisterSilent
	case r.Method == sip.OPTIONS && s.meant(r):
		return false
	}
	return s.cfg.Mode == Silent
}

// accept begins a server transaction.
func (s *Server) accept(r *sip.Request, proto, reply string) (*incoming, error) {
	conn, err := s.tp.GetConnection(proto, r.Source())
	if err != nil {
		return nil, fmt.Errorf("answering %s over %s: %w", r.Source(), proto, err)
	}
	in := &incoming{s: s, req: r, tag: sip.GenerateTagN(16), cancelled: make(chan struct{})}
	in.route = s.routes(r)
	k := key(r, r.Method)
	in.tx = sip.NewServerTx(k, r, &wire{Connection: conn, s: s, proto: proto, remote: reply, reply: reply}, s.log)
	in.tx.OnTerminate(func(string, error) {
		s.mu.Lock()
		delete(s.ins, k)
		s.mu.Unlock()
	})
	s.mu.Lock()
	s.ins[k] = in
	s.mu.Unlock()
	if err := in.tx.Init(); err != nil {
		in.tx.Terminate()
		return nil, err
	}
	return in, nil
}

// stateless answers without a transaction.
func (s *Server) stateless(r *sip.Request, reply string, code int, reason string) {
	proto := sip.NetworkToLower(r.Transport())
	conn, err := s.tp.GetConnection(proto, r.Source())
	if err != nil {
		return // the connection is gone, and the peer with it
	}
	defer conn.TryClose()
	in := &incoming{s: s, req: r, tag: sip.GenerateTagN(16)}
	res := in.response(code, reason)
	res.SetBody(nil)
	w := &wire{Connection: conn, s: s, proto: proto, remote: reply, reply: reply}
	_ = w.WriteMsg(res)
}

// onCancel answers a CANCEL and tells who works on the INVITE (RFC 3261 9.2): the
// answer to the INVITE comes from there.
func (s *Server) onCancel(r *sip.Request, reply string, in *incoming) {
	if in == nil {
		if s.cfg.Mode != Silent {
			s.stateless(r, reply, sip.StatusCallTransactionDoesNotExists, "")
		}
		return
	}
	s.stateless(r, reply, sip.StatusOK, "")
	in.once.Do(func() {
		in.reason = values(r, "Reason")
		close(in.cancelled)
	})
}

// response begins an answer: what RFC 3261 8.2.6.2 copies, and the dialog's
// Record-Route (12.1.1). The reason may be "".
func (in *incoming) response(code int, reason string) *sip.Response {
	return in.tagged(code, reason, in.tag)
}

// tagged is response for one of several dialogs.
func (in *incoming) tagged(code int, reason, tag string) *sip.Response {
	res := sip.NewResponse(code, phrase(code, reason))
	dialog := code > 100 && code < 300 && in.req.Method != sip.REGISTER
	for _, h := range in.req.Headers() {
		switch name, value := h.Name(), h.Value(); strings.ToLower(name) {
		case "via", "from", "call-id", "cseq":
			res.AppendHeader(sip.NewHeader(name, value))
		case "to":
			if code > 100 && toTag(in.req) == "" {
				value += ";tag=" + tag
			}
			res.AppendHeader(sip.NewHeader(name, value))
		case "record-route":
			if dialog {
				res.AppendHeader(sip.NewHeader(name, value))
			}
		}
	}
	return res
}

// respond sends an answer.
func (in *incoming) respond(res *sip.Response) {
	if res.ContentLength() == nil {
		res.SetBody(res.Body())
	}
	res.SetTransport(in.req.Transport())
	if res.StatusCode >= 200 {
		in.final.CompareAndSwap(0, int32(res.StatusCode))
	}
	if err := in.tx.Respond(res); err != nil && in.s.ctx.Err() == nil {
		in.s.limited.Warn(in.s.deps.Log, "respond", "sip answer not sent", zap.Int("status", res.StatusCode), zap.Error(err))
	}
}

// refuse answers with a status and a phrase that may be "".
func (in *incoming) refuse(code int, reason string) { in.respond(in.response(code, reason)) }
