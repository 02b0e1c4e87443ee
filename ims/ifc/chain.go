package ifc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/uri"
)

// MaxCriteria bounds a chain, shared sets included.
const MaxCriteria = 512

// Position is a place in a chain. The zero value is the beginning. It means
// nothing to another chain.
type Position int

// Chain is the compiled criteria of a service profile, in ascending priority.
// It never changes and may be shared.
type Chain struct {
	criteria []Criterion
	warnings []string
}

// Criterion is one initial filter criterion of a chain. It is read-only.
type Criterion struct {
	Priority int32
	Server   profile.ApplicationServer
	// URI is Server.ServerName as a URI.
	URI uri.URI

	index   Position
	part    profile.Part
	cnf     bool
	always  bool // no trigger point
	never   bool // has an SPT that cannot be understood
	groups  []group
	spts    []spt
	numbers []int32 // of the groups, for explanations
}

// group holds indices into Criterion.spts.
type group []uint16

// spt is a compiled service point trigger.
type spt struct {
	kind              profile.SPTKind
	negated           bool
	hasContent        bool
	sessionCase       profile.SessionCase
	method            string
	name, content     expr
	line              string // "m=": how the SDP line begins
	registrationTypes []profile.RegistrationType
}

// Compile makes a chain from criteria in the order of their document. An error
// names the criterion and the SPT; the profile then is not usable as a whole,
// because leaving out one server could let a request pass that it would stop.
func Compile(criteria []profile.InitialFilterCriteria) (*Chain, error) {
	if len(criteria) > MaxCriteria {
		return nil, fmt.Errorf("%d initial filter criteria, more than %d", len(criteria), MaxCriteria)
	}
	c := &Chain{criteria: make([]Criterion, 0, len(criteria))}
	for i := range criteria {
		one, err := c.compile(&criteria[i])
		if err != nil {
			return nil, fmt.Errorf("initial filter criterion of priority %d for %.80q: %w",
				criteria[i].Priority, criteria[i].ApplicationServer.ServerName, err)
		}
		c.criteria = append(c.criteria, one)
	}
	slices.SortStableFunc(c.criteria, func(a, b Criterion) int { return int(a.Priority) - int(b.Priority) })
	for i := range c.criteria {
		c.criteria[i].index = Position(i)
		if i > 0 && c.criteria[i].Priority == c.criteria[i-1].Priority {
			c.warn(c.criteria[i].Priority, "another criterion has the same priority; the order of the document decides")
		}
	}
	return c, nil
}

func (c *Chain) warn(priority int32, text string) {
	if text != "" && len(c.warnings) < 16 {
		c.warnings = append(c.warnings, "priority "+strconv.Itoa(int(priority))+": "+text)
	}
}

func (c *Chain) compile(f *profile.InitialFilterCriteria) (Criterion, error) {
	out := Criterion{Priority: f.Priority, Server: f.ApplicationServer, part: f.Part}
	var err error
	if out.URI, err = serverURI(f.ApplicationServer.ServerName); err != nil {
		return out, fmt.Errorf("ServerName: %w", err)
	}
	if f.TriggerPoint == nil {
		out.always = true
		return out, nil
	}
	out.cnf = f.TriggerPoint.CNF
	out.spts = make([]spt, 0, len(f.TriggerPoint.SPTs))
	for i := range f.TriggerPoint.SPTs {
		src := &f.TriggerPoint.SPTs[i]
		s, warning, err := compileSPT(src)
		if err != nil {
			return out, fmt.Errorf("SPT %d (%s): %w", i+1, src.Kind, err)
		}
		if s.kind == profile.UnknownSPT {
			out.never = true
			warning = "it is of an unknown kind, so the criterion never matches"
		}
		if warning != "" {
			c.warn(f.Priority, fmt.Sprintf("SPT %d: %s", i+1, warning))
		}
		out.spts = append(out.spts, s)
		for _, number := range src.Groups {
			at := slices.Index(out.numbers, number)
			if at < 0 {
				at = len(out.numbers)
				out.numbers = append(out.numbers, number)
				out.groups = append(out.groups, nil)
			}
			if !slices.Contains(out.groups[at], uint16(i)) {
				out.groups[at] = append(out.groups[at], uint16(i))
			}
		}
	}
	if len(out.groups) == 0 {
		out.never = true
		c.warn(f.Priority, "its trigger point has no group, so the criterion never matches")
	}
	return out, nil
}

func compileSPT(src *profile.SPT) (s spt, warning string, err error) {
	s = spt{kind: src.Kind, negated: src.Negated, sessionCase: src.Case}
	switch src.Kind {
	case profile.RequestURISPT:
		s.content, warning, err = compileContent(src.Text)
		return s, warning, err
	case profile.MethodSPT:
		s.method = strings.Clone(src.Text)
		if s.method == "REGISTER" {
			s.registrationTypes = slices.Clone(src.RegistrationTypes)
		}
		return s, "", nil
	case profile.SIPHeaderSPT:
		s.name, warning, err = compileName(src.Text)
	case profile.SessionDescriptionSPT:
		line := strings.TrimSuffix(src.Text, "=")
		if len(line) != 1 {
			return s, "", fmt.Errorf("line %.40q is not the letter of an SDP line", src.Text)
		}
		s.line = line + "="
	case profile.SessionCaseSPT:
		return s, "", nil
	default:
		s.kind = profile.UnknownSPT
		return s, "", nil
	}
	if err != nil || !src.HasContent {
		return s, warning, err
	}
	s.hasContent = true
	content, more, err := compileContent(src.Content)
	s.content = content
	if warning == "" {
		warning = more
	}
	return s, warning, err
}

// serverURI also takes a name without scheme, as some templates have it.
func serverURI(name string) (uri.URI, error) {
	u, err := uri.Parse(name)
	if err != nil || u.IsTel() {
		bare, bareErr := uri.Parse("sip:" + name)
		if bareErr != nil || strings.Contains(name, "://") {
			if err == nil {
				err = uri.ErrScheme
			}
			return uri.URI{}, err
		}
		u = bare
	}
	return u.Clone(), nil
}

// Len returns the number of criteria.
func (c *Chain) Len() int { return len(c.criteria) }

// At returns the criterion at a position, nil beyond the end.
func (c *Chain) At(p Position) *Criterion {
	if p < 0 || int(p) >= len(c.criteria) {
		return nil
	}
	return &c.criteria[p]
}

// Warnings lists what was tolerated in the criteria, for one log line.
func (c *Chain) Warnings() []string { return c.warnings }

// After is where evaluation goes on when the request returns from the
// application server of the criterion.
func (c *Criterion) After() Position { return c.index + 1 }

// Continue reports whether the session goes on without the application server
// when it does not answer (DefaultHandling).
func (c *Criterion) Continue() bool { return c.Server.DefaultHandling == profile.SessionContinued }
