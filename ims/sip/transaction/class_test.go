package transaction

import (
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
)

// Emergency calls are INVITEs, and nothing else is that goes to their URN.
func TestClassOfEmergencies(t *testing.T) {
	for _, tt := range []struct {
		method, uri string
		want        admission.Class
	}{
		{"INVITE", "urn:service:sos", admission.Vital},
		{"INVITE", "URN:service:SOS.fire", admission.Vital},
		{"INVITE", "urn:service:sosumi", admission.New},
		{"MESSAGE", "urn:service:sos", admission.New},
		{"OPTIONS", "urn:service:sos.fire", admission.New},
	} {
		m, err := sip.Parse(strings.Replace(request(tt.method, "1", ""), "sip:bob@example.com", tt.uri, 1))
		if err != nil {
			t.Fatal(err)
		}
		if got := Class(sip.Flow{Role: sip.RoleGm}, m); got != tt.want {
			t.Errorf("%s %s is %v, want %v", tt.method, tt.uri, got, tt.want)
		}
	}
}

func TestClassesOfREGISTER(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		want         admission.Class
	}{
		{"the first", `Authorization: Digest username="a", nonce="", response=""`, admission.New},
		{"the answer to a challenge", `Authorization: Digest username="a", nonce="n", response="r"`, admission.Begun},
		{"emergency", "Contact: <sip:a@192.0.2.1;SOS>;expires=600", admission.Vital},
		{"the second contact's", "Contact: <sip:a@192.0.2.1>, <sip:a@192.0.2.1;ob;sos>", admission.Vital},
		{"another parameter", "Contact: <sip:a@192.0.2.1;sosumi>", admission.New},
		{"a parameter of the contact", "Contact: <sip:a@192.0.2.1>;sos", admission.New},
		{"a name", `Contact: ";sos" <sip:a@192.0.2.1>`, admission.New},
	} {
		m, err := sip.Parse(request("REGISTER", "1", tt.header))
		if err != nil {
			t.Fatal(err)
		}
		if got := Class(sip.Flow{Role: sip.RoleGm}, m); got != tt.want {
			t.Errorf("%s is %v, want %v", tt.name, got, tt.want)
		}
	}
}
