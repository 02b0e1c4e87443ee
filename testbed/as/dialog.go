package as

import (
	"strconv"
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"
)

// maxDialogs bounds the dialogs of a B2BUA or terminating UA.
const maxDialogs = 20000

// half is our side of one dialog (RFC 3261 12). The values of headers are text, as
// they came.
type half struct {
	callID       string
	local        string // From of our requests, with our tag
	remote       string // To of our requests, with the peer's tag
	localTag     string
	remoteTag    string
	target       string // Contact URI of the peer
	routes       []string
	cseq         uint32 // of our last request
	remoteCSeq   int64  // of the peer's last request, -1 before
	inviteCSeq   uint32 // of our last INVITE
	remoteInvite uint32 // of the peer's last INVITE
}

// id names a dialog.
func id(callID, localTag, remoteTag string) string {
	return callID + "|" + localTag + "|" + remoteTag
}

func (h *half) id() string { return id(h.callID, h.localTag, h.remoteTag) }

// idOf is the id of the dialog that a request arrives in.
func idOf(r *sip.Request) string { return id(r.CallID().Value(), toTag(r), fromTag(r)) }

// uas is our half of the dialog that a request begins and we answer with tag (RFC
// 3261 12.1.1).
func uas(r *sip.Request, tag string) half {
	cseq := r.CSeq().SeqNo
	return half{
		callID: r.CallID().Value(), localTag: tag, remoteTag: fromTag(r),
		local: first(r, "To") + ";tag=" + tag, remote: first(r, "From"),
		target: addrText(first(r, "Contact")), routes: values(r, "Record-Route"),
		remoteCSeq: int64(cseq), remoteInvite: cseq,
	}
}

// uac is our half of the dialog that an answer to our request brings up (12.1.2).
func uac(r *sip.Request, res *sip.Response) half {
	cseq := r.CSeq().SeqNo
	h := half{
		callID: r.CallID().Value(), localTag: fromTag(r), remoteTag: toTag(res),
		local: first(r, "From"), remote: first(res, "To"),
		target: addrText(first(res, "Contact")), cseq: cseq, inviteCSeq: cseq, remoteCSeq: -1,
	}
	list := values(res, "Record-Route")
	for i := len(list) - 1; i >= 0; i-- {
		h.routes = append(h.routes, list[i])
	}
	return h
}

// request begins a request of ours in the dialog (12.2.1.1): no Via, no body.
func (h *half) request(method sip.RequestMethod, cseq uint32, hops int) (*sip.Request, bool) {
	var u sip.Uri
	if sip.ParseUri(h.target, &u) != nil {
		return nil, false
	}
	r := sip.NewRequest(method, u)
	for _, v := range h.routes {
		r.AppendHeader(sip.NewHeader("Route", v))
	}
	for _, f := range [][2]string{
		{"Max-Forwards", strconv.Itoa(hops)}, {"From", h.local}, {"To", h.remote}, {"Call-ID", h.callID},
		{"CSeq", strconv.FormatUint(uint64(cseq), 10) + " " + string(method)},
	} {
		r.AppendHeader(sip.NewHeader(f[0], f[1]))
	}
	return r, true
}

// pair joins the two dialogs of a B2BUA: side 0 is the caller's.
type pair struct {
	mu        sync.Mutex
	sides     [2]half // their ids never change
	confirmed bool    // a 2xx came; forks.mu guards it
	gone      bool    // it is over, whatever comes again; Server.mu guards it
}

// end is one side of a pair.
type end struct {
	*pair
	side int
}

// join makes both ends of a pair known; false when there are too many.
func (s *Server) join(p *pair) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pairs) >= 2*maxDialogs {
		return false
	}
	for i := 0; i < len(p.sides) && !p.gone; i++ {
		s.pairs[p.sides[i].id()] = end{p, i}
	}
	return true
}

// part forgets a pair, for good or until it is joined again.
func (s *Server) part(p *pair, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.gone = gone
	for i := range p.sides {
		delete(s.pairs, p.sides[i].id())
	}
}

func (s *Server) pair(r *sip.Request) (end, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.pairs[idOf(r)]
	return e, ok
}

// contact is our own Contact with the feature tags (RFC 3840) of a peer's: what a
// phone can do is true for the other side too, which instance it is not.
func (s *Server) contact(peer string) sip.Header {
	v := "<sip:" + s.cfg.Name + "@" + s.addr.String() + ">"
	for _, p := range addrParams(peer) {
		switch name, _, _ := strings.Cut(p, "="); strings.ToLower(name) {
		case "", "+sip.instance", "reg-id", "expires", "q", "tag", "temp-gruu", "pub-gruu":
		default:
			v += ";" + p
		}
	}
	return sip.NewHeader("Contact", v)
}
