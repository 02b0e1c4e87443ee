package scscf

import (
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// sessions is what the S-CSCF keeps about requests that application servers have.
type sessions struct{ s *Server }

func newSessions(s *Server) *sessions { return &sessions{s: s} }

// session routes a request outside of a dialog.
func (s *Server) session(x *proxy.Exchange) { s.inDialog(x) }

// inDialog forwards a request along its route set.
func (s *Server) inDialog(x *proxy.Exchange) {
	x.Forward(proxy.Target{Hop: proxy.Hop{Role: sip.RoleCore}})
}
