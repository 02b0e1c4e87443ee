package icscf

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/testbed/conformance"
)

func TestChooseByCapabilities(t *testing.T) {
	conformance.Shows(t, "IC-05")
	all := []SCSCF{
		{Name: "sip:s1.example.org", Capabilities: []uint32{1}},
		{Name: "sip:s2.example.org", Capabilities: []uint32{1, 2, 7}},
		{Name: "sip:s3.example.org", Capabilities: []uint32{1, 2, 7, 8}},
	}
	tests := []struct {
		name string
		want *cx.ServerCapabilities
		list []string
	}{
		{"nothing from the HSS: the configured order", nil, []string{"sip:s1.example.org", "sip:s2.example.org", "sip:s3.example.org"}},
		{"all mandatory ones", &cx.ServerCapabilities{Mandatory: []uint32{1, 2}}, []string{"sip:s2.example.org", "sip:s3.example.org"}},
		{"most optional ones first", &cx.ServerCapabilities{Mandatory: []uint32{1}, Optional: []uint32{7, 8}}, []string{"sip:s3.example.org", "sip:s2.example.org", "sip:s1.example.org"}},
		{"optional ones do not replace mandatory ones", &cx.ServerCapabilities{Mandatory: []uint32{9}, Optional: []uint32{7}}, nil},
		{"preferred names first, without scheme, once", &cx.ServerCapabilities{Mandatory: []uint32{2}, ServerNames: []string{"s3.example.org", "sip:other.example.org"}}, []string{"sip:s3.example.org", "sip:other.example.org", "sip:s2.example.org"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.list, choose(all, tt.want)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTriedServersAreComparedAsURIs(t *testing.T) {
	got := without([]string{"sip:S1.example.org", "sip:s2.example.org:5060"}, []string{"s1.example.org"})
	if d := cmp.Diff([]string{"sip:s2.example.org:5060"}, got); d != "" {
		t.Error(d)
	}
}
