package conformance

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the claims into docs/conformance.md and the floors into .golangci.yml")

// root is the module's directory, seen from this package's.
var root = filepath.Join("..", "..")

// rowsOf pins the list: how many rows each prefix has, numbered from 01 without a gap.
var rowsOf = map[string]int{
	"TR": 22, "PR": 38, "IP": 24, "PD": 6, "PO": 17, "PT": 11, "PE": 4, "IC": 20, "SA": 22, "SR": 22, "RE": 10, "TP": 8, "SO": 17,
	"ST": 14, "IF": 26, "CX": 34, "AK": 12, "RS": 10, "SM": 7, "RX": 8, "MM": 13, "UE": 16, "HD": 11, "OB": 5,
}

const allRows = 377

func TestTableAgreesWithTests(t *testing.T) {
	name := filepath.Join(root, "docs", "conformance.md")
	doc, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	found, faults, err := claims(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	rows, bad := readTable(string(doc))
	if *update {
		lines := strings.Split(string(doc), "\n")
		for i, r := range rows {
			var mine []claim
			for _, c := range found {
				if c.id == r.id {
					mine = append(mine, c)
				}
			}
			rows[i] = r.claimed(mine)
			lines[r.line] = rows[i].String()
		}
		if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range append(append(faults, bad...), check(rows, found)...) {
		t.Error(f)
	}
	for _, f := range checkList(ids(rows)) {
		t.Error("docs/conformance.md: " + f)
	}
}

// The checklist beside the table describes the same rows in the same order.
func TestTableFollowsChecklist(t *testing.T) {
	var lists [2][]string
	for i, name := range []string{"conformance.md", "behaviours.md"} {
		doc, err := os.ReadFile(filepath.Join(root, "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		lists[i] = regexp.MustCompile(`(?m)^(?:## \d+ .*|\| [A-Z]{2}-\d\d )`).FindAllString(string(doc), -1)
	}
	if diff := cmp.Diff(lists[1], lists[0]); diff != "" {
		t.Errorf("docs/behaviours.md (-) and docs/conformance.md (+) differ:\n%s", diff)
	}
}

func TestCheckFinds(t *testing.T) {
	const (
		head  = "package x\nimport \"testing\"\nimport \"" + own + "\"\n"
		built = "| TR-01 | shown | TestA (a/b) |\n"
		todo  = "| TR-01 | not built | later |\n"
	)
	tests := []struct {
		name, table, source, want string
	}{
		{"nothing amiss", built, head + `func TestA(t *testing.T) { conformance.Shows(t, "TR-01") }`, ""},
		{"a call inside a subtest", built, head + `func TestA(t *testing.T) { t.Run("", func(t *testing.T) { conformance.Shows(t, "TR-01") }) }`, ""},
		{"a renamed import", built, "package x\nimport \"testing\"\nimport c \"" + own + "\"\n" + `func TestA(t *testing.T) { c.Shows(t, "TR-01") }`, ""},
		{"a call behind a build tag", built, "//go:build integration\n\n" + head + `func TestA(t *testing.T) { conformance.Shows(t, "TR-01") }`, ""},
		{"a part, with what is missing", "| TR-01 | partly | TestA (a/b) – folded lines |\n", head + `func TestA(t *testing.T) { conformance.Partly(t, "TR-01") }`, ""},
		{"a part, without", "| TR-01 | partly | TestA (a/b) – |\n", head + `func TestA(t *testing.T) { conformance.Partly(t, "TR-01") }`, "write what is missing"},
		{"a row without a call", built, head, "run make conformance"},
		{"a call without a row that says so", todo, head + `func TestA(t *testing.T) { conformance.Shows(t, "TR-01") }`, "run make conformance"},
		{"another test than the row names", built, head + `func TestB(t *testing.T) { conformance.Shows(t, "TR-01") }`, "run make conformance"},
		{"a part claimed as the whole", built, head + `func TestA(t *testing.T) { conformance.Partly(t, "TR-01") }`, "run make conformance"},
		{"in full by one test, in part by another", "| TR-01 | shown | TestA (a/b), TestB (a/b) |\n", head + `func TestA(t *testing.T) { conformance.Shows(t, "TR-01") }
func TestB(t *testing.T) { conformance.Partly(t, "TR-01") }`, ""},
		{"an unknown ID", todo, head + `func TestA(t *testing.T) { conformance.Shows(t, "TR-99") }`, "not an ID of the table"},
		{"an ID that is not a literal", todo, head + `func TestA(t *testing.T) { id := "TR-01"; conformance.Shows(t, id) }`, "not a string literal"},
		{"IDs from a slice", todo, head + `func TestA(t *testing.T) { conformance.Shows(t, ids...) }`, "not a string literal"},
		{"a call in a helper", todo, head + `func helper(t *testing.T) { conformance.Shows(t, "TR-01") }`, "in a Test or Fuzz function"},
		{"two rows of one ID", todo + todo, head, "two rows"},
		{"an unknown status", "| TR-01 | done | TestA (a/b) |\n", head, "not a row of the form"},
		{"a row without a reason", "| TR-01 | not built |  |\n", head, "not a row of the form"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, faults, err := claims(fstest.MapFS{"a/b/x_test.go": {Data: []byte(tt.source)}})
			if err != nil {
				t.Fatal(err)
			}
			rows, bad := readTable(tt.table)
			got := strings.Join(append(append(faults, bad...), check(rows, found)...), "\n")
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want a fault with %q", got, tt.want)
			}
		})
	}
}

func TestListFinds(t *testing.T) {
	var all []string
	for prefix, n := range rowsOf {
		for i := range n {
			all = append(all, id(prefix, i+1))
		}
	}
	if faults := checkList(all); len(faults) > 0 {
		t.Errorf("the whole list is found amiss: %v", faults)
	}
	for name, list := range map[string][]string{
		"a missing row":     all[1:],
		"a row too much":    append([]string{"TR-23"}, all...),
		"an unknown prefix": append([]string{"ZZ-01"}, all[1:]...),
	} {
		if len(checkList(list)) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
}

func TestUpdateKeepsWhatIsWrittenByHand(t *testing.T) {
	full := []claim{{id: "TR-01", test: "TestB (b)"}, {id: "TR-01", test: "TestA (a)"}, {id: "TR-01", test: "TestA (a)"}}
	part := []claim{{id: "TR-01", test: "TestA (a)", partly: true}}
	tests := []struct {
		name, was string
		claims    []claim
		want      string
	}{
		{"a reason stays", "| TR-01 | not built | later: DNS |", nil, "| TR-01 | not built | later: DNS |"},
		{"tests are listed once, in order", "| TR-01 | not built | later |", full, "| TR-01 | shown | TestA (a), TestB (b) |"},
		{"what is missing stays", "| TR-01 | partly | TestC (c) – folding – of lines |", part, "| TR-01 | partly | TestA (a) – folding – of lines |"},
		{"a reason is not what is missing", "| TR-01 | not built | later – much |", part, "| TR-01 | partly | TestA (a) – |"},
		{"a test that went takes its claim along", "| TR-01 | shown | TestA (a) |", nil, "| TR-01 | not built | no test shows it any more |"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows, faults := readTable(tt.was)
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			if got := rows[0].claimed(tt.claims).String(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
