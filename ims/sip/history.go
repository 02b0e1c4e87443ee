package sip

import (
	"strconv"
	"strings"

	"github.com/gocscf/gocscf/ims/uri"
)

// LastHistoryInfo returns the last entry of History-Info, and whether there is any
// header of that name. The entry is zero when there is none, and when the last one
// cannot be read or has no index: nothing can be added behind it then.
func (m *Message) LastHistoryInfo() (HistoryInfo, bool) {
	if !m.Has(HHistoryInfo) {
		return HistoryInfo{}, false
	}
	last := ""
	for v := range m.Values(HHistoryInfo) {
		last = v
	}
	h, err := ParseHistoryInfo(last)
	if err != nil || h.Index == "" {
		return HistoryInfo{}, true
	}
	return h, true
}

// RecordTarget sees to it that the last entry of the request's history is for
// target, its Request-URI, on behalf of whoever sent it (RFC 7044 §9.1), and
// returns that entry. Without a History-Info it begins one if begin is set. ok is
// false when nothing is to be recorded.
func RecordTarget(m *Message, e *Edits, target string, begin bool) (h HistoryInfo, ok bool) {
	h, has := m.LastHistoryInfo()
	switch {
	case has && h.Index == "", !has && !begin:
		return HistoryInfo{}, false
	case has && h.Names(target):
		return h, true
	}
	h = h.Missing(target)
	e.Add(HHistoryInfo, h.String())
	return h, true
}

// Names reports whether the entry is for that Request-URI.
func (h HistoryInfo) Names(target string) bool {
	addr := withoutHeaders(h.Addr.URI)
	if addr == target {
		return true
	}
	a, errA := uri.Parse(addr)
	b, errB := uri.Parse(target)
	return errA == nil && errB == nil && uri.Equal(a, b)
}

// Missing makes the entry for a target behind h that whoever chose it has not
// recorded (RFC 7044 §10.3 item 6); behind nothing, the first entry.
func (h HistoryInfo) Missing(target string) HistoryInfo {
	n := HistoryInfo{Addr: NameAddr{URI: target}, Index: "1"}
	if h.Index != "" {
		n.Index = h.Index + ".0"
	}
	return n
}

// Next makes the entry for the nth target, from 1, that h has led to. tag says how,
// "" when none of the tags fits.
func (h HistoryInfo) Next(n int, target, tag string) HistoryInfo {
	next := HistoryInfo{Addr: NameAddr{URI: target}, Index: h.Index + "." + strconv.Itoa(n), Tag: tag}
	if tag != "" {
		next.From = h.Index
	}
	return next
}

// Because returns h with the status that made the request go on to another target
// (RFC 7044 §10.2). A tel URI has no room for it.
func (h HistoryInfo) Because(status int) HistoryInfo {
	if len(h.Addr.URI) >= 4 && equalFold(h.Addr.URI[:4], "tel:") {
		return h
	}
	sep := "?"
	if withoutHeaders(h.Addr.URI) != h.Addr.URI {
		sep = "&"
	}
	h.Addr.URI += sep + "Reason=SIP%3Bcause%3D" + strconv.Itoa(status)
	return h
}

// Anonymous returns h without a name in it (RFC 7044 §10.1.2): what is left says
// that there was a target, in which order, and the code by which the request went
// on (RFC 4458, RFC 3326).
func (h HistoryInfo) Anonymous() HistoryInfo {
	to := "sip:anonymous@anonymous.invalid"
	if u, err := uri.Parse(h.Addr.URI); err == nil {
		if cause, ok := u.Param("cause"); ok && isNumber(cause) {
			to += ";cause=" + cause
		}
	}
	if r, ok := h.Reason(); ok && r.HasCause && (r.Protocol == "SIP" || r.Protocol == "Q.850") {
		to += "?Reason=" + r.Protocol + "%3Bcause%3D" + strconv.Itoa(int(r.Cause))
	}
	return HistoryInfo{Addr: NameAddr{URI: to}, Index: h.Index, Tag: h.Tag, From: h.From}
}

// isPrivate reports whether the entry asks to be hidden.
func (h HistoryInfo) isPrivate() bool {
	for v := range strings.FieldsFuncSeq(h.Privacy(), func(r rune) bool { return r == ';' || r == ',' }) {
		if equalFold(trimLWS(v), "history") {
			return true
		}
	}
	return false
}

// HideHistory makes the entries anonymous that may not leave the trust domain: all
// of them when the message asks for that kind of privacy, or those that do (RFC
// 7044 §10.1.2). What cannot be read might ask for it as well, and goes.
func HideHistory(e *Edits, m *Message) {
	if !m.Has(HHistoryInfo) {
		return
	}
	all := m.WantsPrivacy("history") || m.WantsPrivacy("header") || m.WantsPrivacy("session")
	var out []string
	changed := false
	for v := range m.Values(HHistoryInfo) {
		h, err := ParseHistoryInfo(v)
		switch {
		case err != nil:
			changed = true
			continue
		case all || h.isPrivate():
			v, changed = h.Anonymous().String(), true
		}
		out = append(out, v)
	}
	if !changed {
		return
	}
	e.Remove(HHistoryInfo)
	if len(out) > 0 {
		e.Add(HHistoryInfo, strings.Join(out, ", "))
	}
}

// withoutHeaders cuts the headers off a URI.
func withoutHeaders(addr string) string {
	at := strings.IndexByte(addr, '@') + 1 // a "?" may stand in the user part
	if q := strings.IndexByte(addr[at:], '?'); q >= 0 {
		return addr[:at+q]
	}
	return addr
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
