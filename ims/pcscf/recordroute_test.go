package pcscf

import (
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
)

// A phone that is reached over a connection finds that in our Record-Route entry,
// and giving it back is not taken for a change of the route.
func TestRecordRouteOfAPhoneOverTCP(t *testing.T) {
	run(t, func(w *world) {
		p := w.peer("alice", "198.51.100.1:5060")
		const contact = "sip:alice@198.51.100.1:5060;transport=tcp"
		token := p.registerOver(p.dial(40000, gmAddr), contact)
		w.scscf.send(mwAddr, w.scscf.text("INVITE", contact, "c1", "Route: <sip:"+token+"@"+mwAddr+";lr>", "Record-Route: "+farRoute[0]))
		a := p.request("INVITE")
		want := []string{"<sip:" + token + "@" + gmAddr + ";lr;transport=tcp>", "<sip:" + token + "@" + mwAddr + ";lr>", farRoute[0]}
		check(t, "Record-Route", values(a.Message, sip.HRecordRoute), want)
		for status, recorded := range map[int][]string{180: want, 183: {"<sip:mine@198.51.100.66;lr>"}} {
			p.reply(a, responseText(a, status, "alice", recorded, "Contact: <"+contact+">"))
			check(t, "Record-Route to the caller", values(w.scscf.status(status).Message, sip.HRecordRoute), want)
		}
		p.reply(a, responseText(a, 486, "alice", nil))
		w.scscf.status(486)
	})
}
