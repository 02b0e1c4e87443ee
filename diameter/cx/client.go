package cx

import (
	"errors"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gocscf/gocscf/diameter"
)

// ClientConfig is what a client is made from. Zero values mean the defaults.
type ClientConfig struct {
	Realm      string        // Destination-Realm of requests; default: the node's own
	Host       string        // Destination-Host of every request; default: learned, see Client
	Timeout    time.Duration // for requests without a deadline, 5 s
	MaxLearned int           // users whose HSS is remembered, 65536
}

// A Client sends Cx requests over a node.
//
// It never blocks. The callback is called once, where package diameter calls it,
// with the answer, an error, or both: the error is nil for a result of the 2xxx
// class, a *diameter.ResultError or *diameter.ProtocolError together with the
// answer, and one of the other errors of diameter.Node.Do without one.
//
// The first request of a user goes to the realm. The HSS that answers it is
// named in Destination-Host of the user's later requests (TS 29.228 Annex A,
// TS 29.229 5.4), until it fails to answer one; Learn tells of one that somebody
// else has asked. A DestinationHost set by the caller is kept.
type Client struct {
	node *diameter.Node
	cfg  ClientConfig

	seed maphash.Seed
	mu   sync.Mutex
	// Two generations bound the memory without a list: when the young one is
	// full it becomes the old one, and what is used moves back. Users are known by
	// hashes: their names are parts of messages, which would stay as long. Should two
	// have the same, one's requests begin at the other's HSS, and it redirects or
	// refuses them as it does those of any stranger.
	young, old map[uint64]uint8 // place of the Origin-Host in hosts, by user: no pointers for the collector to follow
	hosts      []string         // those that have answered
}

// maxHosts bounds the names of HSSes. With one more than that, all is forgotten.
const maxHosts = 255

// NewClient makes a client.
func NewClient(n *diameter.Node, cfg ClientConfig) *Client {
	if cfg.Realm == "" {
		cfg.Realm = n.OriginRealm()
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.MaxLearned <= 0 {
		cfg.MaxLearned = 65536
	}
	return &Client{node: n, cfg: cfg, seed: maphash.MakeSeed(), young: make(map[uint64]uint8)}
}

// UAR asks whether a user may register and which S-CSCF serves him.
func (c *Client) UAR(deadline time.Time, q *UAR, done func(*UAA, error)) {
	send[UAA](c, deadline, q, done)
}

// SAR tells the HSS about an assignment and asks for the profile.
func (c *Client) SAR(deadline time.Time, q *SAR, done func(*SAA, error)) {
	send[SAA](c, deadline, q, done)
}

// LIR asks which S-CSCF serves a public identity.
func (c *Client) LIR(deadline time.Time, q *LIR, done func(*LIA, error)) {
	send[LIA](c, deadline, q, done)
}

// MAR asks for authentication vectors.
func (c *Client) MAR(deadline time.Time, q *MAR, done func(*MAA, error)) {
	send[MAA](c, deadline, q, done)
}

// RTR ends registrations at the S-CSCF in DestinationHost, which is required.
func (c *Client) RTR(deadline time.Time, q *RTR, done func(*RTA, error)) {
	send[RTA](c, deadline, q, done)
}

// PPR gives the S-CSCF in DestinationHost, which is required, a new profile.
func (c *Client) PPR(deadline time.Time, q *PPR, done func(*PPA, error)) {
	send[PPA](c, deadline, q, done)
}

var errNoDestination = errors.New("diameter/cx: RTR and PPR need the Origin-Host of the S-CSCF as DestinationHost")

func send[A any, PA interface {
	*A
	Answer
}](c *Client, deadline time.Time, q Request, done func(*A, error)) {
	h := q.header()
	impi, impu := q.identities()
	push := q.command() == RegistrationTermination || q.command() == PushProfile
	host, realm := h.DestinationHost, h.DestinationRealm
	var opts []diameter.DoOption
	if host == "" && !push {
		if host = c.cfg.Host; host == "" {
			if host = c.learned(impi, impu); host != "" {
				opts = []diameter.DoOption{diameter.HostIsHint}
			}
		}
	}
	if host == "" && push {
		go done(nil, errNoDestination)
		return
	}
	if realm == "" {
		realm = c.cfg.Realm
	}
	if deadline.IsZero() {
		deadline = time.Now().Add(c.cfg.Timeout)
	}
	m := encodeRequest(c.node, q, host, realm)
	c.node.Do(deadline, m, func(got *diameter.Answer, err error) {
		nameResult(err)
		if !push {
			c.note(impi, impu, got, err)
		}
		if got == nil {
			done(nil, err)
			return
		}
		a := new(A)
		DecodeAnswer(got.Message, PA(a))
		PA(a).header().More = got.More()
		done(a, err)
	}, opts...)
}

// nameResult puts the names of TS 29.229 into an error of package diameter,
// which does not know them.
func nameResult(err error) {
	var r *diameter.ResultError
	if errors.As(err, &r) && r.Name == "" && r.Experimental && r.Vendor == diameter.Vendor3GPP {
		r.Name = experimentalNames[Experimental(r.Code)]
	}
}

// note learns which HSS answered for a user, or forgets the one that did not.
func (c *Client) note(impi, impu string, got *diameter.Answer, err error) {
	if err == nil {
		if host := got.OriginHost(); host != "" {
			c.learn(host, impi, impu)
		}
		return
	}
	var r *diameter.ResultError
	if errors.As(err, &r) && !r.Is(diameter.UnableToDeliver) && !r.Is(diameter.TooBusy) {
		return // the HSS did answer
	}
	c.forget(impi, impu)
}

// The key of a user: private and public identities cannot be mistaken for each
// other, since only the latter have a scheme.
func (c *Client) learn(host string, keys ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.place(host)
	for _, k := range keys {
		if k == "" {
			continue
		}
		key := c.key(k)
		if was, ok := c.young[key]; ok && was == at {
			continue
		}
		if len(c.young) >= c.cfg.MaxLearned/2+1 {
			c.old, c.young = c.young, make(map[uint64]uint8)
		}
		c.young[key] = at
	}
}

func (c *Client) key(user string) uint64 { return maphash.String(c.seed, user) }

// place returns where host is kept for all its users.
func (c *Client) place(host string) uint8 {
	if i := slices.Index(c.hosts, host); i >= 0 {
		return uint8(i)
	}
	if len(c.hosts) >= maxHosts {
		c.hosts, c.old, c.young = nil, nil, make(map[uint64]uint8)
	}
	c.hosts = append(c.hosts, strings.Clone(host))
	return uint8(len(c.hosts) - 1)
}

// Learn notes that an HSS has answered for a user somewhere else: his private and
// public identities. An HSS that is known already stays.
func (c *Client) Learn(host string, users ...string) {
	for _, u := range users {
		if c.learned(u) == "" {
			c.learn(host, u)
		}
	}
}

func (c *Client) forget(keys ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		delete(c.young, c.key(k))
		delete(c.old, c.key(k))
	}
}

func (c *Client) learned(keys ...string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		key := c.key(k)
		if at, ok := c.young[key]; ok {
			return c.hosts[at]
		}
		if at, ok := c.old[key]; ok {
			return c.hosts[at]
		}
	}
	return ""
}
