package profile

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gocscf/gocscf/ims/identity"
)

// Templates reads profiles like Parse. Those that differ from an earlier one in the text
// of PrivateID and Identity alone, as the profiles of subscribers that an HSS makes from
// one template do, are not parsed: they share with it all but their identities. The zero
// value is ready; its methods may be called from any goroutine.
type Templates struct {
	list atomic.Pointer[[]*template] // never changed, only replaced

	mu     sync.Mutex // of the following, and of who replaces list
	next   int        // to be replaced, when the list is full
	passed int        // documents of no template since then
}

// Bounds of what Templates holds.
const (
	maxTemplates = 16
	maxTemplate  = 32 << 10 // octets of a document
	// rarely is of how many documents that are of no template one becomes a template,
	// when there are as many as may be: an HSS may have none.
	rarely = 64
)

// template is a document with holes.
type template struct {
	pieces []string // of the document: what is before, between and behind the holes
	holes  []int    // what is in them: the ordinal of a PublicIdentity, or privateID
	from   Profile  // nobody else's but for what its service profiles point to
	size   int      // public identities
}

const privateID = -1

// Parse reads a document, which may be a part of something larger: nothing of it is kept.
// The criteria of the profile, and what else it points to, must not be changed.
func (t *Templates) Parse(doc string) (*Profile, error) {
	doc = trim(doc)
	if len(doc) > maxTemplate {
		return Parse(doc)
	}
	if list := t.list.Load(); list != nil {
		for _, one := range *list {
			if p := one.fill(doc); p != nil {
				return p, nil
			}
		}
	}
	if !t.wanted() {
		return Parse(doc)
	}
	r := plainReader(strings.Clone(doc))
	r.holes = &holes{}
	p, err := r.profile()
	if err != nil {
		return Parse(doc)
	}
	if one := templateOf(r.plain.doc, r.holes, p); one != nil {
		t.add(one)
	}
	return p, nil
}

// wanted reports whether a document of no template is worth one of its own.
func (t *Templates) wanted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if list := t.list.Load(); list == nil || len(*list) < maxTemplates {
		return true
	}
	t.passed++
	return t.passed >= rarely
}

func (t *Templates) add(one *template) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passed = 0
	var list []*template
	if old := t.list.Load(); old != nil {
		list = append(list, *old...)
	}
	if len(list) < maxTemplates {
		list = append(list, one)
	} else {
		list[t.next] = one
		t.next = (t.next + 1) % maxTemplates
	}
	t.list.Store(&list)
}

// holes are the places in a plain document where the names of the user are.
type holes struct {
	at    [][2]int // from where to where
	what  []int
	mixed bool // one of them is in several pieces
}

// hole notes the text that inner has read last.
func (r *reader) hole(what int) {
	if r.holes == nil {
		return
	}
	if r.texts != 1 {
		r.holes.mixed = true
		return
	}
	r.holes.at, r.holes.what = append(r.holes.at, r.text1), append(r.holes.what, what)
}

// templateOf makes a template of a document that was read well; nil if there is none in
// it. Warnings may be about the names, and wildcarded identities are named twice.
func templateOf(doc string, h *holes, p *Profile) *template {
	if h.mixed || len(h.at) == 0 || len(p.Warnings) > 0 {
		return nil
	}
	one := &template{holes: h.what, from: *p}
	one.from.ServiceProfiles = append([]ServiceProfile(nil), p.ServiceProfiles...)
	for i := range one.from.ServiceProfiles {
		sp := &one.from.ServiceProfiles[i]
		sp.PublicIdentities = append([]PublicIdentity(nil), sp.PublicIdentities...)
		one.size += len(sp.PublicIdentities)
		for j := range sp.PublicIdentities {
			id := &sp.PublicIdentities[j]
			if id.Wildcard != "" || id.IsWildcard() {
				return nil
			}
			id.Identity = ""
		}
	}
	one.from.PrivateID = ""
	from := 0
	for _, at := range h.at {
		one.pieces = append(one.pieces, doc[from:at[0]])
		from = at[1]
	}
	one.pieces = append(one.pieces, doc[from:])
	return one
}

// fill returns the profile of a document that is of the template, nil if it is not, or if
// there is anything special about a name. All that the parser sees of such a document is
// what it saw of the template's, but for the texts in the holes: each is one text there,
// from the end of a tag to the next.
func (one *template) fill(doc string) *Profile {
	rest, ok := strings.CutPrefix(doc, one.pieces[0])
	if !ok {
		return nil
	}
	var buf [8]string
	names, size := buf[:0], 0
	for _, piece := range one.pieces[1:] {
		n := strings.IndexByte(rest, '<')
		if n <= 0 || !plainText(rest[:n]) || strings.Contains(rest[:n], "]]>") {
			return nil
		}
		name := strings.TrimSpace(rest[:n])
		names, size = append(names, name), size+len(name)
		if rest, ok = strings.CutPrefix(rest[n:], piece); !ok {
			return nil
		}
	}
	if rest != "" {
		return nil
	}
	var own strings.Builder // all names of the user in one piece
	own.Grow(size)
	for _, name := range names {
		own.WriteString(name)
	}
	text := own.String()

	p, ids := room(len(one.from.ServiceProfiles), one.size)
	copy(p.ServiceProfiles, one.from.ServiceProfiles)
	for i := range p.ServiceProfiles {
		sp := &p.ServiceProfiles[i]
		from := len(ids)
		ids = append(ids, sp.PublicIdentities...)
		sp.PublicIdentities = ids[from:len(ids):len(ids)]
	}
	for i, what := range one.holes {
		name := text[:len(names[i])]
		text = text[len(name):]
		var err error
		if what != privateID {
			ids[what].Identity, err = identity.ParseIMPUIn(name)
		} else if name == "" || name == "null" { // see reader.privateID
			return nil
		} else {
			p.PrivateID, err = identity.ParseIMPIIn(name)
		}
		if err != nil {
			return nil
		}
	}
	return p
}
