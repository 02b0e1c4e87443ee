package pcscf

import (
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/sip/admission"
	"github.com/gocscf/gocscf/ims/sip/proxy"
)

// Only the S-CSCF knows who may have a priority, and it comes later. So of requests in
// which registered phones ask for one claimedPriorities a second may go before all others
// in an overload, and as many at once, and claimedByOne of those that come from one
// place (sip.Flow.Source). What is beyond comes with all others, and repeated requests count.
const (
	claimedPriorities = 50
	claimedByOne      = 5
)

// claims bound what phones get by asking for it.
type claims struct {
	all  *admission.Bucket
	each *admission.Shares // by place
	seed maphash.Seed
}

func newClaims() claims {
	return claims{admission.NewBucket(claimedPriorities), admission.NewShares(claimedByOne, 1024), maphash.MakeSeed()}
}

func (c *claims) allow(now int64, f sip.Flow) bool {
	return c.each.Allow(now, maphash.Comparable(c.seed, f.Source())) && c.all.Allow(now)
}

// mayAskFor reports whether the operator lets phones ask for a priority,
// "namespace.level" (TS 24.229 5.2.1, RFC 4412).
func (s *Server) mayAskFor(priority string) bool {
	namespace, _, _ := strings.Cut(priority, ".")
	return slices.ContainsFunc(s.cfg.ResourcePriority, func(n string) bool { return strings.EqualFold(n, namespace) })
}

// passPriority puts the priorities back that the operator lets phones ask for.
func (s *Server) passPriority(x *proxy.Exchange) {
	if len(s.cfg.ResourcePriority) == 0 || !x.Req.Has(sip.HResourcePriority) {
		return
	}
	var pass []string
	for v := range x.Req.Values(sip.HResourcePriority) {
		if s.mayAskFor(v) {
			pass = append(pass, v)
		}
	}
	if len(pass) > 0 {
		x.Edits.Add(sip.HResourcePriority, strings.Join(pass, ", "))
	}
}

// hasPriority reports whether a request goes before others as its phone asks for that.
// It must be registered: a stranger could use up what there is.
func (s *Server) hasPriority(f sip.Flow, m *sip.Message) bool {
	if len(s.cfg.ResourcePriority) == 0 || !m.Has(sip.HResourcePriority) || !s.registered(f) {
		return false
	}
	for v := range m.Values(sip.HResourcePriority) {
		if s.mayAskFor(v) {
			return s.claims.allow(int64(time.Since(s.began)), f)
		}
	}
	return false
}
