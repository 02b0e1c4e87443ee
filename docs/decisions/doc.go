// Package decisions keeps the project's decisions honest. Each document beside
// it says what was decided and which measured fact the decision rests on; a test
// here shows that fact in the pinned release of the library concerned. When a
// release mends it the test fails, and the decision is looked at again.
package decisions
