package scscf

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/profile"
	"github.com/gocscf/gocscf/ims/sip/transport/memnet"
)

// homeHSS answers MAR and SAR of the users it has, and writes down what it is asked.
type homeHSS struct {
	t      *testing.T
	host   *memnet.Host
	node   *diameter.Node
	client *cx.Client

	mu      sync.Mutex
	users   map[string]*profile.Profile // by IMPI
	charge  *cx.ChargingInformation
	vectors map[string][]byte // XRES by nonce
	n       byte
	log     []string
	mars    []*cx.MAR
	sars    []*cx.SAR
	// before may answer in place of the HSS: result, or silence; nil does nothing.
	before func(command, impi string) (r diameter.Result, silent bool)
	// hold keeps answers to SARs back until it is closed.
	hold chan struct{}
	// pace is the time between two answers to SARs, which come in order; 0 is none.
	pace time.Duration
	free time.Time     // when the next may be answered
	slow time.Duration // that an answer to a MAR takes
}

func newHomeHSS(t *testing.T, host *memnet.Host) *homeHSS {
	t.Helper()
	h := &homeHSS{t: t, host: host, users: map[string]*profile.Profile{}, vectors: map[string][]byte{}}
	n, err := diameter.New(diameter.Config{
		OriginHost: "hss." + home, OriginRealm: home, AcceptUnknown: true, Applications: []diameter.Application{cx.App()},
		Dictionary: cx.Dictionary(), Handler: (&cx.Server{HSS: h}).Handle,
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := host.Listen(netip.MustParseAddrPort(hssAddr))
	if err == nil {
		err = n.Listen(l)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.node, h.client = n, cx.NewClient(n, cx.ClientConfig{})
	return h
}

func (h *homeHSS) close() { _ = h.node.Close(h.t.Context()) }

// user gives the HSS a subscriber.
func (h *homeHSS) user(impi string, p *profile.Profile) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p.PrivateID = identity.IMPI(impi)
	h.users[impi] = p
}

func (h *homeHSS) noted(line string) (r diameter.Result, silent bool) {
	h.log = append(h.log, line)
	if h.before == nil {
		return diameter.Result{}, false
	}
	command, rest, _ := strings.Cut(line, " ")
	return h.before(command, strings.Fields(rest)[0])
}

func (h *homeHSS) MAR(_ *diameter.Request, q *cx.MAR, answer func(*cx.MAA) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mars = append(h.mars, q)
	r, silent := h.noted("MAR " + q.UserName)
	a := &cx.MAA{AnswerHeader: cx.AnswerHeader{Result: diameter.Base(diameter.Success)}, UserName: q.UserName}
	switch {
	case silent:
		return
	case r.Code != 0:
		a.Result = r
	case h.users[q.UserName] == nil:
		a.Result = cx.ErrorUserUnknown.Result()
	default:
		a.Items = []cx.AuthDataItem{h.vector(q.Item.Scheme)}
	}
	if h.slow > 0 {
		time.AfterFunc(h.slow, func() { _ = answer(a) })
		return
	}
	_ = answer(a)
}

// vector makes one that is like none before.
func (h *homeHSS) vector(scheme string) cx.AuthDataItem {
	h.n++
	seed := sha256.Sum256([]byte{h.n})
	keys := sha256.Sum256([]byte{h.n, 1})
	xres := []byte{0, h.n, 2, 3, 4, 5, 6, 7} // a NUL first: octets, not text
	h.vectors[base64.StdEncoding.EncodeToString(seed[:])] = xres
	return cx.AuthDataItem{Scheme: scheme, Authenticate: seed[:], Authorization: xres, ConfidentialityKey: keys[:16], IntegrityKey: keys[16:]}
}

func (h *homeHSS) SAR(_ *diameter.Request, q *cx.SAR, answer func(*cx.SAA) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sars = append(h.sars, q)
	r, silent := h.noted(fmt.Sprint("SAR ", q.UserName, " ", strings.Join(q.PublicIdentities, " "), " ", q.Type))
	a := &cx.SAA{AnswerHeader: cx.AnswerHeader{Result: diameter.Base(diameter.Success)}, UserName: q.UserName}
	p := h.users[q.UserName]
	switch {
	case silent:
		return
	case r.Code != 0:
		a.Result = r
	case p == nil:
		a.Result = cx.ErrorUserUnknown.Result()
	case q.UserDataAlreadyAvailable != cx.UserDataAvailable:
		a.UserData, a.Charging = string(p.Marshal()), h.charge
	}
	if h.pace > 0 {
		if now := time.Now(); h.free.Before(now) {
			h.free = now
		}
		h.free = h.free.Add(h.pace)
		time.AfterFunc(time.Until(h.free), func() { _ = answer(a) })
		return
	}
	if h.hold != nil {
		hold := h.hold
		go func() { <-hold; _ = answer(a) }()
		return
	}
	_ = answer(a)
}

func (h *homeHSS) UAR(*diameter.Request, *cx.UAR, func(*cx.UAA) error) { h.t.Error("UAR") }
func (h *homeHSS) LIR(*diameter.Request, *cx.LIR, func(*cx.LIA) error) { h.t.Error("LIR") }

// asked returns what was asked since the last call, without the MARs.
func (h *homeHSS) asked() string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	list := slices.DeleteFunc(h.log, func(l string) bool { return strings.HasPrefix(l, "MAR") })
	h.log = nil
	return strings.Join(list, ", ")
}

// wantAsked checks what the HSS was asked since the last check, without the MARs.
func (h *homeNet) wantAsked(want string) {
	h.t.Helper()
	if got := h.hss.asked(); got != want {
		h.t.Errorf("the HSS was asked %q, want %q", got, want)
	}
}

// answering makes the HSS answer a command with r.
func (h *homeHSS) answering(command string, r diameter.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before = func(c, _ string) (diameter.Result, bool) {
		if c == command {
			return r, false
		}
		return diameter.Result{}, false
	}
}

// silent makes the HSS answer nothing to a command; "" ends that.
func (h *homeHSS) silent(command string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before = func(c, _ string) (diameter.Result, bool) { return diameter.Result{}, c == command }
}

// paced makes the HSS answer one SAR in each d.
func (h *homeHSS) paced(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pace = d
}

// holdBack keeps the answers to SARs back until release is called.
func (h *homeHSS) holdBack() (release func()) {
	hold := make(chan struct{})
	set := func(c chan struct{}) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.hold = c
	}
	set(hold)
	return func() { set(nil); close(hold) }
}

// letThrough keeps back no further answers than those that are.
func (h *homeHSS) letThrough() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hold = nil
}

var pushTo = cx.RequestHeader{DestinationHost: "scscf." + home, DestinationRealm: home}

func (h *homeHSS) rtr(q *cx.RTR) *cx.RTA {
	h.t.Helper()
	q.RequestHeader = pushTo
	return pushed(h.t, func(done func(*cx.RTA, error)) { h.client.RTR(time.Time{}, q, done) })
}

func (h *homeHSS) ppr(q *cx.PPR) *cx.PPA {
	h.t.Helper()
	q.RequestHeader = pushTo
	return pushed(h.t, func(done func(*cx.PPA, error)) { h.client.PPR(time.Time{}, q, done) })
}

// pushed returns the answer to a request of the HSS, a refusing one too.
func pushed[A any](t *testing.T, start func(func(*A, error))) *A {
	t.Helper()
	got := make(chan *A, 1)
	start(func(a *A, err error) {
		if a == nil {
			t.Error("the S-CSCF does not answer the HSS: ", err)
		}
		got <- a
	})
	a := <-got
	synctest.Wait()
	return a
}
