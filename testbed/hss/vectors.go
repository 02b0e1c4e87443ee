package hss

import (
	"errors"
	"strings"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/datatype"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/identity"
	"github.com/gocscf/gocscf/ims/uri"
)

// maxItems bounds the vectors of one answer: the USIM remembers as many sequence
// numbers (TS 33.102 C.2.2).
const maxItems = 32

// schemes are what this HSS supports, by their lower-case names. The vectors are the
// same for all of them.
var schemes = map[string]string{
	"digest-akav1-md5":     cx.SchemeAKAv1,
	"digest-akav2-sha-256": cx.SchemeAKAv2,
	"digest-akav2-md5":     "Digest-AKAv2-MD5",
	"unknown":              cx.SchemeAKAv1,
}

// mar makes authentication vectors (TS 29.228 6.3.1). save is not nil when the
// answer must wait until the state file holds the subscriber's sequence number.
func (d *database) mar(q *cx.MAR, now time.Time, keeps bool) (a *cx.MAA, r reply, save *reservation) {
	a = &cx.MAA{}
	if u, err := uri.Parse(cx.ServerURI(q.ServerName)); err != nil || !u.IsSIP() {
		return a, invalid("Server-Name", datatype.UTF8String(q.ServerName), "Server-Name %.80q is no SIP URI", q.ServerName), nil
	}
	u, _, wrong := d.pair(q.UserName, q.PublicIdentity)
	if wrong != nil {
		return a, *wrong, nil
	}
	if q.Item.Scheme == "" {
		return a, missing("SIP-Authentication-Scheme"), nil
	}
	scheme, ok := schemes[strings.ToLower(q.Item.Scheme)]
	if !ok {
		return a, experimental(cx.ErrorAuthSchemeNotSupported, "scheme %.80q is not supported, only AKA is", q.Item.Scheme).
			hint("Let the S-CSCF ask for " + cx.SchemeAKAv1 + "."), nil
	}
	s := u.sub
	resynchronised := false
	if len(q.Item.Authorization) > 0 {
		if s.scscf != "" && !s.isAssigned(q.ServerName) {
			return a, base(diameter.UnableToComply, "resynchronisation by %.80q, but the user is assigned to %q", q.ServerName, s.scscf), nil
		}
		changed, wrong := u.resynchronise(q.Item.Authorization, now)
		if wrong != nil {
			return a, *wrong, nil
		}
		resynchronised = changed
	}
	var first aka.SQN
	for range min(max(q.NumberAuthItems, 1), maxItems) {
		sqn, err := u.nextSQN(now)
		var v aka.Vector
		if err == nil {
			v, err = aka.NewVector(u.alg, u.nextRAND(), sqn, u.amf)
		}
		if err != nil {
			return &cx.MAA{}, base(diameter.UnableToComply, "no vector can be made: %v", err), nil
		}
		if len(a.Items) == 0 {
			first = sqn
		}
		a.Items = append(a.Items, cx.AuthDataItem{
			ItemNumber: uint32(len(a.Items) + 1), Scheme: scheme,
			Authenticate: v.Nonce(nil).Octets(), Authorization: cx.Secret(v.XRES.Bytes()),
			ConfidentialityKey: cx.Secret(v.CK.Bytes()), IntegrityKey: cx.Secret(v.IK.Bytes()),
		})
	}
	a.NumberAuthItems = uint32(len(a.Items))
	a.UserName, a.PublicIdentity = string(u.impi), q.PublicIdentity
	if keeps && (resynchronised || u.sqn.SQN > u.reserved) {
		save = u.reserve()
	}
	// A MAR by another S-CSCF moves the user there (TS 29.228 8.1).
	r = success("vectors for %s from SQN %v on: %d", u.impi, first, len(a.Items))
	if !s.isAssigned(q.ServerName) || u.state != Registered {
		r = r.changed()
		u.pending = true
	}
	s.assign(q.ServerName, &q.RequestHeader)
	return a, r, save
}

// resynchronise takes over the sequence number that the USIM reports in RAND‖AUTS
// (TS 33.102 6.3.5), and says whether that changed anything.
func (u *user) resynchronise(octets []byte, now time.Time) (bool, *reply) {
	fail := func(r reply) (bool, *reply) { return false, &r }
	rand, auts, err := aka.ParseResyncOctets(octets)
	if err != nil {
		return fail(invalid("SIP-Authorization", datatype.OctetString(octets), "SIP-Authorization holds no RAND and AUTS: %v", err))
	}
	sqnMS, err := aka.VerifyAUTS(u.alg, rand, auts)
	if errors.Is(err, aka.ErrAUTSFailure) {
		return fail(base(diameter.UnableToComply, "MAC-S of AUTS does not verify for %s, so its SQN is not believed", u.impi).
			hint("Compare K, OPc and the algorithm of this subscriber with the SIM."))
	}
	if err != nil {
		return fail(base(diameter.UnableToComply, "resynchronisation failed: %v", err))
	}
	if u.first != nil { // a number that was only prescribed has not been used
		u.sqn.SQN, u.first = *u.first, nil
	}
	changed, err := aka.SQNProfile{}.Resynchronise(&u.sqn, sqnMS, now)
	if err != nil {
		return fail(base(diameter.UnableToComply, "resynchronisation failed: %v", err))
	}
	return changed, nil
}

// blockSEQ is how many values of SEQ are reserved ahead in the state file, so that
// it is written once for so many vectors of a subscriber.
const blockSEQ = 32

// reservation asks for a sequence number to be kept before it is used.
type reservation struct {
	impi identity.IMPI
	sqn  aka.SQN
}

// reserve makes the reservation that covers what was just used and the next block.
func (u *user) reserve() *reservation {
	sqn := u.sqn.SQN
	if u.first != nil {
		sqn = *u.first
	}
	const maxSQN = 1<<48 - 1
	return &reservation{u.impi, min(sqn+blockSEQ<<5, maxSQN)}
}
