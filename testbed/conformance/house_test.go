package conformance

import (
	"path"
	"slices"
	"strings"
)

// room is a package and its subpackages, except those that have a room of their own.
type room struct {
	name   string
	beside []string // rooms of the same floor that it may import
	not    []string // rooms of lower floors that it may not
}

var (
	functions = []string{"ims/pcscf", "ims/icscf", "ims/scscf"}
	engine    = []string{"ims/sip/transaction", "ims/sip/transport", "ims/sip/admission", "ims/sip"}
)

// house is the order of the packages. A package imports lower floors, its own room,
// and what its row names; .golangci.yml says the same to depguard and is written
// from here.
var house = [][]room{
	{ // What is run. cmd starts its own function; of the testbed, only lab, interop and bench start functions.
		{name: "cmd/pcscf", not: []string{"ims/icscf", "ims/scscf"}},
		{name: "cmd/icscf", not: []string{"ims/pcscf", "ims/scscf"}},
		{name: "cmd/scscf", not: []string{"ims/pcscf", "ims/icscf"}},
		{name: "testbed", beside: []string{"testbed/attack", "testbed/chaos", "testbed/lab", "testbed/ladder", "testbed/load", "testbed/hss", "testbed/ue", "testbed/as", "testbed/pcrf"}, not: functions},
		{name: "testbed/lab", beside: []string{"testbed/ladder", "testbed/load", "testbed/hss", "testbed/ue", "testbed/as", "testbed/pcrf"}},
		{name: "testbed/interop", beside: []string{"testbed/lab", "testbed/ladder", "testbed/hss", "testbed/ue", "testbed/as"}},
		{name: "testbed/attack", beside: []string{"testbed/lab", "testbed/hss", "testbed/ue", "testbed/as"}, not: functions},
		{name: "testbed/chaos", beside: []string{"testbed/lab", "testbed/load", "testbed/hss", "testbed/ue"}, not: functions},
		{name: "testbed/bench", beside: []string{"testbed/hss"}}, // all tests
		{name: "testbed/ladder", not: functions},
		{name: "testbed/load", beside: []string{"testbed/ue"}, not: functions},
		{name: "testbed/hss", not: functions},
		{name: "testbed/ue", not: functions},
		{name: "testbed/as", not: functions},
		{name: "testbed/pcrf", not: functions},
	},
	{ // The three functions.
		{name: "ims/pcscf"},
		{name: "ims/icscf"},
		{name: "ims/scscf"},
	},
	{
		{name: "ims/ifc"},
		{name: "ims/registrar"},
		{name: "ims/registrar/postgres", beside: []string{"ims/registrar"}},
		{name: "ims/node"},
	},
	{ // The SIP engine tells what happens through observers of its own, never through ims/trace.
		{name: "ims/sip", not: []string{"ims/trace"}},
		{name: "ims/sip/admission", not: []string{"ims/trace"}},
		{name: "ims/sip/transaction", beside: []string{"ims/sip", "ims/sip/admission"}, not: []string{"ims/trace"}},
		{name: "ims/sip/transport", beside: []string{"ims/sip"}, not: []string{"ims/trace", "ipsec"}},
		{name: "ims/sip/proxy", beside: engine, not: []string{"ims/trace"}},
		{name: "ims/sip/dialog", beside: engine, not: []string{"ims/trace"}},
		{name: "ims/profile"},
		{name: "ims/reginfo"},
	},
	{ // The ground.
		{name: "aka"},
		{name: "diameter"},
		{name: "ipsec"},
		{name: "ims/uri"},
		{name: "ims/identity"},
		{name: "ims/trace"},
	},
}

// granted are the arrows within a floor that the design does not draw, each with
// its reason. A line that goes makes the design the whole truth again.
var granted = map[string][]string{
	"ims/identity":   {"ims/uri"},       // an IMPU is a URI
	"ims/sip/dialog": {"ims/sip/proxy"}, // what we originate leaves by the same sockets and resolver
}

// garden stands beside the house: it imports nothing of ours and nothing imports
// it, but that every test may import this package.
var garden = []room{{name: "docs/decisions"}, {name: "testbed/conformance"}}

// fence is a package of others that only some of ours may import.
type fence struct {
	pkg   string
	in    []string // directories, with all below them
	tests bool     // and any _test.go file
}

var fences = []fence{
	{pkg: "pgregory.net/rapid", tests: true},
	{pkg: "github.com/wmnsk/milenage", tests: true},
	{pkg: "github.com/chromedp/chromedp", tests: true},
	{pkg: "github.com/emiago/sipgo", in: []string{"testbed/as"}, tests: true},
	{pkg: "github.com/alecthomas/kong", in: []string{"testbed"}},
	{pkg: "github.com/jackc/pgx", in: []string{"ims/registrar/postgres"}, tests: true},
	{pkg: "github.com/vishvananda/netlink", in: []string{"ipsec/xfrm"}},
	{pkg: "gvisor.dev/gvisor", in: []string{"ipsec/esp/netstack"}},
}

// rooms lists every room, house and garden.
func rooms() []room { return slices.Concat(append(slices.Clone(house), garden)...) }

// roomOf is the room in which directory dir of the module lies, "" for none.
func roomOf(dir string) string {
	best := ""
	for _, r := range rooms() {
		if within(dir, r.name) && len(r.name) > len(best) {
			best = r.name
		}
	}
	return best
}

// within reports whether dir is tree or lies below it.
func within(dir, tree string) bool { return dir == tree || strings.HasPrefix(dir, tree+"/") }

// allowed lists the rooms that files of room r may import, its own among them.
func (r room) allowed() []string {
	list := slices.Concat([]string{r.name}, r.beside, granted[r.name])
	for i, floor := range house {
		if !slices.ContainsFunc(floor, func(o room) bool { return o.name == r.name }) {
			continue
		}
		for _, below := range slices.Concat(house[i+1:]...) {
			if !slices.Contains(r.not, below.name) {
				list = append(list, below.name)
			}
		}
	}
	return list
}

// importFault says what is wrong with file importing pkg, "" when nothing is.
func importFault(file, pkg string) string {
	test := strings.HasSuffix(file, "_test.go")
	for _, f := range fences {
		free := f.tests && test || slices.ContainsFunc(f.in, func(d string) bool { return within(path.Dir(file), d) })
		if within(pkg, f.pkg) && !free {
			return file + " imports " + pkg + ", which is for " + f.where()
		}
	}
	if !within(pkg, module) {
		return ""
	}
	from, to := roomOf(path.Dir(file)), roomOf(strings.TrimPrefix(pkg, module+"/"))
	if to == "testbed/conformance" && test {
		return ""
	}
	for _, r := range rooms() {
		if r.name == from && slices.Contains(r.allowed(), to) {
			return ""
		}
	}
	if from == "" {
		return file + " lies in no room of the house; give it one in testbed/conformance/house_test.go"
	}
	return file + " imports " + pkg + ", which does not stand below it; see the house in AGENTS.md"
}

func (f fence) where() string {
	places := slices.Clone(f.in)
	if f.tests {
		places = append(places, "tests")
	}
	return strings.Join(places, ", ")
}
