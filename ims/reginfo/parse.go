package reginfo

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds on a document from outside.
const (
	MaxSize          = 128 << 10
	maxRegistrations = 256
	maxContacts      = 1024 // in all registrations together
	MaxParams        = 64   // of one contact
)

// ErrDocument is what every refusal of a document is.
var ErrDocument = errors.New("bad reginfo document")

// The wire form, as encoding/xml reads it. Attributes are read as text, so that
// an error can name the value.
type xmlReginfo struct {
	XMLName       xml.Name
	Version       string            `xml:"version,attr"`
	State         string            `xml:"state,attr"`
	Registrations []xmlRegistration `xml:"registration"`
}

type xmlRegistration struct {
	XMLName  xml.Name
	AOR      string       `xml:"aor,attr"`
	ID       string       `xml:"id,attr"`
	State    string       `xml:"state,attr"`
	Wildcard string       `xml:"urn:3gpp:ns:extRegExp:1.0 wildcardedIdentity"`
	Contacts []xmlContact `xml:"contact"`
}

type xmlContact struct {
	XMLName     xml.Name
	ID          string    `xml:"id,attr"`
	State       string    `xml:"state,attr"`
	Event       string    `xml:"event,attr"`
	Expires     string    `xml:"expires,attr"`
	RetryAfter  string    `xml:"retry-after,attr"`
	Duration    string    `xml:"duration-registered,attr"`
	Q           string    `xml:"q,attr"`
	CallID      string    `xml:"callid,attr"`
	CSeq        string    `xml:"cseq,attr"`
	URI         []xmlText `xml:"uri"`
	DisplayName []xmlText `xml:"display-name"`
	Params      []struct {
		Name  string `xml:"name,attr"`
		Value string `xml:",chardata"`
	} `xml:"unknown-param"`
	PubGRUU struct {
		URI string `xml:"uri,attr"`
	} `xml:"urn:ietf:params:xml:ns:gruuinfo pub-gruu"`
	TempGRUU struct {
		URI       string `xml:"uri,attr"`
		FirstCSeq string `xml:"first-cseq,attr"`
	} `xml:"urn:ietf:params:xml:ns:gruuinfo temp-gruu"`
}

// xmlText is an element of which an extension may have one of the same name.
type xmlText struct {
	XMLName xml.Name
	Text    string `xml:",chardata"`
}

func text(list []xmlText) string {
	for i := range list {
		if ours(list[i].XMLName) {
			return strings.TrimSpace(list[i].Text)
		}
	}
	return ""
}

// Parse reads a document. Elements of other namespaces are skipped; a missing
// namespace is read as reginfo's.
func Parse(doc []byte) (*Document, error) {
	if len(doc) > MaxSize {
		return nil, fmt.Errorf("%w: %d octets, more than %d", ErrDocument, len(doc), MaxSize)
	}
	// A document type could declare entities; no reginfo document has one.
	if bytes.Contains(doc, []byte("<!DOCTYPE")) {
		return nil, fmt.Errorf("%w: document type declarations are not accepted", ErrDocument)
	}
	var x xmlReginfo
	d := xml.NewDecoder(bytes.NewReader(doc))
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if l := strings.ToLower(label); l == "us-ascii" || l == "ascii" || l == "utf8" {
			return in, nil
		}
		return nil, fmt.Errorf("encoding %q is neither utf-8 nor us-ascii", label)
	}
	if err := d.Decode(&x); err != nil {
		line, col := d.InputPos()
		return nil, fmt.Errorf("%w: line %d column %d: %w", ErrDocument, line, col, err)
	}
	if x.XMLName.Local != "reginfo" || !ours(x.XMLName) {
		return nil, fmt.Errorf("%w: root element is <%.40s>, not <reginfo>", ErrDocument, x.XMLName.Local)
	}
	return x.document()
}

func ours(n xml.Name) bool { return n.Space == "" || n.Space == nsReginfo }

func (x *xmlReginfo) document() (*Document, error) {
	d := &Document{}
	var err error
	if d.Version, err = number("version", x.Version); err != nil || x.Version == "" {
		return nil, fmt.Errorf("%w: version %.20q is no number", ErrDocument, x.Version)
	}
	switch x.State {
	case "full":
	case "partial":
		d.Partial = true
	default:
		return nil, fmt.Errorf("%w: state %.20q is neither full nor partial", ErrDocument, x.State)
	}
	contacts := 0
	for i := range x.Registrations {
		xr := &x.Registrations[i]
		if !ours(xr.XMLName) {
			continue
		}
		r := Registration{AOR: strings.TrimSpace(xr.AOR), ID: xr.ID, WildcardedIdentity: strings.TrimSpace(xr.Wildcard)}
		if r.State, err = state(xr.State); err != nil || r.AOR == "" {
			return nil, fmt.Errorf("%w: registration %q: state %.20q", ErrDocument, xr.AOR, xr.State)
		}
		for j := range xr.Contacts {
			if !ours(xr.Contacts[j].XMLName) {
				continue
			}
			c, err := xr.Contacts[j].contact()
			if err != nil {
				return nil, fmt.Errorf("%w: registration %.80q contact %.40q: %w", ErrDocument, r.AOR, xr.Contacts[j].ID, err)
			}
			r.Contacts = append(r.Contacts, c)
			contacts++
		}
		d.Registrations = append(d.Registrations, r)
		if len(d.Registrations) > maxRegistrations || contacts > maxContacts {
			return nil, fmt.Errorf("%w: more than %d registrations or %d contacts", ErrDocument, maxRegistrations, maxContacts)
		}
	}
	return d, nil
}

func (x *xmlContact) contact() (Contact, error) {
	c := Contact{
		ID: x.ID, Q: x.Q, CallID: x.CallID,
		URI:         text(x.URI),
		DisplayName: text(x.DisplayName),
		PubGRUU:     x.PubGRUU.URI,
		TempGRUU:    x.TempGRUU.URI,
	}
	var err error
	if c.State, err = state(x.State); err != nil || c.State == Init {
		return c, fmt.Errorf("state %.20q", x.State)
	}
	for i, name := range events {
		if name != "" && name == x.Event {
			c.Event = Event(i)
		}
	}
	if c.Event == 0 {
		return c, fmt.Errorf("event %.20q", x.Event)
	}
	if c.URI == "" {
		return c, errors.New("no uri")
	}
	for _, n := range []struct {
		name, text string
		to         *uint32
	}{
		{"expires", x.Expires, &c.Expires}, {"retry-after", x.RetryAfter, &c.RetryAfter},
		{"duration-registered", x.Duration, &c.DurationRegistered}, {"cseq", x.CSeq, &c.CSeq},
		{"first-cseq", x.TempGRUU.FirstCSeq, &c.TempGRUUFirstCSeq},
	} {
		if *n.to, err = number(n.name, n.text); err != nil {
			return c, err
		}
	}
	if c.TempGRUU == "" { // of nothing there is no first
		c.TempGRUUFirstCSeq = 0
	}
	if len(x.Params) > MaxParams {
		return c, fmt.Errorf("%d unknown-param elements, more than %d", len(x.Params), MaxParams)
	}
	for _, p := range x.Params {
		c.UnknownParams = append(c.UnknownParams, Param{Name: p.Name, Value: p.Value})
	}
	return c, nil
}

func state(s string) (State, error) {
	for i, name := range states {
		if s == name {
			return State(i), nil
		}
	}
	return 0, fmt.Errorf("state %.20q", s)
}

// number reads an unsigned number; an absent attribute is 0.
func number(name, s string) (uint32, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s %.20q is no number", name, s)
	}
	return uint32(n), nil
}
