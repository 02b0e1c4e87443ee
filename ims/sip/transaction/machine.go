package transaction

import (
	"fmt"
	"strings"
	"time"
)

// kind is which of the four machines of RFC 3261 §17 a transaction runs.
type kind uint8

const (
	inviteClient kind = iota
	nonInviteClient
	inviteServer
	nonInviteServer
)

var kindNames = [...]string{"invite-client", "non-invite-client", "invite-server", "non-invite-server"}

func (k kind) String() string { return kindNames[k] }

// state is a state of RFC 3261 figures 5 to 8 and RFC 6026 figures 1 and 2.
type state uint8

const (
	initial state = iota
	calling
	trying
	proceeding
	completed
	confirmed
	accepted
	terminated
)

var stateNames = [...]string{"Initial", "Calling", "Trying", "Proceeding", "Completed", "Confirmed", "Accepted", "Terminated"}

func (s state) String() string { return stateNames[s] }

// event is what can happen to a machine. Not every machine knows every event;
// one that a state has no arrow for changes nothing.
type event uint8

const (
	evStart          event = iota // client: the TU starts it; server: the request that created it
	evRetransmit                  // the retransmission timer (A, E, G, or 100) fired
	evEnd                         // the state's life timer (B, D, F, H to M) fired
	evTransportError              // what was sent last is known not to have left

	evTrying      // client: 100 received; server: the TU sends 100
	evProvisional // 101–199
	evSuccess     // 2xx
	evFailure     // 3xx–6xx

	evCancel  // client: a CANCEL for the INVITE has been sent
	evRequest // server: the request came again
	evAck     // server: ACK
	evAbandon // server: the TU will not answer (RFC 4320 §4.2)
)

// statusEvent maps a status code to its event.
func statusEvent(status int) event {
	switch {
	case status == 100:
		return evTrying
	case status < 200:
		return evProvisional
	case status < 300:
		return evSuccess
	}
	return evFailure
}

// do is a set of actions. The driver performs them in the order of the bits.
type do uint16

const (
	doStopRetransmit do = 1 << iota
	doStopEnd
	doSetRetransmit
	doSetEnd
	doSend    // client: the request; server: the last response
	doSendNew // server: the response the TU has just given becomes the last one and is sent
	doSend100 // server: a 100 made here becomes the last response and is sent
	doAck     // client: the ACK to this non-2xx final
	doDeliver // the response or ACK to the TU
	doTimeout // tell the TU that time ran out
	doError   // tell the TU that the transport failed
	doEnd     // leave the table
)

// timerName names the timer that a slot holds, as the RFCs do.
type timerName uint8

const (
	timerNone timerName = iota
	timerA
	timerB
	timerD
	timerE
	timerF
	timerG
	timerH
	timerI
	timerJ
	timerK
	timerL
	timerM
	timer100    // RFC 4320 §4.1; of an INVITE whose 100 waits
	timerAnswer // a server transaction whose client must have given up (its own Timer F)
	timerCancel // 64·T1 after a CANCEL (RFC 3261 §9.1)
)

var timerNames = [...]string{"-", "A", "B", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "100", "answer", "cancel"}

func (t timerName) String() string { return timerNames[t] }

// actions is what a step asks of its driver. No transaction ever needs more
// than two timers at once: one that repeats and one that ends the state.
type actions struct {
	do                      do
	retransmit, end         time.Duration
	retransmitName, endName timerName
}

func (a *actions) setRetransmit(n timerName, d time.Duration) {
	a.do |= doSetRetransmit
	a.retransmitName, a.retransmit = n, d
}

func (a *actions) setEnd(n timerName, d time.Duration) {
	a.do |= doSetEnd
	a.endName, a.end = n, d
}

var doNames = [...]string{
	"", "", "", "", "send", "send response", "send 100", "ack", "deliver", "inform TU: time-out", "inform TU: transport error", "end",
}

// String is the form of the transcripts.
func (a actions) String() string {
	var parts []string
	if a.do&doStopRetransmit != 0 {
		parts = append(parts, "stop retransmission")
	}
	if a.do&doStopEnd != 0 {
		parts = append(parts, "stop end timer")
	}
	if a.do&doSetRetransmit != 0 {
		parts = append(parts, fmt.Sprintf("timer %v %v", a.retransmitName, a.retransmit))
	}
	if a.do&doSetEnd != 0 {
		parts = append(parts, fmt.Sprintf("timer %v %v", a.endName, a.end))
	}
	for i, name := range doNames {
		if a.do&(1<<i) != 0 && name != "" {
			parts = append(parts, name)
		}
	}
	if parts == nil {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// machine is the state of one transaction: a small value without pointers.
type machine struct {
	kind     kind
	state    state
	reliable bool          // stream transport: nothing is retransmitted
	late     time.Duration // of an INVITE whose 100 waits for the next hop's: how long timer 100 gives it
	interval time.Duration // the running retransmission interval
}

// step advances the machine. t holds the values of the transaction's leg.
func (m *machine) step(ev event, t *Timers) actions {
	switch m.kind {
	case inviteClient:
		return m.inviteClient(ev, t)
	case nonInviteClient:
		return m.nonInviteClient(ev, t)
	case inviteServer:
		return m.inviteServer(ev, t)
	default:
		return m.nonInviteServer(ev, t)
	}
}

// open reports whether the transaction still owes or awaits something, as
// against lingering to absorb retransmissions.
func (m *machine) open() bool {
	switch m.state {
	case calling, trying, proceeding:
		return true
	}
	return false
}

// terminate ends the machine. Both timers die with the transaction.
func (m *machine) terminate(d do) actions {
	m.state = terminated
	return actions{do: d | doStopRetransmit | doStopEnd | doEnd}
}

// linger enters a state that only absorbs retransmissions, for d; a state of no
// length is skipped.
func (m *machine) linger(s state, n timerName, d time.Duration, what do) actions {
	if d == 0 {
		return m.terminate(what)
	}
	m.state = s
	a := actions{do: what | doStopRetransmit}
	a.setEnd(n, d)
	return a
}

// promptly is what else is to be done with the first response to an INVITE whose 100 has waited.
func (m *machine) promptly() do {
	if m.late == 0 {
		return 0
	}
	m.late = 0
	return doStopRetransmit
}

// unreliable is d on datagrams and zero on streams, the rule of timers D, I, J and K.
func (m *machine) unreliable(d time.Duration) time.Duration {
	if m.reliable {
		return 0
	}
	return d
}
