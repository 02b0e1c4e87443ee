package hss

import (
	"fmt"

	"github.com/fiorix/go-diameter/v4/diam/datatype"

	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
)

// reply is how a request is answered, and why.
type reply struct {
	result diameter.Result
	why    string // one sentence
	next   string // what to do about it, for failures
	clause string
	failed []*diameter.AVP
	state  bool // the registration state or the assigned S-CSCF changed
}

// fill puts the result into an answer.
func (r *reply) fill(h *cx.AnswerHeader) {
	h.Result, h.FailedAVP = r.result, r.failed
	if !r.result.IsSuccess() {
		h.ErrorMessage = r.why
	}
}

func success(why string, args ...any) reply {
	return reply{result: diameter.Base(diameter.Success), why: fmt.Sprintf(why, args...)}
}

func experimental(e cx.Experimental, why string, args ...any) reply {
	return reply{result: e.Result(), why: fmt.Sprintf(why, args...)}
}

func base(c diameter.ResultCode, why string, args ...any) reply {
	return reply{result: diameter.Base(c), why: fmt.Sprintf(why, args...)}
}

func (r reply) hint(next string) reply { r.next = next; return r }
func (r reply) changed() reply         { r.state = true; return r }

// missing answers a request without an AVP that this case needs (TS 29.228 6).
func missing(avp string) reply {
	r := base(diameter.MissingAVP, "%s is missing", avp)
	r.failed = []*diameter.AVP{cx.Dictionary().Named(cx.Application, avp).Example()}
	return r
}

// invalid answers a request whose AVP has a value that cannot be.
func invalid(avp string, value datatype.Type, why string, args ...any) reply {
	r := base(diameter.InvalidAVPValue, why, args...)
	r.failed = []*diameter.AVP{cx.Dictionary().Named(cx.Application, avp).New(value)}
	return r
}

// pair finds the two identities of a request, or says what is wrong with them: the
// first checks of UAR, MAR and SAR are the same (TS 29.228 6.1.1.1, 6.1.2.1, 6.3.1).
func (d *database) pair(impi, impu string) (*user, []*user, *reply) {
	u, holders := d.user(impi), d.holders(impu)
	var r reply
	switch {
	case u == nil:
		r = experimental(cx.ErrorUserUnknown, "%.80q is no private identity of a subscriber", impi).
			hint("Add the subscriber to the HSS, or compare its impi with what the SIM gives.")
	case len(holders) == 0:
		r = experimental(cx.ErrorUserUnknown, "%.80q is no public identity of a subscriber", impu).
			hint("Add it to the subscriber's impus.")
	case !contains(holders, u):
		r = experimental(cx.ErrorIdentitiesDontMatch, "%.80q is no public identity of %s", impu, u.impi).
			hint("Add it to that subscriber's impus, or use the IMPI it belongs to.")
	default:
		return u, holders, nil
	}
	return nil, nil, &r
}

func contains(list []*user, u *user) bool {
	for _, o := range list {
		if o == u {
			return true
		}
	}
	return false
}

// features answers a peer that insists on features which this HSS does not have:
// it has none (TS 29.229 7.2.1).
func features(q *cx.RequestHeader) ([]cx.SupportedFeatures, *reply) {
	for _, f := range q.SupportedFeatures {
		if f.Required && f.List != 0 {
			r := experimental(cx.ErrorFeatureUnsupported, "features %#x of list %d are demanded, and none is supported here", f.List, f.ListID)
			return []cx.SupportedFeatures{{Vendor: f.Vendor, ListID: f.ListID}}, &r
		}
	}
	return nil, nil
}
