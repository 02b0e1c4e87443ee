// Package interop holds the tests of our P-CSCF, I-CSCF, S-CSCF, HSS and phones
// among functions that others have written. It has no code of its own beyond
// that, and its tests have the build tag integration.
package interop
