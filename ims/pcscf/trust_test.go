package pcscf

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gocscf/gocscf/ims/sip"
)

// A phone that reaches Mw is not the core: neither what it asks there nor what it
// answers, acknowledges or cancels counts, though it has read the branches and tokens
// of others.
func TestPhoneThatReachesMw(t *testing.T) {
	trust := func(c *Config) {
		c.Trusted = append(c.Trusted, netip.MustParsePrefix("192.0.2.10/31"))
	}
	secure(t, func(w *world) {
		u := w.ue("alice", "192.0.2.50").up()
		token := w.token("alice")
		evil := w.peer("evil", "192.0.2.66:5060")
		along := fmt.Sprintf("Route: <"+mwEntry+">", token)
		for _, lines := range [][]string{
			{along, "P-Asserted-Identity: <sip:boss@" + domain + ">"},
			{along, "To: <sip:alice@" + domain + ">;tag=x"},
			{"To: <sip:alice@" + domain + ">"},
		} {
			evil.send(mwAddr, evil.text("MESSAGE", "sip:alice@"+u.addr.String(), sip.NewCallID(), lines...))
			evil.refused(403, "not of the trust domain")
		}
		evil.send(mwAddr, evil.text("ACK", "sip:alice@"+u.addr.String(), "a1", along, "To: <sip:alice@"+domain+">;tag=x"))

		// It answers for the core, and cancels for the caller.
		u.say(u.text("INVITE", "sip:evil@"+domain, "c1"))
		in := w.scscf.request("INVITE")
		evil.send(mwAddr, string(sip.NewResponse(in.Message, 200, "", "evil").AddName("Contact", "<sip:evil@192.0.2.66>").Bytes()))
		u.nothing(time.Second)
		w.scscf.answer(in, 486)
		u.status(486)
		text := w.scscf.text("INVITE", "sip:alice@"+u.addr.String(), "c2", along)
		w.scscf.send(mwAddr, text)
		in = u.request("INVITE")
		u.respond(in, 180)
		w.scscf.status(180)
		cancel := text[:strings.Index(text, "Content-Length")] + "Content-Length: 0\r\n\r\n"
		cancel = strings.ReplaceAll(cancel, "INVITE", "CANCEL")
		evil.send(mwAddr, cancel)
		u.nothing(time.Second)
		w.scscf.send(mwAddr, cancel)
		u.respond(u.request("CANCEL"), 200)
		u.respond(in, 487)
		w.scscf.status(200)
		w.scscf.status(487)
	}, trust)
}
