package conformance

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The words of the status column.
const (
	shown    = "shown"
	partly   = "partly"
	notBuilt = "not built"
)

// lacks parts the tests of a partly shown row from what they leave out.
const lacks = " – "

// row is one line of docs/conformance.md.
type row struct {
	id, status, text string
	line             int // index into the lines of the document
}

var (
	rowForm = regexp.MustCompile(`^\| ([A-Z]{2}-[0-9]{2}) \| (shown|partly|not built) \| (.*\S) \|$`)
	rowLike = regexp.MustCompile(`^\s*\|\s*[A-Za-z]{2}-[0-9]+`)
)

// readTable finds the rows of the document. A line that looks like a row and is not
// one is a fault, because a reader's script would pass over it.
func readTable(doc string) (rows []row, faults []string) {
	for i, line := range strings.Split(doc, "\n") {
		if m := rowForm.FindStringSubmatch(line); m != nil {
			rows = append(rows, row{m[1], m[2], m[3], i})
		} else if rowLike.MatchString(line) {
			faults = append(faults, fmt.Sprintf("line %d is not a row of the form | ID | shown / partly / not built | test, or why |: %s", i+1, line))
		}
	}
	return rows, faults
}

func (r row) String() string { return fmt.Sprintf("| %s | %s | %s |", r.id, r.status, r.text) }

// claimed is the row as the claims for its ID would have it. What was written by
// hand stays: the reason of a row not built, and what a partly shown row lacks.
func (r row) claimed(cs []claim) row {
	tests := make([]string, 0, len(cs))
	full := false
	for _, c := range cs {
		tests = append(tests, c.test)
		full = full || !c.partly
	}
	list := strings.Join(slices.Compact(slices.Sorted(slices.Values(tests))), ", ")
	switch {
	case full:
		r.status, r.text = shown, list
	case len(cs) > 0:
		_, rest, _ := strings.Cut(r.text, lacks)
		if r.status != partly {
			rest = ""
		}
		r.status, r.text = partly, strings.TrimRight(list+lacks+rest, " ")
	case r.status != notBuilt:
		r.status, r.text = notBuilt, "no test shows it any more"
	}
	return r
}

// check compares the rows with the claims and says what to mend.
func check(rows []row, cs []claim) (faults []string) {
	byID := make(map[string][]claim)
	for _, c := range cs {
		byID[c.id] = append(byID[c.id], c)
	}
	seen := make(map[string]bool)
	for _, r := range rows {
		if seen[r.id] {
			faults = append(faults, fmt.Sprintf("%s has two rows", r.id))
			continue
		}
		seen[r.id] = true
		claims := byID[r.id]
		delete(byID, r.id)
		if want := r.claimed(claims); want != r {
			faults = append(faults, fmt.Sprintf("%s: the table says %q, the tests say %q; run make conformance", r.id, r, want))
		}
		if r.status == partly && strings.HasSuffix(r.text, strings.TrimRight(lacks, " ")) {
			faults = append(faults, fmt.Sprintf("%s is partly shown: write what is missing after the dash", r.id))
		}
	}
	for _, c := range cs {
		if _, unknown := byID[c.id]; unknown {
			faults = append(faults, fmt.Sprintf("%s: %q is not an ID of the table", c.pos, c.id))
		}
	}
	return faults
}

func ids(rows []row) (list []string) {
	for _, r := range rows {
		list = append(list, r.id)
	}
	return list
}

func id(prefix string, n int) string { return fmt.Sprintf("%s-%02d", prefix, n) }

// checkList holds a list of IDs against the numbers that rowsOf pins.
func checkList(list []string) (faults []string) {
	if len(list) != allRows {
		faults = append(faults, fmt.Sprintf("%d rows, want %d", len(list), allRows))
	}
	have := make(map[string]bool)
	for _, s := range list {
		have[s] = true
	}
	for prefix, n := range rowsOf {
		for i := range n {
			if want := id(prefix, i+1); !have[want] {
				faults = append(faults, want+" has no row")
			}
			delete(have, id(prefix, i+1))
		}
	}
	for s := range have {
		faults = append(faults, s+" is not in the list that rowsOf pins")
	}
	return faults
}
