package sip

import "testing"

func TestZeroEditsLeaveTheMessage(t *testing.T) {
	const raw = "OPTIONS sip:a SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nl: 0\r\n\r\n"
	m, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(m.AppendTo(nil, nil)); got != raw {
		t.Fatalf("got %q", got)
	}
	v, err := m.TopVia()
	if err != nil || v.Branch != "z9hG4bK1" || v.Host != "h" {
		t.Fatalf("via %+v, %v", v, err)
	}
}
