package icscf

import (
	"net/netip"
	"testing"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
)

// The priority that somebody asks for, and the dialog that he says he is in, count if he
// is of the trust domain.
func TestClassOfPriority(t *testing.T) {
	s, open := &Server{cfg: Config{Trusted: node.Trusted{netip.MustParsePrefix("10.0.0.0/8")}}}, &Server{}
	for _, tt := range []struct {
		name, from, uri, to, more string
		want                      admission.Class
	}{
		{"a call", "10.0.0.1:5060", "sip:bob@home.test", "", "", admission.Begun},
		{"with priority", "10.0.0.1:5060", "sip:bob@home.test", "", "Resource-Priority: wps.0\r\n", admission.Vital},
		{"with priority, from outside", "203.0.113.1:5060", "sip:bob@home.test", "", "Resource-Priority: wps.0\r\n", admission.Begun},
		{"within a dialog", "10.0.0.1:5060", "sip:bob@home.test", ";tag=1", "", admission.Vital},
		{"within a dialog, from outside", "203.0.113.1:5060", "sip:bob@home.test", ";tag=1", "", admission.New},
		{"with priority within a dialog, from outside", "203.0.113.1:5060", "sip:bob@home.test", ";tag=1", "Resource-Priority: wps.0\r\n", admission.New},
		{"an emergency within a dialog, from outside", "203.0.113.1:5060", "urn:service:sos", ";tag=1", "", admission.New},
		{"an emergency, from outside", "203.0.113.1:5060", "urn:service:sos", "", "Resource-Priority: wps.0\r\n", admission.Vital},
	} {
		m, err := sip.Parse("INVITE " + tt.uri + " SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:bob@home.test>" + tt.to +
			"\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n" + tt.more + "Content-Length: 0\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		if got := s.classify(sip.Flow{Role: sip.RoleCore, Remote: netip.MustParseAddrPort(tt.from)}, m); got != tt.want {
			t.Errorf("%s is %v, want %v", tt.name, got, tt.want)
		}
		if got := open.classify(sip.Flow{Role: sip.RoleCore, Remote: netip.MustParseAddrPort(tt.from)}, m); tt.to != "" && got != admission.Vital {
			t.Errorf("%s is %v where everybody is trusted", tt.name, got)
		}
	}
}
