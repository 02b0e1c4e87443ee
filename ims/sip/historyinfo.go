package sip

import (
	"errors"
	"strings"
)

// HistoryInfo is one value of a History-Info header (RFC 7044 §5).
type HistoryInfo struct {
	Addr  NameAddr // URI with its headers and parameters, as written
	Index string   // "1.1"; "" when it is missing
	Tag   string   // "rc", "mp", "np" or "": how the target came about
	From  string   // the index that Tag names
}

var errHistoryIndex = errors.New("sip: History-Info with a malformed index")

// ParseHistoryInfo reads one value.
func ParseHistoryInfo(s string) (HistoryInfo, error) {
	a, err := ParseNameAddr(s)
	if err != nil {
		return HistoryInfo{}, err
	}
	h := HistoryInfo{Addr: a}
	h.Index, _ = a.Params.Get("index")
	if !isIndex(h.Index) {
		return HistoryInfo{}, errHistoryIndex
	}
	for _, tag := range [...]string{"rc", "mp", "np"} {
		if v, ok := a.Params.Get(tag); ok {
			h.Tag, h.From = tag, v
			break
		}
	}
	return h, nil
}

// isIndex reports whether s is numbers with dots between them, or nothing.
func isIndex(s string) bool {
	for i := 0; i < len(s); i++ {
		digit := '0' <= s[i] && s[i] <= '9'
		if !digit && (s[i] != '.' || i == 0 || i == len(s)-1 || s[i-1] == '.') {
			return false
		}
	}
	return true
}

// Reason returns the Reason that the URI carries as an escaped header: why the
// call went on from there.
func (h HistoryInfo) Reason() (ReasonValue, bool) {
	v, ok := uriHeader(h.Addr.URI, "Reason")
	if !ok {
		return ReasonValue{}, false
	}
	r, err := ParseReason(v)
	return r, err == nil
}

// Privacy returns the Privacy that the URI carries as an escaped header.
func (h HistoryInfo) Privacy() string {
	v, _ := uriHeader(h.Addr.URI, "Privacy")
	return v
}

// AppendTo appends the value.
func (h HistoryInfo) AppendTo(dst []byte) []byte {
	dst = NameAddr{Display: h.Addr.Display, URI: h.Addr.URI}.AppendTo(dst)
	if h.Index != "" {
		dst = append(append(dst, ";index="...), h.Index...)
	}
	if h.Tag != "" {
		dst = appendParam(dst, h.Tag, h.From)
	}
	return appendOthers(dst, h.Addr.Params, historyField)
}

var historyField = oneOf("index", "rc", "mp", "np")

func (h HistoryInfo) String() string { return string(h.AppendTo(nil)) }

// uriHeader returns a header of a URI ("?name=value&…", RFC 3261 §19.1.1) without
// its escapes.
func uriHeader(uri, name string) (string, bool) {
	at := strings.IndexByte(uri, '@') + 1 // a "?" may stand in the user part
	q := strings.IndexByte(uri[at:], '?')
	if q < 0 {
		return "", false
	}
	for rest := uri[at+q+1:]; rest != ""; {
		var h string
		h, rest, _ = strings.Cut(rest, "&")
		n, v, _ := strings.Cut(h, "=")
		if equalFold(unescape(n), name) {
			return unescape(v), true
		}
	}
	return "", false
}

// unescape replaces %XX by the octet. What is no escape stays.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, ok1 := hexDigit(s[i+1])
			lo, ok2 := hexDigit(s[i+2])
			if ok1 && ok2 {
				b = append(b, hi<<4|lo)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
