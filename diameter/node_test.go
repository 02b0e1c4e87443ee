package diameter

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

func TestRequestAndAnswerOverOneConnectionInBothDirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := newMemNet()
		hss := server(t, mem, "hss.example.net", "hss:3868", nil)
		var seen string
		cscf := client(t, mem, func(c *Config) {
			c.Handler = func(r *Request) {
				seen = r.Peer
				_ = r.Answer(r.NewAnswer(Base(Success)))
			}
		}, "hss:3868")
		ready(t, cscf)
		a, err := cscf.Call(context.Background(), testRequest(cscf, "up"))
		if err != nil {
			t.Fatal(err)
		}
		if a.OriginHost() != "hss.example.net" || a.Peer != "hss.example.net" {
			t.Errorf("answer of %q through %q", a.OriginHost(), a.Peer)
		}
		down := testRequest(hss, "down")
		down.Add(newAVP(avp.DestinationHost, datatype.DiameterIdentity("client.example.net")))
		if _, err := hss.Call(context.Background(), down); err != nil {
			t.Fatal(err)
		}
		if seen != "hss.example.net" {
			t.Errorf("request down the connection came from %q", seen)
		}
	})
}
