package scscf

import (
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/registrar"
	"github.com/gocscf/gocscf/ims/sip"
)

// A 2xx of another fork that comes long after the first is changed as that was: of the
// call the S-CSCF has kept what it needs for it, on either side.
func TestALateForkIsTreatedAsTheFirst(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		again := func(from, back *peer, m *sip.Message, charging, alias, history string) {
			t.Helper()
			for _, tag := range []string{"first", "fork"} {
				b := sip.NewResponse(m, 200, "", tag).Add(sip.HPAssertedIdentity, "<sip:bob@home.test>")
				from.write(b.Bytes())
				got := back.want("200")
				w.header(got, sip.HPChargingVector, charging)
				w.header(got, sip.HPAssertedIdentity, alias)
				w.header(got, sip.HHistoryInfo, history)
				time.Sleep(20 * time.Second)
			}
		}
		w.register(user(nil, id("sip:bob@home.test"), id("tel:+4922")), registrar.Binding{Contact: "sip:bob@10.0.0.2:5060"})
		w.i.send("INVITE", "sip:bob@home.test", "Supported: histinfo")
		again(w.p, w.i, w.p.want("INVITE"), `icid-value="ic1";orig-ioi="Type 1visited.test";term-ioi="Type 2home.test"`,
			"<sip:bob@home.test> | <tel:+4922>", "<sip:bob@home.test>;index=1 | <sip:bob@10.0.0.2:5060>;index=1.1;rc=1")
		w.alice()
		w.p.call("sip:carol@home.test")
		again(w.i, w.p, w.i.want("INVITE"), `icid-value="ic1";orig-ioi="Type 1visited.test";term-ioi="Type 1home.test"`, "<sip:bob@home.test>", "")
	})
}
