package diameter

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

func TestUnusableAnswersAreErrorsAndNeverHang(t *testing.T) {
	resultAVP := Base(Success).AVP()
	exp := func(code uint32) *AVP { return Result{Code: code, Experimental: true, Vendor: Vendor3GPP}.AVP() }
	for _, c := range []struct {
		name   string
		avps   []*AVP
		change func(*Message)
		want   string // part of the error, "" for none
		result Result // of the ResultError in the chain
	}{
		{name: "success", avps: []*AVP{resultAVP}},
		{name: "experimental success", avps: []*AVP{exp(2002)}},
		{name: "limited success", avps: []*AVP{Base(LimitedSuccess).AVP()}},
		{name: "no result", want: "neither Result-Code nor Experimental-Result"},
		{name: "base failure", avps: []*AVP{Base(UnableToComply).AVP()}, want: "DIAMETER_UNABLE_TO_COMPLY (5012)", result: Base(UnableToComply)},
		{name: "experimental failure", avps: []*AVP{exp(5001)}, want: "Experimental-Result-Code 5001", result: Result{5001, true, Vendor3GPP}},
		{name: "success and experimental failure", avps: []*AVP{resultAVP, exp(5005)}, want: "5005", result: Result{5005, true, Vendor3GPP}},
		{name: "failure and experimental success", avps: []*AVP{Base(MissingAVP).AVP(), exp(2001)}, want: "DIAMETER_MISSING_AVP", result: Base(MissingAVP)},
		{name: "failure twice", avps: []*AVP{Base(UnableToComply).AVP(), exp(4100)}, want: "4100", result: Result{4100, true, Vendor3GPP}},
		{name: "other application", avps: []*AVP{exp(5005)}, change: func(m *Message) { m.Application = 16777217 }, want: "application 16777217", result: Result{5005, true, Vendor3GPP}},
		{name: "other application, success", avps: []*AVP{resultAVP}, change: func(m *Message) { m.Application = 16777217 }, want: "application 16777217"},
		{name: "other command", avps: []*AVP{resultAVP}, change: func(m *Message) { m.Command = 901 }, want: "command 901"},
		{name: "E bit with success", avps: []*AVP{resultAVP}, change: func(m *Message) { m.Flags |= FlagError }, want: "E bit"},
		{name: "broken AVP", avps: []*AVP{resultAVP, {Code: testNumber, Flags: mv, VendorID: Vendor3GPP, Data: datatype.OctetString("abc")}}, want: "malformed"},
		{name: "unknown AVP with the M bit", avps: []*AVP{resultAVP, {Code: 9999, Flags: avp.Mbit, Data: datatype.OctetString("abc")}}},
		{name: "Auth-Session-State twice", avps: []*AVP{resultAVP, newAVP(avp.AuthSessionState, datatype.Enumerated(1)), newAVP(avp.AuthSessionState, datatype.Enumerated(1))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := newMemNet()
				l := mem.listen("hss:3868")
				n := client(t, mem, nil, "hss:3868")
				p := acceptRaw(t, l)
				p.accept("hss.example.net")
				ready(t, n)
				start := time.Now()
				ch := do(n, time.Minute, testRequest(n, "a"))
				q := p.read()
				a := &Message{Command: q.Command, Application: q.Application, HopByHop: q.HopByHop, EndToEnd: q.EndToEnd, AVPs: c.avps}
				if c.change != nil {
					c.change(a)
				}
				p.send(a)
				r := <-ch
				if !r.at.Equal(start) {
					t.Errorf("took %v", r.at.Sub(start))
				}
				if c.want == "" != (r.err == nil) || r.err != nil && !strings.Contains(r.err.Error(), c.want) {
					t.Fatalf("error %v, want %q", r.err, c.want)
				}
				if r.a == nil {
					t.Error("no answer with the error")
				}
				var e *ResultError
				if errors.As(r.err, &e); (e != nil) != (c.result != Result{}) || e != nil && e.Result != c.result {
					t.Errorf("result error %v, want %v", e, c.result)
				}
				p.alive()
			})
		})
	}
}
