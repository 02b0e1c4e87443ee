// Package admission decides which requests an overloaded element refuses:
// overload control as RFC 6357 names it, local to the element and implicit
// towards its upstream neighbours (a 503 with Retry-After, RFC 3261 21.5.4), since
// phones and foreign cores know nothing else.
//
// The measure is time, not load. Where requests go on to elements that answer at once,
// as a REGISTER does from the P-CSCF, or an INVITE, for which a 100 says that it has come
// through, it is how long those answers take: as many requests are let in as keep that
// below a bound, one for each that is answered (Controller.Enter).
//
// For all others it is how long requests have waited between their
// arrival at the machine and the moment at which work on them begins. A Controller
// takes all while that is below Config.Target. Above it, it lets through what a token
// bucket has room for. The bucket's rate begins at what the element has just been
// seen to do, falls by what it takes to work the standing queue off, and rises again
// while requests wait less than they may: additive at first, faster the longer
// nothing goes wrong. Nobody has to tell it the capacity of a machine, and it follows
// when that changes. A 503 from an element further on is a penalty: the rate falls by
// what was refused there, so that what cannot succeed is refused where it costs least.
//
// Nothing here has a clock, a goroutine or a timer. Callers say what time it is; an
// idle Controller costs nothing.
package admission

// Class is what a request has to do with what has been let in before.
type Class uint8

const (
	// New begins a registration or a dialog, or stands alone: the first to be refused.
	New Class = iota
	// Begun goes on with what has been let in here, as the answer to a challenge does,
	// or elsewhere at some cost, as a call on its way to the called user has been. It
	// may overdraw the bucket, and New requests pay for that.
	Begun
	// Vital is never refused: within a dialog, emergency, priority.
	Vital

	classes = 3
)

var classNames = [classes]string{New: "new", Begun: "begun", Vital: "vital"}

// String is fit for a metric label.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "unknown"
}

// Lane is which requests are counted together while they are under way: the core does
// alike with them until it answers.
type Lane uint8

const (
	// NoLane is of requests whose answers say nothing of the core.
	NoLane Lane = iota
	// Registers are REGISTERs, until the home network answers.
	Registers
	// Calls are INVITEs, until the first 100 or another answer.
	Calls

	lanes = 3
)

var laneNames = [lanes]string{Registers: "register", Calls: "invite"}

// String is fit for a metric label.
func (l Lane) String() string {
	if l > NoLane && int(l) < len(laneNames) {
		return laneNames[l]
	}
	return "unknown"
}
