package conformance

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// fuzzBook is where .ci/fuzz adds up how long each target has run.
const fuzzBook = "docs/performance/fuzz.md"

var (
	fuzzTarget = regexp.MustCompile(`(?m)^func (Fuzz[A-Za-z0-9_]*)\([a-z]* \*testing\.F\)`)
	fuzzRow    = regexp.MustCompile(`(?m)^\| (Fuzz\w+) \| (\S+) \| (\d+) \| (\d+) \|`)
)

// TestFuzzTargets: each fuzz target has inputs that are committed beside it, and a row of
// the book that says how long it has run; nothing in the book has no target any more.
func TestFuzzTargets(t *testing.T) {
	faults, targets, err := fuzzFaults(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if targets == 0 {
		t.Error("no fuzz target was found")
	}
	for _, f := range faults {
		t.Error(f)
	}
}

// fuzzFaults compares the targets of a module with their inputs and with the book.
func fuzzFaults(fsys fs.FS) (faults []string, targets int, err error) {
	book, err := fs.ReadFile(fsys, fuzzBook)
	if err != nil {
		return nil, 0, err
	}
	booked := map[string]bool{}
	for _, row := range fuzzRow.FindAllStringSubmatch(string(book), -1) {
		booked[row[2]+" "+row[1]] = row[3] != "0" && row[4] != "0"
	}
	err = goFiles(fsys, func(name string) error {
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		for _, m := range fuzzTarget.FindAllStringSubmatch(string(src), -1) {
			targets++
			key := path.Dir(name) + " " + m[1]
			corpus := path.Join(path.Dir(name), "testdata/fuzz", m[1])
			if files, _ := fs.ReadDir(fsys, corpus); len(files) == 0 {
				faults = append(faults, fmt.Sprintf("%s has no inputs: commit some in %s", key, corpus))
			}
			if ran, there := booked[key]; !there || !ran {
				faults = append(faults, fmt.Sprintf("%s has not run by %s: `make fuzz-log FUZZ='%s.%s$'`", key, fuzzBook, path.Dir(name), m[1]))
			}
			delete(booked, key)
		}
		return nil
	})
	for key := range booked {
		faults = append(faults, fmt.Sprintf("%s has a row for %s, which there is not", fuzzBook, key))
	}
	slices.Sort(faults)
	return faults, targets, err
}

// TestFuzzFaults shows that the check can fail.
func TestFuzzFaults(t *testing.T) {
	const target = "package x\n\nfunc FuzzIt(f *testing.F) {}\n"
	const row = "| target | package | executions | seconds |\n| --- | --- | --- | --- |\n| FuzzIt | x | 5 | 1 | 0 | – |\n"
	for _, tt := range []struct {
		name, book, want string
		inputs           bool
	}{
		{"in order", row, "", true},
		{"no inputs", row, "x FuzzIt has no inputs", false},
		{"no row", strings.ReplaceAll(row, "FuzzIt | x", "FuzzIt | y"), "x FuzzIt has not run", true},
		{"a run of nothing", strings.ReplaceAll(row, "| 5 |", "| 0 |"), "x FuzzIt has not run", true},
		{"a row of nothing", row + "| FuzzThat | x | 5 | 1 | 0 | – |\n", "a row for x FuzzThat", true},
	} {
		fsys := fstest.MapFS{"x/it_test.go": {Data: []byte(target)}, fuzzBook: {Data: []byte(tt.book)}}
		if tt.inputs {
			fsys["x/testdata/fuzz/FuzzIt/a"] = &fstest.MapFile{}
		}
		faults, targets, err := fuzzFaults(fsys)
		if err != nil || targets != 1 {
			t.Errorf("%s: %d targets, %v", tt.name, targets, err)
		}
		if all := strings.Join(faults, "\n"); (all == "") != (tt.want == "") || !strings.Contains(all, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, faults, tt.want)
		}
	}
}
