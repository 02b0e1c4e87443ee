package sip

import (
	"slices"
	"testing"
)

// withHistory is a request with these header lines.
func withHistory(t *testing.T, lines ...string) *Message {
	t.Helper()
	raw := "INVITE sip:bob@home.test SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n"
	for _, l := range lines {
		raw += l + "\r\n"
	}
	m, err := Parse(raw + "\r\n")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func historyAfter(t *testing.T, m *Message, e *Edits) []string {
	t.Helper()
	after, err := m.Apply(e)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(after.Values(HHistoryInfo))
}

func TestHistoryIsCompleted(t *testing.T) {
	const target = "sip:bob@home.test"
	tests := []struct {
		name  string
		lines []string
		begin bool
		want  []string
		index string
	}{
		{"nobody asks", nil, false, nil, ""},
		{"begun", nil, true, []string{"<sip:bob@home.test>;index=1"}, "1"},
		{"complete", []string{"History-Info: <sip:a@h>;index=1", "History-Info: <sip:bob@HOME.test;cause=302>;index=1.1;mp=1"}, false,
			[]string{"<sip:a@h>;index=1", "<sip:bob@HOME.test;cause=302>;index=1.1;mp=1"}, "1.1"},
		{"complete, with a reason", []string{"History-Info: <sip:bob@home.test?Reason=SIP%3Bcause%3D302>;index=1"}, false,
			[]string{"<sip:bob@home.test?Reason=SIP%3Bcause%3D302>;index=1"}, "1"},
		{"a gap", []string{"History-Info: <sip:a@h>;index=1, <tel:+49>;index=1.1"}, false,
			[]string{"<sip:a@h>;index=1", "<tel:+49>;index=1.1", "<sip:bob@home.test>;index=1.1.0"}, "1.1.0"},
		{"no index", []string{"History-Info: <sip:a@h>"}, true, []string{"<sip:a@h>"}, ""},
		{"cannot be read", []string{"History-Info: <sip:a@h>;index=1, <sip:b;index=1..2"}, true, []string{"<sip:a@h>;index=1", "<sip:b;index=1..2"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := withHistory(t, tt.lines...)
			var e Edits
			h, ok := RecordTarget(m, &e, target, tt.begin)
			if h.Index != tt.index || ok != (tt.index != "") {
				t.Errorf("index %q, %v", h.Index, ok)
			}
			if got := historyAfter(t, m, &e); !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestHistoryGoesOn(t *testing.T) {
	h := HistoryInfo{Addr: NameAddr{URI: "sip:a@h"}, Index: "1.2"}
	for got, want := range map[string]string{
		h.Next(1, "tel:+49", "").String():                               "<tel:+49>;index=1.2.1",
		h.Next(3, "sip:a@10.0.0.1", "rc").String():                      "<sip:a@10.0.0.1>;index=1.2.3;rc=1.2",
		h.Because(408).String():                                         "<sip:a@h?Reason=SIP%3Bcause%3D408>;index=1.2",
		HistoryInfo{Addr: NameAddr{URI: "tel:+49"}}.Because(1).String(): "<tel:+49>",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	h.Addr.URI += "?Privacy=history"
	h = h.Because(302)
	if r, ok := h.Reason(); !ok || r.Cause != 302 || h.Privacy() != "history" {
		t.Errorf("%s", h)
	}
}

func TestHistoryIsHidden(t *testing.T) {
	const (
		open   = "<sip:a@h>;index=1"
		hidden = `"Bob" <sip:bob@h;cause=302?Privacy=history&Reason=SIP%3Bcause%3D486%3Btext%3D%22Bob%22>;index=1.1;mp=1;who=bob`
		odd    = "<sip:c@h?Reason=X%25bob%3Bcause%3D1;cause=bob&privacy=id%3BHistory>;index=1.1.1"
	)
	const (
		nobody  = "<sip:anonymous@anonymous.invalid>;index=1"
		nobody2 = "<sip:anonymous@anonymous.invalid;cause=302?Reason=SIP%3Bcause%3D486>;index=1.1;mp=1"
	)
	tests := []struct {
		name, privacy, value string
		want                 []string
	}{
		{"nothing to hide", "Privacy: id", open, []string{open}},
		{"one entry", "X: y", open + ", " + hidden, []string{open, nobody2}},
		{"the user's own wish does not unveil others", "Privacy: none", hidden, []string{nobody2}},
		{"all", "Privacy: id;history", open, []string{nobody}},
		{"all, by header", "Privacy: header", open, []string{nobody}},
		{"all, by session", "Privacy: session", open, []string{nobody}},
		{"strange", "X: y", odd, []string{"<sip:anonymous@anonymous.invalid>;index=1.1.1"}},
		{"cannot be read", "X: y", open + ", <sip:bob@h?Privacy=history>;index=1..1", []string{open}},
		{"nothing can be read", "X: y", "<sip:bob", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := withHistory(t, tt.privacy, "History-Info: "+tt.value)
			var e Edits
			HideHistory(&e, m)
			if got := historyAfter(t, m, &e); !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// Whatever the entries are, what leaves can be read, and asks for nothing to be
// hidden any more.
func FuzzHideHistory(f *testing.F) {
	f.Add("<sip:a@h>;index=1, <sip:b@h;cause=302?Privacy=history&Reason=SIP%3Bcause%3D486>;index=1.1;mp=1", "id;header")
	f.Fuzz(func(t *testing.T, value, privacy string) {
		m, err := Parse("INVITE sip:b@h SIP/2.0\r\nPrivacy: " + privacy + "\r\nHistory-Info: " + value + "\r\n\r\n")
		if err != nil {
			return
		}
		var e Edits
		HideHistory(&e, m)
		after, err := m.Apply(&e)
		if err != nil {
			t.Fatal(err)
		}
		for v := range after.Values(HHistoryInfo) {
			if h, err := ParseHistoryInfo(v); err != nil || h.isPrivate() {
				t.Errorf("%q is left of %q: %v", v, value, err)
			}
		}
		if h, ok := m.LastHistoryInfo(); ok && h.Index != "" {
			next := h.Next(1, "sip:c@h", "rc").Because(302)
			if again, err := ParseHistoryInfo(next.String()); err != nil || again.Index != next.Index || !again.Names("sip:c@h") {
				t.Errorf("%s is not read back: %v", next, err)
			}
		}
	})
}
