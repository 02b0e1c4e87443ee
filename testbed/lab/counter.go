package lab

import (
	"strings"
	"sync"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
)

// counter counts the messages of the interfaces from the trace.
type counter struct {
	gm     string // the P-CSCF's open address towards phones
	asAddr string // the application server's

	mu         sync.Mutex
	sip        SIPCounts
	protected  int             // received on Gm, out of ESP
	clear      int             // outside of ESP, of registered phones
	registered map[string]bool // over IPsec, by the phone's node
}

// phonePrefix begins the node names of phones.
const phonePrefix = "ue:"

// count takes one event: each message where it is received.
func (c *counter) count(e trace.Event) {
	if e.Kind != trace.SIP {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	phone := strings.HasPrefix(e.Node, phonePrefix)
	esp := strings.HasPrefix(e.Proto, trace.ESP)
	if phone && !esp && c.registered[e.Node] {
		c.clear++
	}
	if e.Dir != trace.In {
		return
	}
	switch {
	case phone || e.Node == NameP && (esp || e.Local == c.gm):
		c.sip.Gm++
		if esp {
			c.protected++
		}
		if phone && esp {
			c.follow(e)
		}
	case strings.HasPrefix(e.Node, serverPrefix) || e.Remote == c.asAddr:
		c.sip.ISC++
	default:
		c.sip.Mw++
	}
}

// follow notes when a phone becomes registered, and when it is no longer: by the
// 200 to its REGISTER, which lists its contact or does not.
func (c *counter) follow(e trace.Event) {
	m, err := sip.Parse(string(e.Raw))
	if err != nil || m.Status() != 200 || m.Method() != "REGISTER" {
		return
	}
	if c.registered == nil {
		c.registered = map[string]bool{}
	}
	c.registered[e.Node] = m.Has(sip.HContact)
}

func (c *counter) counts() (SIPCounts, IPsecReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sip, IPsecReport{ProtectedMessages: c.protected, ClearMessagesAfterRegistration: c.clear}
}
