package profile_test

import (
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/ims/profile"
)

// FuzzCriteria: criteria alone, as in a shared iFC set, are read as they are within
// a profile, and their faults are told in the same way.
func FuzzCriteria(f *testing.F) {
	for _, name := range []string{"open5gs.xml", "pyhss.xml", "fhoss.xml"} {
		doc, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	f.Add([]byte(`<InitialFilterCriteria><Priority>0</Priority><ApplicationServer><ServerName>sip:as</ServerName></ApplicationServer></InitialFilterCriteria>`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		list, err := profile.ParseCriteria(doc)
		if err != nil {
			if e := new(profile.Error); !errors.As(err, &e) {
				t.Fatalf("%v is no *profile.Error", err)
			}
			return
		}
		if len(list) > len(doc)/len("<InitialFilterCriteria/>") {
			t.Fatalf("%d criteria in %d octets", len(list), len(doc))
		}
		p := profile.Profile{PrivateID: "a@b", ServiceProfiles: []profile.ServiceProfile{{
			PublicIdentities: []profile.PublicIdentity{{Identity: "sip:a@b"}}, InitialFilterCriteria: list,
		}}}
		out := p.Marshal()
		if len(out) > profile.MaxSize {
			return
		}
		again, err := profile.Parse(out)
		if err != nil {
			t.Fatalf("within a profile: %v\n%s", err, out)
		}
		if d := cmp.Diff(list, again.ServiceProfiles[0].InitialFilterCriteria); d != "" {
			t.Fatalf("within a profile (-alone +within):\n%s\n%s", d, out)
		}
	})
}
