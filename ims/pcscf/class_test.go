package pcscf

import (
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
)

// TestClasses: what a phone dials in an emergency is never refused for load, what has
// come a long way late.
func TestClasses(t *testing.T) {
	s := &Server{cfg: Config{Emergency: Emergency{Numbers: map[string]string{"112": "sos"}}}}
	s.cfg.Domain = "ims.test"
	for _, tt := range []struct {
		name, method, uri string
		from              sip.Role
		want              admission.Class
	}{
		{"a call", "INVITE", "sip:bob@ims.test", sip.RoleGm, admission.New},
		{"a call for the phone", "INVITE", "sip:bob@192.0.2.1", sip.RoleCore, admission.Begun},
		{"emergency", "INVITE", "urn:service:sos", sip.RoleGm, admission.Vital},
		{"its number", "INVITE", "tel:112;phone-context=ims.test", sip.RoleProtectedServer, admission.Vital},
		{"its number at home", "INVITE", "sip:112@ims.test;user=phone", sip.RoleGm, admission.Vital},
		{"a message to that number", "MESSAGE", "tel:112;phone-context=ims.test", sip.RoleGm, admission.New},
		{"a number that begins so", "INVITE", "tel:1123;phone-context=ims.test", sip.RoleGm, admission.New},
	} {
		m, err := sip.Parse(strings.ReplaceAll("METHOD URI SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@ims.test>;tag=1\r\n"+
			"To: <sip:b@ims.test>\r\nCall-ID: 1\r\nCSeq: 1 METHOD\r\nContent-Length: 0\r\n\r\n", "METHOD", tt.method))
		if err != nil {
			t.Fatal(err)
		}
		m, err = sip.Parse(strings.Replace(m.Raw(), "URI", tt.uri, 1))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.classify(sip.Flow{Role: tt.from}, m); got != tt.want {
			t.Errorf("%s is %v, want %v", tt.name, got, tt.want)
		}
	}
}
