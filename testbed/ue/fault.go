package ue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
)

// Faults are what a phone does wrong. SetFaults changes them between registrations.
type Faults struct {
	// WrongRES answers challenges with another RES.
	WrongRES bool
	// WrongOPc has another OPc in the SIM than the HSS has (with XOR another K): each
	// challenge is a MAC failure.
	WrongOPc bool
	// SQNAhead, if not 0, makes the SIM's highest sequence number so: the next
	// challenge is out of range, and the phone asks for resynchronisation.
	SQNAhead aka.SQN

	// WrongKeys protects with other keys than CK and IK.
	WrongKeys bool
	// WrongSPI sends with SPIs that the P-CSCF has not chosen.
	WrongSPI bool
	// WrongVerify changes the SPIs in Security-Verify.
	WrongVerify bool
	// NoESP loses every packet to a protected port: behind the 401 nothing comes.
	NoESP bool
	// Replay sends each ESP packet twice. The phone must have a stack of its own.
	Replay bool
	// Cut switches the radio off behind the next protected request: the phone has
	// lost its SAs then, and hears nothing.
	Cut bool
	// Duplicate sends each REGISTER twice that goes by UDP.
	Duplicate bool
	// ClearRegister sends the REGISTER of a registered phone in clear to the
	// protected port of the P-CSCF.
	ClearRegister bool
	// ClearResponses answers protected requests in clear.
	ClearResponses bool
}

// ErrCut is what ends when Faults.Cut has switched the radio off.
var ErrCut = errors.New("the phone was cut off, as its faults have it")

// faultNames are the faults as the command line names them.
var faultNames = map[string]func(*Faults){
	"wrong-res":       func(f *Faults) { f.WrongRES = true },
	"wrong-opc":       func(f *Faults) { f.WrongOPc = true },
	"sqn-ahead":       func(f *Faults) { f.SQNAhead = 1 << 40 },
	"wrong-keys":      func(f *Faults) { f.WrongKeys = true },
	"wrong-spi":       func(f *Faults) { f.WrongSPI = true },
	"wrong-verify":    func(f *Faults) { f.WrongVerify = true },
	"no-esp":          func(f *Faults) { f.NoESP = true },
	"replay":          func(f *Faults) { f.Replay = true },
	"cut":             func(f *Faults) { f.Cut = true },
	"duplicate":       func(f *Faults) { f.Duplicate = true },
	"clear-register":  func(f *Faults) { f.ClearRegister = true },
	"clear-responses": func(f *Faults) { f.ClearResponses = true },
}

// FaultNames returns the names that Faults.Set takes, sorted.
func FaultNames() []string {
	var names []string
	for n := range faultNames {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Set adds the fault of that name.
func (f *Faults) Set(name string) error {
	set, ok := faultNames[name]
	if !ok {
		return fmt.Errorf("fault %q: want one of %s", name, strings.Join(FaultNames(), ", "))
	}
	set(f)
	return nil
}

// SetFaults changes what the phone does wrong, from the next challenge on. It
// switches the radio of a phone that was cut off on again.
func (p *Phone) SetFaults(f Faults) error {
	cfg := p.cfg
	cfg.Faults = f
	usim, err := cfg.usim()
	if err != nil {
		return err
	}
	if f.Replay && !p.replays() {
		return errors.New("the fault replay: this phone shares its stack, or has none; want one of its own (IPsec user)")
	}
	done := make(chan struct{})
	p.shard().Post(func() {
		if f.SQNAhead == 0 {
			usim.SQN = p.reg.usim.SQN // what was accepted stays so
		}
		p.reg.usim = usim
		p.faults.Store(&f)
		p.silent.Store(false)
		close(done)
	})
	_, err = wait(context.Background(), p, done)
	return err
}

// lastWords is how long what the phone has sent needs to leave.
const lastWords = 50 * time.Millisecond

// shape is the last word on what the phone sends: its spelling, and what goes wrong.
func (p *Phone) shape(f sip.Flow, data []byte) [][]byte {
	faults := p.faults.Load()
	protected := f.Role == sip.RoleProtectedClient || f.Role == sip.RoleProtectedServer
	response, register := bytes.HasPrefix(data, []byte("SIP/2.0 ")), bytes.HasPrefix(data, []byte("REGISTER "))
	switch {
	case p.silent.Load(), faults.NoESP && protected:
		return nil
	case protected && p.guard.of(f) == nil:
		return nil // its set is gone: the sockets would send it in clear
	case response && f.Role == sip.RoleGm && p.shut() && !p.guard.peers(f.Remote):
		return nil // what came in clear is not answered
	case faults.Cut && protected && !response && p.silent.CompareAndSwap(false, true):
		p.shard().Post(func() { p.shard().After(lastWords, p.reg.cut) })
	}
	data = p.profile.spell(data)
	if faults.Duplicate && register && f.Proto == sip.UDP {
		return [][]byte{data, data}
	}
	return [][]byte{data}
}
