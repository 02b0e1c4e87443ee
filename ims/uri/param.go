package uri

import (
	"iter"
	"strings"
)

// Param returns the value of the first URI parameter of that name, still
// escaped, and whether the parameter is there. Names compare without case and
// with escapes decoded ("%6C%72" is "lr", RFC 4475 3.1.1.3).
func (u URI) Param(name string) (value string, ok bool) {
	return lookup(u.Params, name)
}

// HasParam reports whether u has a URI parameter of that name.
func (u URI) HasParam(name string) bool {
	_, ok := lookup(u.Params, name)
	return ok
}

// AllParams yields the name and value of each URI parameter, still escaped, in order.
func (u URI) AllParams() iter.Seq2[string, string] { return pairs(u.Params, ';') }

// AllHeaders yields the name and value of each header of the URI, still escaped.
func (u URI) AllHeaders() iter.Seq2[string, string] { return pairs(u.Headers, '&') }

// Header returns the value of the first header of that name, still escaped.
func (u URI) Header(name string) (value string, ok bool) {
	for n, v := range u.AllHeaders() {
		if equalEscaped(n, name, true) {
			return v, true
		}
	}
	return "", false
}

// WithParam returns u with that parameter set: in place if u has it, else at
// the end. An empty value gives a parameter without '='. What may not stand in
// a parameter is escaped; %HH sequences stay as they are.
func (u URI) WithParam(name, value string) URI {
	item := escapeParam(name)
	if value != "" {
		item += "=" + escapeParam(value)
	}
	if !u.HasParam(name) {
		if u.Params == "" {
			u.Params = item
		} else {
			u.Params += ";" + item
		}
		return u
	}
	u.Params = edit(u.Params, name, item)
	return u
}

// WithoutParam returns u without the parameters of that name. It allocates only
// if there is one.
func (u URI) WithoutParam(name string) URI {
	if u.HasParam(name) {
		u.Params = edit(u.Params, name, "")
	}
	return u
}

// edit replaces the first parameter of that name by item, or removes it if item
// is empty, and removes any other of that name.
func edit(params, name, item string) string {
	b := make([]byte, 0, len(params)+len(item))
	for p := range strings.SplitSeq(params, ";") {
		n, _, _ := strings.Cut(p, "=")
		if equalEscaped(n, name, true) {
			if p, item = item, ""; p == "" {
				continue
			}
		}
		if len(b) > 0 {
			b = append(b, ';')
		}
		b = append(b, p...)
	}
	return string(b)
}

func lookup(params, name string) (string, bool) {
	for params != "" {
		p := params
		if semi := strings.IndexByte(p, ';'); semi >= 0 {
			p, params = p[:semi], p[semi+1:]
		} else {
			params = ""
		}
		n, v, _ := strings.Cut(p, "=")
		if equalEscaped(n, name, true) {
			return v, true
		}
	}
	return "", false
}

func pairs(s string, sep byte) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for rest := s; rest != ""; {
			p := rest
			if i := strings.IndexByte(p, sep); i >= 0 {
				p, rest = p[:i], p[i+1:]
			} else {
				rest = ""
			}
			n, v, _ := strings.Cut(p, "=")
			if !yield(n, v) {
				return
			}
		}
	}
}
