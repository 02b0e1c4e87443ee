package pcscf

import (
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// Revive sees to a further 2xx to an INVITE that was retired: from another fork, it
// makes another dialog. note is the ICID of what a phone has sent, and for a phone the
// identity by which it was called. A phone that has left since has no dialogs.
func (h handler) Revive(x *proxy.Exchange, note string) {
	s := h.s
	initial := x.Req.ToTag() == ""
	if x.Flow.Role != sip.RoleCore {
		x.OnResponse(responseToPhone)
		token, icid, _ := strings.Cut(note, " ")
		if b := s.bindings.ofToken(token, time.Now()); b != nil && initial {
			k := &making{s: s, b: b, x: x, icid: icid, calling: true}
			x.OnResponse(func(br *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
				k.response(m)
				return responseToPhone(br, m, e)
			})
		}
		return
	}
	x.OnResponse(func(_ *proxy.Branch, m *sip.Message, e *sip.Edits) bool {
		scrubFromPhone(e, m)
		e.Remove(sip.HPPreferredIdentity)
		return true
	})
	if b := s.behind(x); b != nil && initial {
		c := &called{making: making{s: s, b: b, x: x, icid: node.ICID(x.Req)}, as: note, forms: true}
		x.OnResponse(c.response)
	}
}
