package ifc

import (
	"fmt"
	"strings"

	"github.com/gocscf/gocscf/ims/profile"
)

// Explanation says what became of one criterion, for the trace.
type Explanation struct {
	Criterion *Criterion
	Matched   bool
	// Text is a sentence: "priority 10: SPT 2 (SIPHeader Accept-Contact ~ mmtel)
	// did not match".
	Text string
}

// Explain evaluates as Next does and says of each criterion from the position
// to the one that matches (or to the end) why. It costs far more than Next:
// call it only when somebody looks.
func (c *Chain) Explain(from Position, req Request, s Session) []Explanation {
	if c == nil {
		return nil
	}
	m := matchers.Get().(*matcher)
	m.req, m.session = req, s
	defer m.release()
	var list []Explanation
	for i := max(from, 0); int(i) < len(c.criteria); i++ {
		one := &c.criteria[i]
		e := Explanation{Criterion: one, Matched: m.matches(one)}
		e.Text = fmt.Sprintf("priority %d: %s", one.Priority, m.why(one, e.Matched))
		list = append(list, e)
		if e.Matched {
			break
		}
	}
	return list
}

// why reads the results that matches left behind.
func (m *matcher) why(c *Criterion, matched bool) string {
	switch {
	case c.never:
		return "it has an SPT of an unknown kind, so it never matches"
	case !c.inPart(m.session):
		if c.part == profile.RegisteredPart {
			return "it is for registered users only, and the user is not registered"
		}
		return "it is for unregistered users only, and the user is registered"
	case c.always:
		return "it has no trigger point, so every request matches"
	}
	var parts []string
	for n, g := range c.groups {
		// What decided: in a CNF the group that failed, or the SPT that made
		// each group true; in a DNF the group that held, or the SPT that made
		// each group false.
		if c.cnf == matched {
			for _, i := range g {
				if m.eval(c, i) == matched {
					parts = append(parts, c.spts[i].describe(int(i), matched))
					break
				}
			}
			continue
		}
		if m.group(c, g) != matched {
			continue
		}
		for _, i := range g {
			parts = append(parts, c.spts[i].describe(int(i), matched))
		}
		return fmt.Sprintf("%s (group %d)", strings.Join(parts, " and "), c.numbers[n])
	}
	return strings.Join(parts, " and ")
}

func (s *spt) describe(i int, matched bool) string {
	verb := "did not match"
	switch {
	case matched && s.negated:
		verb = "did not match, as the negation asks"
	case matched:
		verb = "matched"
	case s.negated:
		verb = "matched, which its negation forbids"
	}
	return fmt.Sprintf("SPT %d (%s) %s", i+1, s.text(), verb)
}

// text writes the SPT out, without its negation.
func (s *spt) text() string {
	var b strings.Builder
	b.WriteString(s.kind.String())
	switch s.kind {
	case profile.RequestURISPT:
		b.WriteString(" ~ " + s.content.text)
	case profile.MethodSPT:
		b.WriteString(" " + s.method)
		for i, t := range s.registrationTypes {
			if i > 0 {
				b.WriteString(" or")
			}
			b.WriteString(" " + t.String())
		}
	case profile.SessionCaseSPT:
		b.WriteString(" " + s.sessionCase.String())
	case profile.SIPHeaderSPT:
		b.WriteString(" " + s.name.text)
	case profile.SessionDescriptionSPT:
		b.WriteString(" " + s.line)
	}
	if s.hasContent {
		b.WriteString(" ~ " + s.content.text)
	}
	return b.String()
}
