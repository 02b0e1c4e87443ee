package transaction

import (
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
)

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
