// Package chaos breaks a running IMS core on purpose, one fault at a time, and counts
// what that costs its users.
//
// HSS, I-, S- and P-CSCF run as processes, as users run them, under a steady mixed
// load of package load. Each fault has a window: it comes, it goes, and the window ends
// when all phones are registered again and for a while nothing has failed. An attempt
// belongs to the window in which it was due (ETSI TS 186 008-1 clause 4: what the
// core does with a load that does not wait for it). Counted are attempts and failures
// by cause, registered phones that the core has forgotten, established calls that
// could not be ended in order, the time until everything succeeds again, and the words
// in which logs and metrics name the cause.
//
// No fault needs a privilege. Processes are killed (SIGKILL, SIGTERM) and frozen
// (SIGSTOP); their limits change while they run (prlimit(2)); the way to the HSS leads
// over two relays that this package can slow down and cut; datagrams of Gm are lost,
// doubled and late in the phones' own socket.
//
// A soak is the same for long: what is sampled must be flat between the faults, and
// what phones, functions and HSS count each for itself must agree.
package chaos
