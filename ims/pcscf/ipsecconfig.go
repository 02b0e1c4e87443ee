package pcscf

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ipsec"
)

// IPsec says how Gm is protected (TS 33.203).
type IPsec struct {
	// Policy is required, or none: phones register and call in clear. Default
	// required.
	Policy string `yaml:"policy"`
	// Backend is kernel, user, or auto: the kernel where it can, else user space.
	// Default auto.
	Backend string `yaml:"backend"`
	// ServerPorts are our protected server ports (port_ps), a list of ports and
	// ranges. Phones with the same address and ports need one each. Default
	// 6100-6107.
	ServerPorts PortList `yaml:"server_ports"`
	// ClientPorts are our protected client ports (port_pc). Default 5100-5131.
	ClientPorts PortList `yaml:"client_ports"`
	// Algorithms are the pairs that are allowed, "alg/ealg", the one to prefer first.
	// Default all of TS 33.203 Annex H, the strongest first; those with hmac-md5-96
	// and des-ede3-cbc are deprecated, and what some phones still choose.
	Algorithms []string `yaml:"algorithms"`
	// Offer is what Security-Server lists: all pairs, or the chosen one alone, for
	// phones that stumble over a list. Default all.
	Offer string `yaml:"offer"`
	// UDP is where ESP in UDP is received, IP:PORT: from phones behind a NAT
	// (UDP-enc-tun), and by the user back end also plain, for a lab. Port 0 takes a
	// free one. Default port 4500 at listen.gm's address.
	UDP netip.AddrPort `yaml:"udp"`
	// ResponsePort is to which port of the phone a response over UDP goes: us, the
	// server port, as TS 33.203 has it, or uc, the client port that the request came
	// from, for phones that expect that. Default us.
	ResponsePort string `yaml:"response_port"`
	// ClientPortAgents are phones for which that is uc, whatever ResponsePort says:
	// parts of their User-Agent, in any letter case.
	ClientPortAgents []string `yaml:"response_port_uc_agents"`
	// RegAwaitAuth is how long a phone has to answer a challenge (TS 24.229 7.8).
	// Default 4m.
	RegAwaitAuth node.Duration `yaml:"reg_await_auth"`
}

// The values of Policy, Backend, Offer and ResponsePort.
const (
	policyNone, policyRequired              = "none", "required"
	backendAuto, backendKernel, backendUser = "auto", "kernel", "user"
	offerAll, offerChosen                   = "all", "chosen"
	responseUS, responseUC                  = "us", "uc"
)

// maxPorts bounds the protected ports of a kind: each is two sockets.
const maxPorts = 256

func defaultIPsec() IPsec {
	return IPsec{
		Policy: policyRequired, Backend: backendAuto,
		ServerPorts: portRange(6100, 6107), ClientPorts: portRange(5100, 5131),
		Offer: offerAll, ResponsePort: responseUS, RegAwaitAuth: node.Duration(4 * time.Minute),
	}
}

// PortList are ports, in YAML "6100-6107" or "6100, 6102-6105".
type PortList []uint16

func portRange(first, last uint16) (l PortList) {
	for p := int(first); p <= int(last); p++ {
		l = append(l, uint16(p))
	}
	return l
}

// UnmarshalYAML reads the text form.
func (l *PortList) UnmarshalYAML(decode func(any) error) error {
	var text string
	if err := decode(&text); err != nil {
		return err
	}
	var out PortList
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		a, errA := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
		b, errB := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
		if errA != nil || errB != nil || a == 0 || b < a || int(b-a) >= maxPorts || len(out) > maxPorts {
			return fmt.Errorf("%q are no ports: write for instance 6100-6107, at most %d of them", text, maxPorts)
		}
		out = append(out, portRange(uint16(a), uint16(b))...)
	}
	*l = out
	return nil
}

// String writes what UnmarshalYAML reads.
func (l PortList) String() string {
	var parts []string
	for i := 0; i < len(l); {
		j := i
		for j+1 < len(l) && l[j+1] == l[j]+1 {
			j++
		}
		part := strconv.Itoa(int(l[i]))
		if j > i {
			part += "-" + strconv.Itoa(int(l[j]))
		}
		parts, i = append(parts, part), j+1
	}
	return strings.Join(parts, ",")
}

// MarshalYAML writes the text form.
func (l PortList) MarshalYAML() (any, error) { return l.String(), nil }

func (c *IPsec) required() bool { return c.Policy == policyRequired }

// check reports what is wrong; gm is the open port towards phones.
func (c *IPsec) check(gm, mw netip.AddrPort, bad func(format string, args ...any)) {
	oneOf := func(key, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			last := len(allowed) - 1
			bad("ipsec.%s is %q: it must be %s or %s", key, value, strings.Join(allowed[:last], ", "), allowed[last])
		}
	}
	oneOf("policy", c.Policy, policyNone, policyRequired)
	oneOf("backend", c.Backend, backendAuto, backendKernel, backendUser)
	if !c.required() {
		return // the rest is not used, and need not be right
	}
	oneOf("offer", c.Offer, offerAll, offerChosen)
	oneOf("response_port", c.ResponsePort, responseUS, responseUC)
	if slices.Contains(c.ClientPortAgents, "") {
		bad("ipsec.response_port_uc_agents has an empty entry: it would be any phone; set response_port to uc for that")
	}
	c.checkPorts(gm, mw, bad)
	if _, err := c.pairs(); err != nil {
		bad("ipsec.algorithms: %w", err)
	}
	switch at := c.UDP.Addr(); {
	case !at.IsValid(): // the default
	case at.IsUnspecified():
		bad("ipsec.udp is %v: name one of this host's addresses", c.UDP)
	case gm.IsValid() && at.Unmap().Is4() != gm.Addr().Unmap().Is4():
		bad("ipsec.udp is %v: phones that reach listen.gm %v do not reach it, it is of the other IP version", c.UDP, gm)
	}
	if c.RegAwaitAuth <= 0 {
		bad("ipsec.reg_await_auth is %v: no phone would be in time", c.RegAwaitAuth.D())
	}
}

func (c *IPsec) checkPorts(gm, mw netip.AddrPort, bad func(format string, args ...any)) {
	seen := map[uint16]string{}
	for _, open := range [...]struct {
		key  string
		addr netip.AddrPort
	}{{"listen.gm", gm}, {"listen.mw", mw}} {
		if open.addr.IsValid() && open.addr.Addr() == gm.Addr() {
			seen[open.addr.Port()] = open.key
		}
	}
	for _, l := range [...]struct {
		key   string
		ports PortList
	}{{"server_ports", c.ServerPorts}, {"client_ports", c.ClientPorts}} {
		if len(l.ports) == 0 || len(l.ports) > maxPorts {
			bad("ipsec.%s are %d ports: want 1 to %d", l.key, len(l.ports), maxPorts)
		}
		told := false
		for _, p := range l.ports {
			if other, twice := seen[p]; twice && !told {
				bad("ipsec.%s has port %d, which is in %s too: each protected port is for one thing", l.key, p, other)
				told = true
			}
			seen[p] = "ipsec." + l.key
		}
	}
}

// pairs are the algorithms in our order.
func (c *IPsec) pairs() ([]ipsec.Pair, error) {
	if len(c.Algorithms) == 0 {
		return ipsec.Pairs, nil
	}
	var out []ipsec.Pair
	for _, text := range c.Algorithms {
		alg, ealg, _ := strings.Cut(text, "/")
		p, ok := ipsec.ParsePair(strings.TrimSpace(alg), strings.TrimSpace(ealg))
		switch {
		case !ok:
			return nil, fmt.Errorf("%q is no pair of TS 33.203 Annex H: want one of %v", text, ipsec.Pairs)
		case slices.Contains(out, p):
			return nil, fmt.Errorf("%v is named twice", p)
		}
		out = append(out, p)
	}
	return out, nil
}

// espAddr is where ESP in UDP is received.
func (c *IPsec) espAddr(gm netip.AddrPort) netip.AddrPort {
	if c.UDP.IsValid() {
		return c.UDP
	}
	return netip.AddrPortFrom(gm.Addr(), ipsec.NATPort)
}

// toClient reports whether a phone with that User-Agent gets responses at port_uc.
func (c *IPsec) toClient(agent string) bool {
	agent = strings.ToLower(agent)
	return c.ResponsePort == responseUC || slices.ContainsFunc(c.ClientPortAgents, func(part string) bool {
		return strings.Contains(agent, strings.ToLower(part))
	})
}

// explain says what c means.
func (c *IPsec) explain(gm netip.AddrPort) string {
	if !c.required() {
		return fmt.Sprintf("Phones reach it at %v, UDP and TCP, without IPsec.", gm)
	}
	pairs, _ := c.pairs()
	return fmt.Sprintf("Phones register at %v, UDP and TCP, and then talk to it over IPsec, at the server ports %v and from the client ports %v; back end %s, ESP in UDP at %v, algorithms %v.",
		gm, c.ServerPorts, c.ClientPorts, c.Backend, c.espAddr(gm), pairs)
}
