package ue

import (
	"fmt"
	"strings"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/dialog"
	"github.com/gocscf/gocscf/ims/uri"
)

// NumberForm is how a dialled number becomes a Request-URI (IR.92 2.2.3).
type NumberForm uint8

const (
	// Tel is "tel:+49…", or "tel:0612;phone-context=DOMAIN" for a local number.
	Tel NumberForm = iota
	// SIPPhone is "sip:+49…@DOMAIN;user=phone", or
	// "sip:0612;phone-context=DOMAIN@DOMAIN;user=phone".
	SIPPhone
	// OddContext is "sip:0612;phone-context=0612@0612;user=phone": what Samsung's
	// phones make of a local number when the network has given them no sip URI with a
	// domain.
	OddContext
)

// target makes a Request-URI of what a user dials: a URI as it stands, a telephone
// number in the given form, "user@host", or a user of the home domain.
func target(dialled, domain string, form NumberForm) (string, error) {
	s := strings.TrimSpace(dialled)
	scheme, ok := sip.Scheme(s)
	if ok && (strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips") || strings.EqualFold(scheme, "tel") || strings.EqualFold(scheme, "urn")) {
		if strings.EqualFold(scheme, "urn") {
			return s, nil
		}
		if _, err := uri.Parse(s); err != nil {
			return "", fmt.Errorf("calling %q: %w", dialled, err)
		}
		return s, nil
	}
	digits := uri.CanonicalNumber(strings.ReplaceAll(s, " ", ""))
	number := digits != "" && strings.Trim(strings.TrimPrefix(digits, "+"), "0123456789*#") == "" && digits != "+"
	var u string
	switch global := strings.HasPrefix(digits, "+"); {
	case number && form == OddContext:
		user := uri.EscapeUser(digits)
		return "sip:" + user + ";phone-context=" + user + "@" + user + ";user=phone", nil
	case number && global && form == Tel:
		u = "tel:" + digits
	case number && form == Tel:
		u = "tel:" + digits + ";phone-context=" + domain
	case number && global:
		u = "sip:" + digits + "@" + domain + ";user=phone"
	case number:
		u = "sip:" + uri.EscapeUser(digits) + ";phone-context=" + domain + "@" + domain + ";user=phone"
	case strings.Contains(s, "@"):
		u = "sip:" + s
	case s != "":
		u = "sip:" + uri.EscapeUser(s) + "@" + domain
	default:
		return "", fmt.Errorf("calling %q: nobody is named", dialled)
	}
	if _, err := uri.Parse(u); err != nil {
		return "", fmt.Errorf("calling %q: %w", dialled, err)
	}
	return u, nil
}

func userOf(impi string) string {
	user, _, _ := strings.Cut(impi, "@")
	return user
}

// newRequest begins a request of a registered phone (TS 24.229 5.1.2A.1.1).
func (p *Phone) newRequest(method, ruri string, g *Registration) *dialog.Request {
	return &dialog.Request{
		Method: method, URI: ruri, From: "<" + g.Default + ">", To: "<" + ruri + ">",
		Routes: append([]string{"<sip:" + p.way.Load().pcscf.String() + ";lr>"}, g.ServiceRoute...),
		Fields: []sip.Field{{ID: sip.HPPreferredIdentity, Value: "<" + g.Default + ">"}},
	}
}

// restoration sees to it that a phone whose S-CSCF has forgotten it registers anew
// (TS 24.229 5.1.2A.1.6): a 504 asks for that in its body.
func (p *Phone) restoration(o dialog.Outcome) {
	if o.Status != 504 || o.Msg == nil || !strings.Contains(o.Msg.Body(), "initial-registration") {
		return
	}
	if ct, err := sip.ParseContentType(o.Msg.Get(sip.HContentType)); err != nil || !ct.Is("application/3gpp-ims+xml") {
		return
	}
	p.state(o.Msg.CallID(), "The network has lost the registration and asks for an initial one.", "TS 24.229 5.1.2A.1.6")
	p.shard().Post(func() { p.reg.again(true) })
}
