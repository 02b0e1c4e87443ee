package pcscf

import (
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
)

// ownTexts is what headers say of this P-CSCF and its network, written once.
type ownTexts struct {
	behindICID string // "." and our address
	vector     string // P-Charging-Vector behind the icid-value
	ioi        string // our network towards the home network (TS 24.229 4.5.4)
	visited    string // P-Visited-Network-ID
}

// texts returns them. They are kept from when our address is known.
func (s *Server) texts() *ownTexts {
	if t := s.own.Load(); t != nil {
		return t
	}
	address := s.Mw().Addr()
	t := &ownTexts{behindICID: "." + address.String(), ioi: "Type 1" + s.cfg.visited(), visited: sip.Quote(s.cfg.visited())}
	whole := sip.ChargingVector{GeneratedAt: address.String(), OrigIOI: t.ioi}.String()
	t.vector = strings.TrimPrefix(whole, `icid-value=""`)
	if address.IsValid() {
		s.own.Store(t)
	}
	return t
}

// chargingVector makes the P-Charging-Vector of a request (TS 24.229 5.2.2.1,
// 5.2.7.2, 4.5) whose icid is known already: that, and the operator of type 1.
func (s *Server) chargingVector(icid string) string {
	return `icid-value="` + icid + `"` + s.texts().vector
}

// ioi is our network towards the home network (TS 24.229 4.5.4).
func (s *Server) ioi() string { return s.texts().ioi }

// charge makes a P-Charging-Vector with an icid-value that nobody else makes (TS 24.229
// 4.5.2), which is a part of it.
func (s *Server) charge() (vector, icid string) {
	const name = `icid-value="`
	t := s.texts()
	vector = name + newToken() + t.behindICID + `"` + t.vector
	return vector, vector[len(name) : len(vector)-len(t.vector)-1]
}
