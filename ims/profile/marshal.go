package profile

import (
	"bytes"
	"encoding/xml"
	"strconv"
)

// Marshal writes the document with the elements in the order of the schema (TS
// 29.228 Annex E), as an HSS sends it. Parse reads the same profile from it.
func (p *Profile) Marshal() []byte {
	w := writer{}
	w.WriteString(xml.Header)
	w.open("IMSSubscription")
	w.text("PrivateID", string(p.PrivateID))
	for i := range p.ServiceProfiles {
		w.serviceProfile(&p.ServiceProfiles[i])
	}
	w.close("IMSSubscription")
	return w.Bytes()
}

// MarshalCriteria writes filter criteria as the children of a SharedIFCSet
// element, a form that ParseCriteria reads. Equal criteria give equal octets.
func MarshalCriteria(list []InitialFilterCriteria) []byte {
	w := writer{}
	w.open("SharedIFCSet")
	for i := range list {
		w.criterion(&list[i])
	}
	w.close("SharedIFCSet")
	return w.Bytes()
}

// writer builds XML; every value is escaped.
type writer struct{ bytes.Buffer }

func (w *writer) open(name string)  { w.WriteByte('<'); w.WriteString(name); w.WriteByte('>') }
func (w *writer) close(name string) { w.WriteString("</"); w.WriteString(name); w.WriteByte('>') }

func (w *writer) text(name, value string) {
	w.open(name)
	_ = xml.EscapeText(&w.Buffer, []byte(value)) // a Buffer does not fail
	w.close(name)
}

func (w *writer) optional(name, value string) {
	if value != "" {
		w.text(name, value)
	}
}

func (w *writer) number(name string, n int64) { w.text(name, strconv.FormatInt(n, 10)) }

func (w *writer) boolean(name string, v bool) {
	if v {
		w.number(name, 1)
	} else {
		w.number(name, 0)
	}
}

func (w *writer) serviceProfile(sp *ServiceProfile) {
	w.open("ServiceProfile")
	for i := range sp.PublicIdentities {
		w.publicIdentity(&sp.PublicIdentities[i])
	}
	if c := sp.CoreNetworkServices; c != nil {
		w.open("CoreNetworkServicesAuthorization")
		if c.MediaProfileID >= 0 {
			w.number("SubscribedMediaProfileId", int64(c.MediaProfileID))
		}
		if len(c.ServiceIDs) > 0 {
			w.open("Extension")
			w.open("ListOfServiceIds")
			for _, id := range c.ServiceIDs {
				w.text("ServiceId", id)
			}
			w.close("ListOfServiceIds")
			w.close("Extension")
		}
		w.close("CoreNetworkServicesAuthorization")
	}
	for i := range sp.InitialFilterCriteria {
		w.criterion(&sp.InitialFilterCriteria[i])
	}
	if len(sp.SharedIFCSetIDs) > 0 {
		w.open("Extension")
		for _, id := range sp.SharedIFCSetIDs {
			w.number("SharedIFCSetID", int64(id))
		}
		w.close("Extension")
	}
	w.close("ServiceProfile")
}

// publicIdentity nests the Extensions as the releases added them.
func (w *writer) publicIdentity(id *PublicIdentity) {
	w.open("PublicIdentity")
	w.boolean("BarringIndication", id.Barred)
	w.text("Identity", string(id.Identity))
	w.open("Extension")
	w.number("IdentityType", int64(id.Type))
	psi := id.Type == WildcardedPSI || id.Type == DistinctPSI
	if psi {
		w.optional("WildcardedPSI", string(id.Wildcard))
	}
	depth := 1
	nest := func() { w.open("Extension"); depth++ }
	imp := !psi && id.Wildcard != "" || id.PriorityLevel >= 0
	last := id.MaxRegistrations > 0 || len(id.Priorities) > 0
	if id.DisplayName != "" || id.AliasGroup != "" || imp || last {
		nest()
		w.optional("DisplayName", id.DisplayName)
		w.optional("AliasIdentityGroupID", id.AliasGroup)
	}
	if imp || last {
		nest()
		if !psi {
			w.optional("WildcardedIMPU", string(id.Wildcard))
		}
		if id.PriorityLevel >= 0 {
			w.number("ServicePriorityLevel", int64(id.PriorityLevel))
		}
	}
	if last {
		nest()
		for _, p := range id.Priorities {
			w.open("ExtendedPriority")
			w.text("PriorityNamespace", p.Namespace)
			w.text("PriorityLevel", p.Level)
			w.close("ExtendedPriority")
		}
		if id.MaxRegistrations > 0 {
			w.number("MaxNumOfAllowedSimultRegistrations", int64(id.MaxRegistrations))
		}
	}
	for range depth {
		w.close("Extension")
	}
	w.close("PublicIdentity")
}

func (w *writer) criterion(c *InitialFilterCriteria) {
	w.open("InitialFilterCriteria")
	w.number("Priority", int64(c.Priority))
	if t := c.TriggerPoint; t != nil {
		w.open("TriggerPoint")
		w.boolean("ConditionTypeCNF", t.CNF)
		for i := range t.SPTs {
			w.spt(&t.SPTs[i])
		}
		w.close("TriggerPoint")
	}
	as := &c.ApplicationServer
	w.open("ApplicationServer")
	w.text("ServerName", as.ServerName)
	w.number("DefaultHandling", int64(as.DefaultHandling))
	w.optional("ServiceInfo", as.ServiceInfo)
	if as.IncludeRegisterRequest || as.IncludeRegisterResponse {
		w.open("Extension")
		if as.IncludeRegisterRequest {
			w.text("IncludeRegisterRequest", "")
		}
		if as.IncludeRegisterResponse {
			w.text("IncludeRegisterResponse", "")
		}
		w.close("Extension")
	}
	w.close("ApplicationServer")
	if c.Part != BothParts {
		w.number("ProfilePartIndicator", int64(c.Part-RegisteredPart))
	}
	w.close("InitialFilterCriteria")
}

func (w *writer) spt(s *SPT) {
	w.open("SPT")
	w.boolean("ConditionNegated", s.Negated)
	for _, g := range s.Groups {
		w.number("Group", int64(g))
	}
	switch s.Kind {
	case RequestURISPT, MethodSPT:
		w.text(s.Kind.String(), s.Text)
	case SessionCaseSPT:
		w.number("SessionCase", int64(s.Case))
	case SIPHeaderSPT, SessionDescriptionSPT:
		name := "Header"
		if s.Kind == SessionDescriptionSPT {
			name = "Line"
		}
		w.open(s.Kind.String())
		w.text(name, s.Text)
		if s.HasContent {
			w.text("Content", s.Content)
		}
		w.close(s.Kind.String())
	}
	if len(s.RegistrationTypes) > 0 {
		w.open("Extension")
		for _, t := range s.RegistrationTypes {
			w.number("RegistrationType", int64(t))
		}
		w.close("Extension")
	}
	w.close("SPT")
}
