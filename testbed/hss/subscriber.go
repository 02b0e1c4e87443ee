package hss

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Subscriber is one entry of subscribers.yaml: a SIM with its services.
type Subscriber struct {
	// IMPI is the private identity, user@domain.
	IMPI string
	// IMPUs are the public identities, sip: or tel: URIs. They are registered
	// together, the first sip: one that is not barred being the default.
	IMPUs []string
	// Barred are those of them that may be registered but not used otherwise, as
	// the temporary one of a SIM without ISIM is.
	Barred []string
	// DisplayNames gives names to public identities.
	DisplayNames map[string]string

	// K is the key of the SIM in hexadecimal digits: 16 octets, 32 possible with TUAK.
	K Key
	// OPc (TOPc for TUAK) or OP (TOP), one of them, in hexadecimal digits; none
	// with algorithm xor.
	OPc, OP Key
	// AMF is 4 hexadecimal digits, 8000 by default.
	AMF string
	// Algorithm is milenage (the default), tuak or xor, the test algorithm of TS
	// 34.108 for test SIMs.
	Algorithm string
	// TUAK holds the choices of TS 35.231 for algorithm tuak.
	TUAK TUAK
	// SQN, 12 hexadecimal digits, is the sequence number of the first vector. A
	// higher one in the state file goes before it.
	SQN string
	// RAND are challenges in hexadecimal digits, used in order, then random ones.
	// For tests only.
	RAND []string

	// IFC are initial filter criteria in the XML of TS 29.228 Annex E, each the
	// document itself or the name of a file: an InitialFilterCriteria element, or
	// any element with some as children.
	IFC []string
	// Priorities are what the public identities may ask for in Resource-Priority, as
	// "wps.2": namespace and highest level (ExtendedPriority of TS 29.228 Annex E).
	Priorities []string
	// Charging names the charging functions.
	Charging Charging
	// Roaming are the networks beside the home network in which this subscriber
	// may register; if empty, visited_networks of hss.yaml says.
	Roaming []string
	// Capabilities are those needed of this subscriber's S-CSCF.
	Capabilities Capabilities

	dir  string // of the file it came from
	line int    // in that file, 0 for none
}

// TUAK holds the operator's choices for that algorithm; zeros are its defaults.
type TUAK struct {
	// ResBits, CKBits and IKBits are lengths in bits: 64, 128, 128 by default.
	ResBits int `yaml:"res_bits"`
	CKBits  int `yaml:"ck_bits"`
	IKBits  int `yaml:"ik_bits"`
	// Iterations of Keccak, 1 by default.
	Iterations int `yaml:"iterations"`
}

// Charging names charging functions as Diameter URIs (TS 29.229 6.3.19).
type Charging struct {
	// CCF is the primary charging collection function (offline).
	CCF string `yaml:"ccf"`
	// ECF is the primary event charging function (online).
	ECF string `yaml:"ecf"`
}

// Key is key material in hexadecimal digits. However it is printed or marshalled,
// nothing of it shows.
type Key string

// String hides the key.
func (k Key) String() string {
	if k == "" {
		return ""
	}
	return "(hidden)"
}

// Format hides the key whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalText hides the key; it cannot be read back.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// subscriberYAML is Subscriber as it stands in a file.
type subscriberYAML struct {
	IMPI         scalar            `yaml:"impi"`
	IMPUs        []scalar          `yaml:"impus"`
	Barred       []scalar          `yaml:"barred"`
	DisplayNames map[string]scalar `yaml:"display_names"`
	K            scalar            `yaml:"k"`
	OPc          scalar            `yaml:"opc"`
	OP           scalar            `yaml:"op"`
	AMF          scalar            `yaml:"amf"`
	Algorithm    scalar            `yaml:"algorithm"`
	TUAK         TUAK              `yaml:"tuak"`
	SQN          scalar            `yaml:"sqn"`
	RAND         []scalar          `yaml:"rand"`
	IFC          []scalar          `yaml:"ifc"`
	Priorities   []scalar          `yaml:"priorities"`
	Charging     Charging          `yaml:"charging"`
	Roaming      []scalar          `yaml:"roaming"`
	Capabilities Capabilities      `yaml:"capabilities"`
}

// UnmarshalYAML reads a subscriber, with the keys of the public contract.
func (s *Subscriber) UnmarshalYAML(decode func(any) error) error {
	var y subscriberYAML
	if err := decode(&y); err != nil {
		return err
	}
	*s = Subscriber{
		IMPI: y.IMPI.text, IMPUs: texts(y.IMPUs), Barred: texts(y.Barred),
		K: Key(y.K.text), OPc: Key(y.OPc.text), OP: Key(y.OP.text), AMF: y.AMF.text,
		Algorithm: y.Algorithm.text, TUAK: y.TUAK, SQN: y.SQN.text, RAND: texts(y.RAND),
		IFC: texts(y.IFC), Priorities: texts(y.Priorities), Charging: y.Charging, Roaming: texts(y.Roaming), Capabilities: y.Capabilities,
		line: y.IMPI.line,
	}
	for impu, name := range y.DisplayNames {
		if s.DisplayNames == nil {
			s.DisplayNames = make(map[string]string)
		}
		s.DisplayNames[impu] = name.text
	}
	return nil
}

// scalar is a value as it stands in the file. YAML would read an AMF of 0010 as
// the number 8 and an SQN of 000000000021 as 17.
type scalar struct {
	text string
	line int
}

// UnmarshalYAML takes the text of a scalar of any type.
func (s *scalar) UnmarshalYAML(n ast.Node) error {
	if tag, ok := n.(*ast.TagNode); ok {
		n = tag.Value
	}
	s.line = n.GetToken().Position.Line
	switch n := n.(type) {
	case *ast.StringNode:
		s.text = n.Value
	case *ast.LiteralNode:
		s.text = n.Value.Value
	case *ast.NullNode:
	case ast.ScalarNode:
		s.text = n.GetToken().Value
	default:
		return fmt.Errorf("[%d:%d] want a single value, not a %s", s.line, n.GetToken().Position.Column, n.Type())
	}
	return nil
}

func texts(list []scalar) []string {
	var out []string
	for _, s := range list {
		out = append(out, s.text)
	}
	return out
}

// Subscribers is the name of a file, or the list itself.
type Subscribers struct {
	File string
	List []Subscriber
}

// UnmarshalYAML accepts both.
func (s *Subscribers) UnmarshalYAML(decode func(any) error) error {
	if decode(&s.File) == nil {
		return nil
	}
	return hideKeys(decode(&s.List))
}

// maxSubscribers bounds a file of subscribers, in octets.
const maxSubscribers = 64 << 20

// read returns the list; file names in it are relative to the file they stand in.
func (s *Subscribers) read(dir string) ([]Subscriber, error) {
	if s.File == "" {
		list := make([]Subscriber, len(s.List))
		for i, sub := range s.List {
			if list[i] = sub; sub.dir == "" {
				list[i].dir = dir
			}
		}
		return list, nil
	}
	path := inDir(dir, s.File)
	b, err := readBounded(path, maxSubscribers)
	if err != nil {
		return nil, fmt.Errorf("subscribers: %w", err)
	}
	var file struct {
		Subscribers []Subscriber `yaml:"subscribers"`
	}
	err = yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField()).Decode(&file)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("subscribers: %s: %w", path, hideKeys(err))
	}
	for i := range file.Subscribers {
		file.Subscribers[i].dir = filepath.Dir(path)
	}
	return file.Subscribers, nil
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d octets", path, limit)
	}
	return b, err
}

// longHex is what may be a key, misplaced into the name of a field or an alias.
var longHex = regexp.MustCompile(`[0-9A-Fa-f]{12,}`)

// hideKeys makes an error of the YAML reader fit to be shown: [line:column] and
// what is wrong, without the lines around it and without anything like a key.
func hideKeys(err error) error {
	if err == nil {
		return nil
	}
	text := strings.TrimRight(yaml.FormatError(err, false, false), "\n")
	return errors.New(longHex.ReplaceAllString(text, "(hidden)"))
}
