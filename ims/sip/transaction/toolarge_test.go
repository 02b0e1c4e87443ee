package transaction

import (
	"strings"
	"testing"

	"github.com/gocscf/gocscf/ims/sip"
)

// A response that would end its stream is not put there. A 500 is, in place of a final
// one, also when the request comes again.
func TestResponseTooLargeForAStream(t *testing.T) {
	for _, c := range []struct {
		name, method string
		flow         sip.Flow
		status       []int
		want         string
	}{
		{"a final response", "MESSAGE", tcp, []int{200}, "500 MESSAGE, 500 MESSAGE"},
		{"a provisional one", "INVITE", tcp, []int{183, 486}, "500 INVITE, 500 INVITE"},
		{"a 2xx to an INVITE", "INVITE", tcp, []int{200, 200}, "500 INVITE, 500 INVITE"},
		{"a datagram", "MESSAGE", udp, []int{200}, "200 MESSAGE, 200 MESSAGE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{NoTrying: true}, func(r *rig) {
				status := 0
				r.tu.request = func(s *Server) {
					for _, n := range c.status {
						s.Respond(n, sip.NewResponse(s.Req, n, "", "us").AddName("X-Long", strings.Repeat("x", sip.MaxHeader)).Bytes())
					}
					status = s.Status()
				}
				in := request(c.method, "1", "")
				if c.flow == tcp {
					in = strings.Replace(in, "/UDP", "/TCP", 1)
				}
				r.receive(c.flow, in)
				r.receive(c.flow, in)
				r.want("sent", lines(r.wire.take()), c.want)
				if want := c.want[:3]; want == "500" && status != 500 || want != "500" && status != 200 {
					r.Errorf("the User is told that %d was sent", status)
				}
			})
		})
	}
}
