package attack

import (
	"testing"
	"time"
)

// TestFloods: of each flood a short form, after which honest phones register and call,
// and during which no more is held than was sent. The long form, with what memory it
// costs, is `make flood`.
func TestFloods(t *testing.T) {
	target := startTarget(t, 1, 1)
	const messages = 200
	ran := 0
	err := Floods(t.Context(), target, FloodConfig{For: 10 * time.Second, Messages: messages, Rate: 4000, Conns: 50}, func(r FloodReport) {
		ran++
		if r.Sent < messages {
			t.Errorf("%s: %d of %d sent", r.Name, r.Sent, messages)
		}
		p, before := r.Peak["pcscf"], r.Before["pcscf"]
		held := p.Open + p.Lingering - before.Open - before.Lingering
		if held > 3*messages+60*(r.Honest+1) {
			t.Errorf("%s: the P-CSCF holds %d transactions after %d messages", r.Name, held, messages)
		}
		if r.Name == "registers" && held < messages/4 { // all, but for what is refused as too much
			t.Errorf("%s: %d transactions were seen, of %d messages that leave one each", r.Name, held, messages)
		}
		switch r.Name {
		case "responses", "acks", "invites", "in-dialog", "half-open", "slow-headers", "content-length", "64k-headers", "64k-streams", "10000-headers":
			if held > 60*(r.Honest+1) {
				t.Errorf("%s: %d transactions are held, of what should leave none", r.Name, held)
			}
		}
		t.Logf("%s: %d sent, %d of %d honest, %s", r.Name, r.Sent, r.Honest-r.Failed, r.Honest, r.FirstFailure)
	})
	if err != nil {
		t.Fatal(err)
	}
	if ran != len(floods) {
		t.Errorf("%d floods of %d", ran, len(floods))
	}
}
