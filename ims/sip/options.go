package sip

import "strings"

// HasOption reports whether a list of tokens (Supported, Require, Proxy-Require,
// Unsupported, Allow-Events …) names one, on whichever of its lines. Option tags
// compare without regard to case.
func (m *Message) HasOption(id ID, tag string) bool {
	for v := range m.Values(id) {
		if equalFold(v, tag) {
			return true
		}
	}
	return false
}

// AllowsMethod reports whether Allow lists a method; methods compare with regard
// to case.
func (m *Message) AllowsMethod(method string) bool {
	for v := range m.Values(HAllow) {
		if v == method {
			return true
		}
	}
	return false
}

// WantsPrivacy reports whether Privacy names a value ("id", "header", "user", …;
// RFC 3323 §4.2). The values are separated by semicolons; some phones use commas.
func (m *Message) WantsPrivacy(value string) bool {
	for l := range m.Lines(HPrivacy) {
		for l != "" {
			i := strings.IndexAny(l, ";,")
			v := l
			if i < 0 {
				l = ""
			} else {
				v, l = l[:i], l[i+1:]
			}
			if equalFold(trimLWS(v), value) {
				return true
			}
		}
	}
	return false
}
