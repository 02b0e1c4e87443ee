package ifc

import (
	"slices"
	"strings"
	"sync"

	"github.com/gocscf/gocscf/ims/profile"
)

// Next returns the first criterion at from or later that req matches. It
// allocates nothing in the steady state. Only initial requests are to be asked
// about: requests inside a dialog never trigger (TS 24.229 5.4.3).
func (c *Chain) Next(from Position, req Request, s Session) (*Criterion, bool) {
	if c == nil || int(from) >= len(c.criteria) {
		return nil, false
	}
	m := matchers.Get().(*matcher)
	m.req, m.session = req, s
	defer m.release()
	for i := max(from, 0); int(i) < len(c.criteria); i++ {
		if m.matches(&c.criteria[i]) {
			return &c.criteria[i], true
		}
	}
	return nil, false
}

// matcher holds what one evaluation needs. Its two yield functions are made
// once: a closure handed to an interface would be allocated each time.
type matcher struct {
	req     Request
	session Session

	// spt is the trigger that the yield functions look for.
	spt      *spt
	found    bool
	onHeader func(name, value string) bool
	onLine   func(line string) bool

	// results caches what each SPT of the criterion gave: an SPT may be in
	// several groups.
	results []result
}

type result uint8

const (
	notEvaluated result = iota
	isFalse
	isTrue
)

var matchers = sync.Pool{New: func() any {
	m := &matcher{}
	m.onHeader = m.header
	m.onLine = m.line
	return m
}}

func (m *matcher) release() {
	m.req, m.spt = nil, nil
	matchers.Put(m)
}

func (m *matcher) matches(c *Criterion) bool {
	switch {
	case c.never || !c.inPart(m.session):
		return false
	case c.always:
		return true
	}
	m.results = append(m.results[:0], make([]result, len(c.spts))...)
	for _, g := range c.groups {
		// A group of a CNF is an OR, of a DNF an AND; so is the end of the loop
		// the other way round.
		if m.group(c, g) != c.cnf {
			return !c.cnf
		}
	}
	return c.cnf
}

// group evaluates one group, and stops at the SPT that decides it.
func (m *matcher) group(c *Criterion, g group) bool {
	for _, i := range g {
		if m.eval(c, i) == c.cnf {
			return c.cnf
		}
	}
	return !c.cnf
}

func (m *matcher) eval(c *Criterion, i uint16) bool {
	if m.results[i] == notEvaluated {
		m.results[i] = isFalse
		if m.condition(&c.spts[i]) != c.spts[i].negated {
			m.results[i] = isTrue
		}
	}
	return m.results[i] == isTrue
}

// condition is what the SPT says before ConditionNegated.
func (m *matcher) condition(s *spt) bool {
	switch s.kind {
	case profile.RequestURISPT:
		return s.content.find(m.req.RequestURI())
	case profile.MethodSPT:
		return m.req.Method() == s.method &&
			(len(s.registrationTypes) == 0 || slices.Contains(s.registrationTypes, m.session.Registration))
	case profile.SessionCaseSPT:
		return m.session.Case == s.sessionCase
	case profile.SIPHeaderSPT:
		m.spt, m.found = s, false
		m.req.Headers(m.onHeader)
		return m.found
	case profile.SessionDescriptionSPT:
		m.spt, m.found = s, false
		m.req.SDPLines(m.onLine)
		return m.found
	}
	return false
}

func (m *matcher) header(name, value string) bool {
	m.found = m.spt.name.isName(name) && (!m.spt.hasContent || m.spt.content.find(value))
	return !m.found
}

func (m *matcher) line(line string) bool {
	rest, ok := strings.CutPrefix(line, m.spt.line)
	m.found = ok && (!m.spt.hasContent || m.spt.content.find(rest))
	return !m.found
}

// inPart reports whether the criterion belongs to the part of the profile that
// applies to the session.
func (c *Criterion) inPart(s Session) bool {
	switch c.part {
	case profile.RegisteredPart:
		return !s.unregistered()
	case profile.UnregisteredPart:
		return s.unregistered()
	}
	return true
}
