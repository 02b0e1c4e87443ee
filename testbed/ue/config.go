package ue

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"strings"

	"go.uber.org/zap"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/transport"
	"github.com/gocscf/gocscf/ims/trace"
	"github.com/gocscf/gocscf/ipsec"
)

// Config is a phone and its SIM.
type Config struct {
	// Name is how traces and logs call the phone. Default: the user part of IMPI.
	Name string
	// Net is where sockets come from; nil is the kernel.
	Net transport.Net
	// Local and Port are what the phone listens on, UDP and TCP. Without Local,
	// the address that leads to PCSCF; Port 0 takes any.
	Local netip.Addr
	Port  uint16
	// PCSCF is the P-CSCF, Alternates those to try when it does not answer.
	PCSCF      netip.AddrPort
	Alternates []netip.AddrPort

	// Domain is the home network's: "ims.mnc001.mcc001.3gppnetwork.org".
	Domain string
	// IMPI is the private identity, IMPU the public one to register: a sip or tel
	// URI.
	IMPI, IMPU string
	// K and OPc are the SIM's keys; OP may be given instead of OPc. With TUAK they
	// are K, TOPc and TOP; with the XOR test algorithm K alone.
	K, OPc, OP aka.Secret
	// Algorithm is "milenage" (the default), "tuak" or "xor".
	Algorithm string
	// SQN is the highest sequence number that the SIM has accepted.
	SQN aka.SQN

	// Transport is what requests leave by: sip.UDP or sip.TCP. One that is too big
	// for a datagram leaves by TCP in either case.
	Transport sip.Proto
	// Profile says whose manners the phone has: see Profiles. Default "generic".
	Profile string

	// IPsec is how the phone protects what it sends: "none" (the default), "user" in
	// user space, "kernel" by the kernel, or "auto", which is "user" where the P-CSCF
	// agrees and none where it offers nothing.
	IPsec string
	// Stack is what protects, shared by many phones; the phone takes out of it what
	// it has put in, and does not close it. Without, the phone has one of its own.
	Stack Stack
	// ESPUDP is where ESP in UDP goes first, until the P-CSCF's first packet has shown
	// the way; a stack of the phone's own then has no other. Default with a stack of
	// its own: port 4500 of the P-CSCF; with a shared one: what that does by itself.
	ESPUDP netip.AddrPort
	// NAT has the phone offer UDP-enc-tun beside transport mode (TS 33.203 Annex M).
	NAT bool
	// Offer are the algorithms that the phone offers, in order. Default: the profile's.
	Offer []ipsec.Pair
	// SecAgree has a phone without IPsec offer it in Security-Client, as every real
	// phone does: a P-CSCF that insists on it refuses the phone.
	SecAgree bool
	// Expires is asked for in REGISTER and SUBSCRIBE, in seconds. Default 600000
	// (TS 24.229 5.1.1.2.1).
	Expires uint32
	// Instance is the value of +sip.instance. Default: an IMEI made from IMPI.
	Instance string
	// NoSubscribe leaves out the subscription to the registration state.
	NoSubscribe bool
	// NoRefresh leaves out re-registration: the registration runs out.
	NoRefresh bool

	// Answer is what the phone does with calls; OnCall, if set, decides for each.
	// OnCall must not block.
	Answer Answer
	OnCall func(c *Call) Answer

	// Faults is what the phone does wrong, from the start.
	Faults Faults

	// Trace gets the phone's messages, states and failures. Its name, if empty,
	// becomes "ue:" and Name.
	Trace trace.Node
	// Log gets a line for each state and failure; nil is silence.
	Log *zap.Logger
}

// complete checks c and fills in what is not set.
func (c *Config) complete() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !c.PCSCF.IsValid() || c.PCSCF.Port() == 0 {
		bad("P-CSCF %v: want address and port", c.PCSCF)
	}
	if c.Domain == "" {
		bad("domain is missing: want the home network's, ims.mncNNN.mccNNN.3gppnetwork.org")
	}
	impi, err := identity.ParseIMPI(c.IMPI)
	if err != nil {
		bad("impi: %w", err)
	}
	if _, err := identity.ParseIMPU(c.IMPU); err != nil {
		bad("impu: %w", err)
	}
	if c.Transport != sip.UDP && c.Transport != sip.TCP {
		bad("transport %v: want UDP or TCP", c.Transport)
	}
	if _, ok := Profiles[c.profile()]; !ok {
		bad("profile %q: want one of %s", c.Profile, strings.Join(profileNames(), ", "))
	}
	switch c.IPsec {
	case "", ipsecNone, ipsecAuto, ipsecUser, ipsecKernel:
	default:
		bad("IPsec %q: want none, auto, user or kernel", c.IPsec)
	}
	if c.NAT && c.IPsec == ipsecKernel {
		bad("NAT: a socket of the kernel cannot have the NAT's address, which the tunnel wants; use IPsec user")
	}
	for _, p := range c.Offer {
		if !p.Valid() {
			bad("offer %v: TS 33.203 Annex H has no such pair", p)
		}
	}
	if len(c.Offer) == 0 {
		c.Offer = Profiles[c.profile()].Security.Pairs
	}
	if c.Faults.Replay && (c.Stack != nil || !c.protects()) {
		bad("the fault replay: want a stack of the phone's own, IPsec user")
	}
	if _, err := c.algorithm(); err != nil {
		faults = append(faults, err)
	}
	if c.Expires == 0 {
		c.Expires = 600000
	}
	if c.Name == "" {
		c.Name = impi.User()
	}
	if c.Trace.Name == "" {
		c.Trace.Name = "ue:" + c.Name
	}
	if c.Log == nil {
		c.Log = noLog
	}
	if c.Instance == "" {
		h := fnv.New64a()
		_, _ = h.Write([]byte(c.IMPI))
		n := h.Sum64()
		c.Instance = fmt.Sprintf("<urn:gsma:imei:%08d-%06d-0>", 35000000+n%1000000, n/1000000%1000000)
	}
	if len(faults) > 0 {
		return fmt.Errorf("configuring phone %q: %w", c.Name, errors.Join(faults...))
	}
	return nil
}

// noLog is the log of all phones that have none.
var noLog = zap.NewNop()

// The values of Config.IPsec.
const (
	ipsecNone, ipsecAuto   = "none", "auto"
	ipsecUser, ipsecKernel = "user", "kernel"
)

// protects reports whether the phone has IPsec.
func (c *Config) protects() bool { return c.IPsec != "" && c.IPsec != ipsecNone }

// offers reports whether the phone says that it has.
func (c *Config) offers() bool { return c.SecAgree || c.protects() }

func (c *Config) profile() string {
	if c.Profile == "" {
		return "generic"
	}
	return c.Profile
}

// algorithm makes the SIM's functions.
func (c *Config) algorithm() (aka.Algorithm, error) {
	if c.K.Len() == 0 {
		return nil, errors.New("k is missing: want the SIM's key in hexadecimal digits")
	}
	name := strings.ToLower(c.Algorithm)
	opc := c.OPc
	switch {
	case name == "xor" && c.Faults.WrongOPc:
		return aka.NewXOR(flipped(c.K))
	case name == "xor":
		return aka.NewXOR(c.K)
	case opc.Len() == 0 && c.OP.Len() == 0:
		return nil, errors.New("opc is missing: want OPc, or OP, in hexadecimal digits")
	case opc.Len() > 0 && c.OP.Len() > 0:
		return nil, errors.New("opc and op are both given: want one of them")
	}
	var err error
	switch name {
	case "", "milenage":
		if opc.Len() == 0 {
			if opc, err = aka.MilenageOPc(c.K, c.OP); err != nil {
				return nil, err
			}
		}
		if c.Faults.WrongOPc {
			opc = flipped(opc)
		}
		return aka.NewMilenage(c.K, opc)
	case "tuak":
		if opc.Len() == 0 {
			if opc, err = aka.TUAKTOPc(c.K, c.OP, 0); err != nil {
				return nil, err
			}
		}
		if c.Faults.WrongOPc {
			opc = flipped(opc)
		}
		return aka.NewTUAK(c.K, opc, aka.TUAKOptions{})
	}
	return nil, fmt.Errorf("algorithm %q: want milenage, tuak or xor", c.Algorithm)
}

// usim makes the SIM, with its faults.
func (c *Config) usim() (*aka.USIM, error) {
	alg, err := c.algorithm()
	if err != nil {
		return nil, err
	}
	sqn := c.SQN
	if c.Faults.SQNAhead != 0 {
		sqn = c.Faults.SQNAhead
	}
	seen, err := aka.NewSQNArray(sqn, aka.SQNArrayOptions{})
	if err != nil {
		return nil, fmt.Errorf("sqn: %w", err)
	}
	return &aka.USIM{Algorithm: alg, SQN: seen}, nil
}

// flipped returns a key that differs in each bit.
func flipped(s aka.Secret) aka.Secret {
	b := append([]byte(nil), s.Bytes()...)
	for i := range b {
		b[i] ^= 0xff
	}
	return aka.NewSecret(b)
}
