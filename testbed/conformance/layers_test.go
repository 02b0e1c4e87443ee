package conformance

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// importFaults holds every import in fsys against the house.
func importFaults(fsys fs.FS) (faults []string, err error) {
	err = goFiles(fsys, func(name string) error {
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			pkg, _ := strconv.Unquote(spec.Path.Value)
			if f := importFault(name, pkg); f != "" {
				faults = append(faults, f)
			}
		}
		return nil
	})
	return faults, err
}

func TestImportsPointDown(t *testing.T) {
	faults, err := importFaults(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Error(f)
	}
}

func TestHouseJudgesImports(t *testing.T) {
	tests := []struct {
		file, pkg string
		ok        bool
	}{
		{"aka/a.go", "crypto/aes", true},
		{"aka/a.go", module + "/aka/internal/x", true},
		{"aka/a.go", module + "/ims/uri", false},
		{"diameter/cx/a.go", module + "/diameter", true},
		{"diameter/cx/a.go", module + "/ims/identity", false},
		{"ipsec/esp/netstack/a.go", module + "/ipsec/esp", true},
		{"ipsec/a.go", module + "/ims/sip", false},
		{"ims/sip/a.go", module + "/ims/uri", true},
		{"ims/sip/a.go", module + "/ims/sip/transaction", false},
		{"ims/sip/a.go", module + "/ims/profile", false},
		{"ims/sip/a.go", module + "/ims/trace", false},
		{"ims/sip/transaction/a.go", module + "/ims/sip", true},
		{"ims/sip/transaction/a_test.go", module + "/ims/sip/transport", false},
		{"ims/sip/transport/a.go", module + "/ipsec", false},
		{"ims/sip/proxy/a.go", module + "/ims/sip/transport", true},
		{"ims/sip/proxy/a.go", module + "/ims/sip/dialog", false},
		{"ims/sip/dialog/a.go", module + "/ims/sip/proxy", true},
		{"ims/uri/a.go", module + "/ims/identity", false},
		{"ims/ifc/a.go", module + "/ims/profile", true},
		{"ims/ifc/a.go", module + "/ims/registrar", false},
		{"ims/registrar/a.go", module + "/ims/registrar/postgres", false},
		{"ims/registrar/postgres/a.go", module + "/ims/registrar", true},
		{"ims/pcscf/a.go", module + "/ims/node", true},
		{"ims/pcscf/a.go", module + "/ims/scscf", false},
		{"cmd/pcscf/main.go", module + "/ims/pcscf", true},
		{"cmd/pcscf/main.go", module + "/ims/scscf", false},
		{"testbed/main.go", module + "/testbed/lab", true},
		{"testbed/main.go", module + "/ims/scscf", false},
		{"testbed/lab/a.go", module + "/ims/scscf", true},
		{"testbed/hss/a.go", module + "/diameter/cx", true},
		{"testbed/hss/a.go", module + "/ims/scscf", false},
		{"testbed/hss/a.go", module + "/testbed/ue", false},
		{"testbed/load/a.go", module + "/testbed/ue", true},
		{"aka/a_test.go", module + "/testbed/conformance", true},
		{"aka/a.go", module + "/testbed/conformance", false},
		{"util/a.go", module + "/ims/uri", false},
		{"aka/a_test.go", "pgregory.net/rapid", true},
		{"aka/a.go", "pgregory.net/rapid", false},
		{"testbed/as/a.go", "github.com/emiago/sipgo/sip", true},
		{"ims/sip/a_test.go", "github.com/emiago/sipgo/sip", true},
		{"ims/sip/a.go", "github.com/emiago/sipgo/sip", false},
		{"ipsec/esp/a.go", "gvisor.dev/gvisor/pkg/tcpip", false},
		{"ipsec/esp/netstack/a.go", "gvisor.dev/gvisor/pkg/tcpip", true},
	}
	for _, tt := range tests {
		faults, err := importFaults(fstest.MapFS{tt.file: {Data: []byte("package x\nimport _ " + strconv.Quote(tt.pkg))}})
		if err != nil {
			t.Fatal(err)
		}
		if ok := len(faults) == 0; ok != tt.ok {
			t.Errorf("%s imports %s: allowed is %t, want %t %v", tt.file, tt.pkg, ok, tt.ok, faults)
		}
	}
}

// The linter says the same to an editor as TestImportsPointDown to go test.
func TestLinterKnowsTheHouse(t *testing.T) {
	const begin, end = "        # The house: written by make conformance.\n", "        # End of the house.\n"
	name := filepath.Join(root, ".golangci.yml")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(data), begin)
	have, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has lost the lines %q and %q, between which the rules of depguard stand", name, begin, end)
	}
	want := depguard()
	if *update {
		if err := os.WriteFile(name, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != want {
		t.Errorf("the depguard rules in .golangci.yml differ from the house; run make conformance")
	}
}

// depguard writes the house as rules of that linter: in each room our module is
// denied but for the rooms that are allowed. The longest prefix decides.
func depguard() string {
	var b strings.Builder
	rule := func(name string, files, deny []string, desc string, allow []string) {
		fmt.Fprintf(&b, "        %s:\n          list-mode: lax\n          files:\n", strings.ReplaceAll(name, "/", "-"))
		for _, f := range files {
			fmt.Fprintf(&b, "            - %q\n", f)
		}
		b.WriteString("          deny:\n")
		for _, d := range deny {
			fmt.Fprintf(&b, "            - pkg: %s\n              desc: %s\n", d, desc)
		}
		if len(allow) > 0 {
			b.WriteString("          allow:\n")
		}
		for _, a := range allow {
			fmt.Fprintf(&b, "            - %s\n", a)
		}
	}
	nested := func(tree string) (names []string) {
		for _, r := range rooms() {
			if r.name != tree && within(r.name, tree) {
				names = append(names, r.name)
			}
		}
		return names
	}
	for _, r := range rooms() {
		files := []string{"**/" + r.name + "/**"}
		for _, n := range nested(r.name) {
			files = append(files, "!**/"+n+"/**")
		}
		allowed := r.allowed()
		deny, allow := []string{module}, []string{own}
		for _, a := range allowed {
			for _, n := range nested(a) {
				if !slices.Contains(allowed, n) && n != "testbed/conformance" {
					deny = append(deny, module+"/"+n)
				}
			}
			inside := func(o string) bool { return o != a && within(a, o) }
			if a != "testbed/conformance" && !slices.ContainsFunc(allowed, inside) {
				allow = append(allow, module+"/"+a)
			}
		}
		rule(r.name, files, compact(deny), "does not stand below "+r.name+"; see the house in AGENTS.md", compact(allow))
	}
	rule("conformance", []string{"$all", "!$test"}, []string{own}, "for tests", nil)
	for _, f := range fences {
		files := []string{"$all"}
		if f.tests {
			files = append(files, "!$test")
		}
		for _, d := range f.in {
			files = append(files, "!**/"+d+"/**")
		}
		rule(f.pkg[strings.LastIndexByte(f.pkg, '/')+1:], files, []string{f.pkg}, "for "+f.where(), nil)
	}
	return b.String()
}

func compact(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
