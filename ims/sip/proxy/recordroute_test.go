package proxy

import (
	"slices"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
)

// A phone that is connected over a stream may have nothing else: by our entry in
// its route set it must come back that way (RFC 3263 4.1 would have it take UDP).
func TestRecordRouteTowardsStreams(t *testing.T) {
	const gm = "<sip:tok@192.0.2.1:5080;lr>"
	const gmTCP = "<sip:tok@192.0.2.1:5080;lr;transport=tcp>"
	const core = "<sip:tok@192.0.2.1:5060;lr>"
	var phone sip.Flow
	h := handlerFunc(func(x *Exchange) {
		switch {
		case x.Req.Method() == "REGISTER":
			phone = x.Flow
			x.Reply(200, "")
		case x.Flow.Role == sip.RoleGm:
			x.Forward(Target{Hop: hop("192.0.2.20:5060"), RecordRoute: &Own{User: "tok"}})
		default:
			x.Forward(Target{Hop: Hop{Flow: phone}, RecordRoute: &Own{User: "tok"}})
		}
	})
	for _, tt := range []struct {
		proto        sip.Proto
		from, toward string
	}{
		{sip.UDP, core + ", " + gm, gm + ", " + core},
		{sip.TCP, core + ", " + gmTCP, gmTCP + ", " + core},
	} {
		t.Run(tt.proto.String(), func(t *testing.T) {
			run(t, h, func(w *world) {
				p, b := w.peer("phone", "192.0.2.10", true), w.peer("bob", "192.0.2.20", true)
				defer p.close()
				defer b.close()
				via := "Via: SIP/2.0/" + tt.proto.String() + " 192.0.2.10:5060;branch=z9hG4bK"
				p.sendTo(tt.proto, gmAddr, p.text("REGISTER", "sip:test", "r", via+"r"))
				p.status(200)
				check(t, "Entry", w.core.Entry(phone, Own{User: "tok"}), strings.Split(tt.toward, ", ")[0])

				p.sendTo(tt.proto, gmAddr, p.text("SUBSCRIBE", "sip:bob@test", "s", via+"s"))
				m := b.request("SUBSCRIBE")
				check(t, "from the phone", strings.Join(slices.Collect(m.msg.Values(sip.HRecordRoute)), ", "), tt.from)
				b.answer(m, 200)
				p.status(200)

				b.send(b.text("SUBSCRIBE", "sip:phone@test", "t"))
				m = p.request("SUBSCRIBE")
				check(t, "towards the phone", strings.Join(slices.Collect(m.msg.Values(sip.HRecordRoute)), ", "), tt.toward)
				p.answer(m, 200)
				b.status(200)
				w.quiet()
			})
		})
	}
}
