// Package kamailio runs Kamailio as P-CSCF, I-CSCF or S-CSCF for tests: another
// implementation of TS 24.229 5.2 to 5.4 to find misunderstandings with. It needs
// the build tag integration and the packages of .ci/packages; README.md tells
// what that Kamailio does and what not.
package kamailio
