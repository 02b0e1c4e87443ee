package hss

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/gocscf/gocscf/ims/profile"
)

// Subscribers made by a rule are what they would be if they were written down.
func TestGenerate(t *testing.T) {
	text := "domain: example.org\nsubscribers: []\ngenerate:\n- {first: 001010000000998, count: 5, msisdn: 4930100, k: " + keyK + ", opc: " + keyOPc +
		", priorities: [wps.2], ifc: ['<InitialFilterCriteria><Priority>1</Priority><ApplicationServer><ServerName>sip:as.example.org</ServerName></ApplicationServer></InitialFilterCriteria>']}\n"
	c := DefaultConfig()
	if err := yaml.UnmarshalWithOptions([]byte(text), &c, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	db, err := c.check()
	if err != nil || c.subscribers != 5 || len(db.users) != 5 || len(db.impus) != 10 {
		t.Fatalf("%d subscribers are %d users: %v", c.subscribers, len(db.users), err)
	}
	written := Config{Domain: c.Domain}
	written.Subscribers.List = []Subscriber{{
		IMPI: "001010000001001@example.org", IMPUs: []string{"sip:001010000001001@example.org", "tel:+4930103"}, K: keyK, OPc: keyOPc, IFC: c.Generate[0].IFC, Priorities: []string{"wps.2"},
	}}
	want, err := newDatabase(&written, written.Subscribers.List)
	if err != nil {
		t.Fatal(err)
	}
	got, model := db.user("001010000001001@example.org"), want.user("001010000001001@example.org")
	if got == nil || string(got.userData()) != string(model.data) || got.amf != model.amf || len(got.impus) != 2 || got.impus[1] != "tel:+4930103" {
		t.Fatalf("generated %+v, written down %+v", got, model)
	}
	if p, err := profile.Parse(got.data); err != nil || p.PrivateID != got.impi {
		t.Errorf("the profile of %s is %+v: %v", got.impi, p, err)
	}
	if first := db.user("001010000000998@example.org"); first == nil || first.sub == got.sub || &first.userData()[0] == &got.userData()[0] {
		t.Error("subscribers share what is their own")
	}

	for name, g := range map[string]Generated{
		"first":         {First: "1", Count: 1, K: keyK, OPc: keyOPc},
		"count":         {First: "001010000000001", Count: 0, K: keyK, OPc: keyOPc},
		"k is missing":  {First: "001010000000001", Count: 1, OPc: keyOPc},
		"msisdn":        {First: "001010000000001", Count: 1, MSISDN: "+1", K: keyK, OPc: keyOPc},
		"another subsc": {First: "001010000000997", Count: 2, K: keyK, OPc: keyOPc},
	} {
		bad := c
		bad.Generate = append(bad.Generate[:1:1], g)
		if _, err := bad.check(); err == nil || !strings.Contains(err.Error(), "generate[1]: ") || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), keyK) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
