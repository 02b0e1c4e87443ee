package diameter

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
	"github.com/fiorix/go-diameter/v4/diam/dict"
)

//go:embed base.xml
var baseXML string

// A Dictionary knows the commands and AVPs of a set of applications. It is
// built from go-diameter's XML format, always in a parser of its own, and is
// read-only afterwards: any number of nodes and goroutines may share one.
//
// Lookups are exact. go-diameter itself resolves an AVP of an unknown vendor by
// its code alone and a command of any application in the base protocol; both
// would let a peer choose the type that its bytes are read as.
type Dictionary struct {
	avps     map[avpKey]*Definition
	names    map[nameKey]*Definition
	commands map[commandKey]*CommandDefinition
	tables   map[uint32]*table // by application

	sessionID *Definition
}

type avpKey struct{ app, code, vendor uint32 }
type nameKey struct {
	app  uint32
	name string
}
type commandKey struct{ app, code uint32 }

// A Definition describes one AVP.
type Definition struct {
	Name      string
	Code      uint32
	Vendor    uint32 // 0 for AVPs of the IETF
	Type      datatype.TypeID
	Mandatory bool // sent with the M bit

	rules []rule // of a Grouped AVP
}

// A CommandDefinition describes one command, both directions.
type CommandDefinition struct {
	Code  uint32
	Name  string // "User-Authorization"
	Short string // "UA"

	request []rule
}

// A rule says how often an AVP may stand in a request or a group.
type rule struct {
	avp      *Definition
	required bool
	max      int // 0: any number
}

// Nobody here uses the dictionaries of nine applications that go-diameter reads when a
// program starts: in a service they would be a mebibyte in 12,000 objects, each looked at
// whenever the collector marks.
func init() { dict.Default, _ = dict.NewParser() } // which reads no file, and so cannot fail

// NewDictionary reads the base protocol and the given XML documents in
// go-diameter's dictionary format, one or more applications each. An AVP named
// in a rule must be defined in the rule's own application or in the base.
func NewDictionary(documents ...string) (*Dictionary, error) {
	parser, err := dict.NewParser()
	if err != nil {
		return nil, fmt.Errorf("diameter: new dictionary: %w", err)
	}
	for i, doc := range append([]string{baseXML}, documents...) {
		if err := parser.Load(strings.NewReader(doc)); err != nil {
			return nil, fmt.Errorf("diameter: load dictionary document %d: %w", i, err)
		}
	}
	d := &Dictionary{
		avps:     make(map[avpKey]*Definition),
		names:    make(map[nameKey]*Definition),
		commands: make(map[commandKey]*CommandDefinition),
	}
	for _, app := range parser.Apps() {
		for _, a := range app.AVP {
			def := &Definition{
				Name: a.Name, Code: a.Code, Vendor: a.VendorID,
				Type: a.Data.Type, Mandatory: strings.Contains(a.Must, "M"),
			}
			d.avps[avpKey{app.ID, a.Code, a.VendorID}] = def
			d.names[nameKey{app.ID, a.Name}] = def
		}
	}
	for _, app := range parser.Apps() {
		for _, a := range app.AVP {
			if a.Data.Type != datatype.GroupedType {
				continue
			}
			def := d.avps[avpKey{app.ID, a.Code, a.VendorID}]
			if def.rules, err = d.link(app.ID, a.Data.Rule); err != nil {
				return nil, fmt.Errorf("diameter: dictionary: group %s: %w", a.Name, err)
			}
		}
		for _, c := range app.Command {
			cmd := &CommandDefinition{Code: c.Code, Name: c.Name, Short: c.Short}
			if cmd.request, err = d.link(app.ID, c.Request.Rule); err != nil {
				return nil, fmt.Errorf("diameter: dictionary: command %s: %w", c.Name, err)
			}
			d.commands[commandKey{app.ID, c.Code}] = cmd
		}
	}
	d.tabulate()
	d.sessionID = d.Lookup(0, avp.SessionID, 0)
	return d, nil
}

func (d *Dictionary) link(app uint32, rules []*dict.Rule) ([]rule, error) {
	var out []rule
	for _, r := range rules {
		def := d.Named(app, r.AVP)
		if def == nil {
			return nil, fmt.Errorf("AVP %s is not defined; add it to the dictionary", r.AVP)
		}
		out = append(out, rule{avp: def, required: r.Required, max: r.Max})
	}
	return out, nil
}

// Named returns the AVP with the given name in the application or in the base
// protocol, nil if there is none.
func (d *Dictionary) Named(app uint32, name string) *Definition {
	if def := d.names[nameKey{app, name}]; def != nil {
		return def
	}
	return d.names[nameKey{0, name}]
}

// Lookup returns the AVP with exactly this code and vendor in the application or
// in the base protocol, nil if there is none.
func (d *Dictionary) Lookup(app, code, vendor uint32) *Definition {
	if def := d.avps[avpKey{app, code, vendor}]; def != nil {
		return def
	}
	return d.avps[avpKey{0, code, vendor}]
}

// Command returns the command of exactly this application, nil if there is none.
func (d *Dictionary) Command(app, code uint32) *CommandDefinition {
	return d.commands[commandKey{app, code}]
}

// HasApplication reports whether any command of the application is defined.
func (d *Dictionary) HasApplication(app uint32) bool {
	for k := range d.commands {
		if k.app == app {
			return true
		}
	}
	return false
}

// New makes an AVP with the flags that the definition asks for.
func (def *Definition) New(data datatype.Type) *AVP {
	var flags uint8
	if def.Mandatory {
		flags = avp.Mbit
	}
	return diam.NewAVP(def.Code, flags, def.Vendor, data)
}

// Example makes the AVP with a zero-filled value of the least length its type
// allows, as Failed-AVP holds it for an AVP that is missing (RFC 6733 7.5).
func (def *Definition) Example() *AVP {
	return def.New(datatype.Unknown(make([]byte, minLength(def.Type))))
}

// Check holds a request against the rules of its command: an AVP that is
// required and absent gives DIAMETER_MISSING_AVP, one that stands too often
// DIAMETER_AVP_OCCURS_TOO_MANY_TIMES, also inside groups. It returns nil when
// the request is as the dictionary asks.
func (d *Dictionary) Check(m *Message) *AVPError {
	cmd := d.Command(m.Application, m.Command)
	if cmd == nil {
		return &AVPError{Code: CommandUnsupported, Reason: fmt.Sprintf(
			"command %d is not defined for application %d", m.Command, m.Application)}
	}
	if len(m.AVPs) == 0 && holds(cmd.request, m.body, 0) {
		return nil
	}
	return checkRules(cmd.request, m.All(), cmd.Name+"-Request", 0)
}

func checkRules(rules []rule, avps []*AVP, where string, depth int) *AVPError {
	for _, r := range rules {
		n := 0
		for _, a := range avps {
			if a.Code != r.avp.Code || a.VendorID != r.avp.Vendor {
				continue
			}
			n++
			if r.max > 0 && n > r.max {
				return &AVPError{Code: AVPOccursTooManyTimes, AVP: a,
					Reason: fmt.Sprintf("%s more than %d times in %s", r.avp.Name, r.max, where)}
			}
			if len(r.avp.rules) == 0 || depth >= maxDepth {
				continue
			}
			if e := checkRules(r.avp.rules, Group(a), r.avp.Name, depth+1); e != nil {
				return e.within(a)
			}
		}
		if r.required && n == 0 {
			return &AVPError{Code: MissingAVP, AVP: r.avp.Example(),
				Reason: fmt.Sprintf("%s is missing in %s", r.avp.Name, where)}
		}
	}
	return nil
}
