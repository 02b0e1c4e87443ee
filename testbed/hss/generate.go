package hss

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/gocscf/gocscf/ims/identity"
)

// Generated are many subscribers made by a rule, for `testbed load`: that number i has
// the IMSI First+i, the private identity IMSI@domain and the public ones
// sip:IMSI@domain and tel:+(MSISDN+i). All have the same key and services.
type Generated struct {
	// First is the IMSI of the first, 15 digits.
	First string
	// Count is how many there are.
	Count int
	// MSISDN is the number of the first without +. Default 15550000000.
	MSISDN string

	// K, OPc, OP, AMF, Algorithm, IFC and Priorities are those of a Subscriber.
	K          Key
	OPc, OP    Key
	AMF        string
	Algorithm  string
	IFC        []string
	Priorities []string
}

// UnmarshalYAML reads the keys first, count, msisdn, k, opc, op, amf, algorithm, ifc, priorities.
func (g *Generated) UnmarshalYAML(decode func(any) error) error {
	var y struct {
		First      scalar   `yaml:"first"`
		Count      int      `yaml:"count"`
		MSISDN     scalar   `yaml:"msisdn"`
		K          scalar   `yaml:"k"`
		OPc        scalar   `yaml:"opc"`
		OP         scalar   `yaml:"op"`
		AMF        scalar   `yaml:"amf"`
		Algorithm  scalar   `yaml:"algorithm"`
		IFC        []scalar `yaml:"ifc"`
		Priorities []scalar `yaml:"priorities"`
	}
	if err := hideKeys(decode(&y)); err != nil {
		return err
	}
	*g = Generated{
		First: y.First.text, Count: y.Count, MSISDN: y.MSISDN.text, K: Key(y.K.text), OPc: Key(y.OPc.text), OP: Key(y.OP.text),
		AMF: y.AMF.text, Algorithm: y.Algorithm.text, IFC: texts(y.IFC), Priorities: texts(y.Priorities),
	}
	return nil
}

// maxGenerated bounds the subscribers of one rule: each takes about 1 KiB.
const maxGenerated = 2_000_000

// generate adds the subscribers of a rule.
func (d *database) generate(c *Config, g *Generated, cache criteriaCache) error {
	first, err := strconv.ParseUint(g.First, 10, 64)
	if err != nil || len(g.First) != 15 {
		return errors.New("first: want the 15 digits of an IMSI")
	}
	msisdn := uint64(15550000000)
	if g.MSISDN != "" {
		if msisdn, err = strconv.ParseUint(g.MSISDN, 10, 64); err != nil || msisdn == 0 || len(g.MSISDN) > 15 {
			return fmt.Errorf("msisdn is %q: want at most 15 digits", g.MSISDN)
		}
	}
	if g.Count < 1 || g.Count > maxGenerated || first+uint64(g.Count) > 1e15 || msisdn+uint64(g.Count) > 1e15 {
		return fmt.Errorf("count is %d: want 1 to %d, and numbers for all of them", g.Count, maxGenerated)
	}
	var model *user
	for i := range uint64(g.Count) {
		imsi := fmt.Sprintf("%015d", first+i)
		s := Subscriber{
			IMPI: imsi + "@" + c.Domain, IMPUs: []string{"sip:" + imsi + "@" + c.Domain, "tel:+" + strconv.FormatUint(msisdn+i, 10)},
			K: g.K, OPc: g.OPc, OP: g.OP, AMF: g.AMF, Algorithm: g.Algorithm, IFC: g.IFC, Priorities: g.Priorities, dir: c.Dir,
		}
		var u *user
		if model == nil {
			// The first is checked like one that was written down; the others differ from
			// it in digits alone, and share what does not change.
			if u, err = c.newUser(&s, cache); err != nil {
				return err
			}
			u.criteria = cache.read(&s, func(string, ...any) {}) // read without a fault before
			m := *u
			model = &m
		} else {
			copied := *model
			u = &copied
			u.impi, u.impus, u.data = identity.IMPI(s.IMPI), []identity.IMPU{identity.IMPU(s.IMPUs[0]), identity.IMPU(s.IMPUs[1])}, nil
		}
		if d.users[u.impi] != nil {
			return fmt.Errorf("%s is another subscriber's too", u.impi)
		}
		d.add(u)
	}
	return nil
}
