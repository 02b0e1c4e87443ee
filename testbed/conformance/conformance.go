// Package conformance ties tests to the rows of docs/conformance.md.
//
// A test that shows a behaviour says so by calling Shows with the row's ID, or
// Partly where it shows only some of the row. A test of this package reads every
// such call in the tree and holds it against the table, so that nothing is
// claimed without a test and no test goes unlisted. A second one holds the
// imports of the tree against the floors of the house.
package conformance

import "testing"

// Shows records that the calling test demonstrates the behaviours with the
// given IDs (for example "TR-01") in full. The IDs must be string literals:
// the check reads them from the source.
func Shows(t testing.TB, ids ...string) {
	t.Helper()
	for _, id := range ids {
		t.Logf("shows %s", id)
	}
}

// Partly records that the calling test demonstrates some of each behaviour. The
// row in docs/conformance.md says, by hand, what is still missing, unless another
// test shows it in full.
func Partly(t testing.TB, ids ...string) {
	t.Helper()
	for _, id := range ids {
		t.Logf("shows a part of %s", id)
	}
}
