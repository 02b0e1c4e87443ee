package ue

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ipsec"
)

// errChallenge is a 401 that the phone cannot answer at all.
var errChallenge = errors.New("the challenge cannot be answered")

// reply is what the phone makes of a challenge.
type reply struct {
	credentials sip.Credentials
	algorithm   string
	// cause is why the challenge was not accepted: aka.ErrMACFailure or an
	// *aka.SyncFailureError; nil when it was.
	cause error
	keys  [2]ipsec.Key // CK and IK; nothing when there is a cause
}

// authenticate answers the challenge of a 401 (TS 24.229 5.1.1.5.1 to 5.1.1.5.3, TS
// 33.203 6.1, RFC 3310 3). A challenge that the SIM does not accept has a reply
// too: without response for a MAC failure, with auts and the empty password for a
// sequence number out of range.
func (r *registrar) authenticate(m *sip.Message, uri string) (reply, error) {
	ch, alg, err := challengeOf(m)
	if err != nil {
		return reply{}, err
	}
	if alg != aka.AKAv1MD5 && r.phone.profile.AKAv1 {
		return reply{}, fmt.Errorf("%w: algorithm %v, and this phone knows AKAv1-MD5 alone", errChallenge, alg)
	}
	nonce, err := aka.ParseNonce(ch.Nonce)
	if err != nil {
		return reply{}, fmt.Errorf("%w: %w", errChallenge, err)
	}
	out := reply{algorithm: alg.String(), credentials: sip.Credentials{
		Scheme: "Digest", Username: r.phone.cfg.IMPI, Realm: strings.Clone(ch.Realm), Nonce: strings.Clone(ch.Nonce),
		URI: uri, Algorithm: strings.Clone(ch.Algorithm), Opaque: strings.Clone(ch.Opaque),
	}}
	c := &out.credentials
	if r.phone.profile.NoAlgorithm {
		c.Algorithm = ""
	}
	switch want := r.phone.profile.QOP; {
	case ch.QOP == "":
	case ch.OffersQOP(want):
		c.QOP = want
	case ch.OffersQOP(aka.QOPAuth):
		c.QOP = aka.QOPAuth
	case ch.OffersQOP(aka.QOPAuthInt):
		c.QOP = aka.QOPAuthInt
	default:
		return reply{}, fmt.Errorf("%w: qop %q", errChallenge, ch.QOP)
	}
	if c.QOP != "" {
		c.NC, c.CNonce = "00000001", sip.NewTag()
		if r.phone.profile.SameCNonce {
			if r.cnonce == "" {
				r.cnonce = c.CNonce
			}
			c.CNonce = r.cnonce
		}
	}

	answer, err := r.usim.Authenticate(nonce.RAND, nonce.AUTN)
	var sync *aka.SyncFailureError
	var password aka.Secret
	switch {
	case errors.As(err, &sync):
		out.cause = err
		c.AUTS = sync.AUTS.Base64()
	case errors.Is(err, aka.ErrMACFailure):
		// TS 24.229 5.1.1.5.3: an empty response, and no auts.
		out.cause = err
		c.QOP, c.NC, c.CNonce = "", "", ""
		return out, nil
	case err != nil:
		return reply{}, fmt.Errorf("%w: %w", errChallenge, err)
	default:
		res := answer.RES
		if r.phone.faults.Load().WrongRES {
			res = flipped(res)
		}
		password = alg.Password(res, answer.CK, answer.IK)
		if r.phone.guard != nil && copy(out.keys[0][:], answer.CK.Bytes())+copy(out.keys[1][:], answer.IK.Bytes()) != 32 {
			return reply{}, fmt.Errorf("%w: CK and IK of less than 128 bits", errChallenge)
		}
	}
	d := aka.Digest{
		Algorithm: alg, Method: "REGISTER", Username: c.Username, Realm: c.Realm, Nonce: c.Nonce,
		URI: c.URI, QOP: c.QOP, NC: c.NC, CNonce: c.CNonce, Body: []byte(r.phone.profile.Body.Body),
	}
	if c.Response, err = d.Response(password); err != nil {
		return reply{}, fmt.Errorf("%w: %w", errChallenge, err)
	}
	return out, nil
}

// challengeOf returns the first AKA challenge of a 401.
func challengeOf(m *sip.Message) (sip.Challenge, aka.DigestAlgorithm, error) {
	err := errors.New("no WWW-Authenticate")
	for v := range m.Lines(sip.HWWWAuthenticate) {
		ch, perr := sip.ParseChallenge(v)
		if perr != nil {
			err = perr
			continue
		}
		alg, aerr := aka.ParseDigestAlgorithm(ch.Algorithm)
		if aerr != nil {
			err = aerr
			continue
		}
		return ch, alg, nil
	}
	return sip.Challenge{}, 0, fmt.Errorf("%w: %w", errChallenge, err)
}
