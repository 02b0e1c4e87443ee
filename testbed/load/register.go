package load

import (
	"errors"
	"strconv"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
)

// maxChallenges is how often a phone answers in one attempt: a resynchronisation needs
// two, and a stale nonce is no fault.
const maxChallenges = 3

// beginRegister begins a REGISTER of any kind. A phone that is registered keeps its
// Call-ID and sends what it answered last (TS 24.229 5.1.1.4.1).
func (e *engine) beginRegister(a *attempt) {
	p := a.from
	if a.kind == Register || a.kind == Recover {
		p.boot++
		p.cseq, p.credentials = 0, ""
	}
	a.callID = e.appendCallID(a.callID[:0], callRegister, uint64(p.boot), p, nil)
	e.sendRegister(a)
}

func (e *engine) sendRegister(a *attempt) {
	p, t := a.from, &a.main
	p.cseq++
	a.cseq = p.cseq
	t.branch = e.newBranch()
	b := e.request(t.request[:0], p, "REGISTER", e.home, nil, a.callID, a.cseq, t.branch)
	b = e.appendFrom(b, p)
	b = append(e.appendIMPU(append(b, "To: <"...), p.index), ">\r\n"...)
	b = append(e.appendContact(b, p), `;+sip.instance="<urn:gsma:imei:`...)
	e.uri = e.appendIMSI(e.uri[:0], p.index)
	b = append(append(append(b, e.uri[1:9]...), '-'), e.uri[9:]...) // an IMEI made of the IMSI
	b = append(b, `-0>";+g.3gpp.smsip`+"\r\nExpires: "...)
	expires := e.cfg.Expires
	if a.kind == Deregister {
		expires = 0
	}
	b = strconv.AppendInt(b, int64(expires), 10)
	b = append(append(b, "\r\nSupported: path, gruu\r\n"...), agent...)
	b = append(append(e.appendIMSI(append(b, `Authorization: Digest username="`...), p.index), '@'), e.cfg.Domain...)
	b = append(append(append(b, `",realm="`...), e.cfg.Domain...), `",uri="`...)
	b = append(append(b, e.home...), '"')
	if p.credentials == "" {
		b = append(b, `,nonce="",response=""`...)
	}
	b = append(append(b, p.credentials...), "\r\n"...)
	t.request = appendBody(b, "", "")
	e.start(a, t, "REGISTER")
}

// registerAnswered takes the final answer to a REGISTER.
func (e *engine) registerAnswered(a *attempt, h *heard) {
	p := a.from
	switch {
	case h.status == 401:
		if a.challenges++; a.challenges > maxChallenges {
			e.fail(a, "REGISTER: challenged again and again")
			return
		}
		if err := e.authenticate(p, h); err != nil {
			e.fail(a, "REGISTER: "+err.Error())
			return
		}
		e.after(a, e.cfg.Think, answerChallenge)
	case h.status >= 300:
		e.refused(a, h)
	case a.kind == Deregister:
		p.registered, p.sub, p.credentials = false, nil, ""
		e.succeed(a)
	default:
		p.registered = true
		if a.kind != Reregister {
			p.sub = nil // an initial registration begins everything anew
		}
		e.uri = e.uri[:0]
		e.uri = append(append(append(e.uri, "Route: <sip:"...), p.pcscf.String()...), ";lr>\r\n"...)
		for _, s := range h.services {
			e.uri = append(append(append(e.uri, "Route: "...), s...), "\r\n"...)
		}
		shared, ok := e.routes[string(e.uri)]
		if !ok {
			shared = append([]byte(nil), e.uri...)
			if len(e.routes) < maxRoutes {
				e.routes[string(shared)] = shared
			}
		}
		p.routes = shared
		e.succeed(a)
	}
}

// maxRoutes bounds what is remembered for sharing; a core that gives each phone a
// Service-Route of its own gets no more.
const maxRoutes = 1000

var (
	errChallenge = errors.New("a challenge that cannot be answered")
	errMAC       = errors.New("MAC failure: K or OPc differ from the HSS's")
)

// authenticate makes a phone's credentials for a challenge.
func (e *engine) authenticate(p *phone, h *heard) error {
	ch, err := sip.ParseChallenge(string(h.authenticate))
	if err != nil {
		return errChallenge
	}
	alg, err := aka.ParseDigestAlgorithm(ch.Algorithm)
	if err != nil {
		return errChallenge
	}
	nonce, err := aka.ParseNonce(ch.Nonce)
	if err != nil {
		return errChallenge
	}
	if p.sim == nil {
		seen, err := aka.NewSQNArray(0, aka.SQNArrayOptions{})
		if err != nil {
			return errChallenge
		}
		p.sim = &aka.USIM{Algorithm: e.milenage, SQN: seen}
	}
	d := aka.Digest{
		Algorithm: alg, Method: "REGISTER", Username: string(e.appendIMSI(nil, p.index)) + "@" + e.cfg.Domain, Realm: ch.Realm, Nonce: ch.Nonce,
		URI: string(e.home),
	}
	if ch.OffersQOP(aka.QOPAuth) {
		d.QOP, d.NC, d.CNonce = aka.QOPAuth, "00000001", strconv.FormatUint(e.newBranch()|1<<32, 36)
	}
	var password aka.Secret
	b := append(append([]byte(`,nonce="`), ch.Nonce...), `",algorithm=`...)
	b = append(b, ch.Algorithm...)
	answer, err := p.sim.Authenticate(nonce.RAND, nonce.AUTN)
	if sync := (*aka.SyncFailureError)(nil); errors.As(err, &sync) {
		b = append(append(append(b, `,auts="`...), sync.AUTS.Base64()...), '"')
	} else if err != nil {
		return errMAC
	} else {
		password = alg.Password(answer.RES, answer.CK, answer.IK)
	}
	response, err := d.Response(password)
	if err != nil {
		return errChallenge
	}
	b = append(append(append(b, `,response="`...), response...), '"')
	if ch.Opaque != "" {
		b = append(append(append(b, `,opaque="`...), ch.Opaque...), '"')
	}
	if d.QOP != "" {
		b = append(append(append(b, ",qop="...), d.QOP...), ",nc="...)
		b = append(append(append(append(b, d.NC...), `,cnonce="`...), d.CNonce...), '"')
	}
	p.credentials = string(b)
	return nil
}
