package node

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gocscf/gocscf/diameter"
)

func TestDiameterConfigReportsEveryFault(t *testing.T) {
	tests := []struct {
		name string
		c    DiameterConfig
		want []string // parts of the error, a line each; nil = none
	}{
		{"by address", DiameterConfig{Peers: []DiameterPeer{{Address: "192.0.2.1:3868"}, {Address: "[2001:db8::1]:3868"}}}, nil},
		{"by name", DiameterConfig{Peers: []DiameterPeer{{Address: "hss.example.org:3868"}}}, nil},
		{"no peer", DiameterConfig{}, []string{"diameter.peers is empty"}},
		{"everything", DiameterConfig{Timeout: -1, Peers: []DiameterPeer{
			{Address: "192.0.2.1"}, {Address: ""}, {Address: ":3868"}, {Address: "hss:http"}, {Address: "hss:0"}, {Address: "hss:3868"},
		}}, []string{
			"diameter.peers[0].address", "diameter.peers[1].address", "diameter.peers[2].address",
			"diameter.peers[3].address", "diameter.peers[4].address", "diameter.timeout",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.c.Check()
			if tt.want == nil {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Errorf("%d faults, want %d:\n%v", len(lines), len(tt.want), err)
			}
			for i := range min(len(lines), len(tt.want)) {
				if !strings.HasPrefix(lines[i], tt.want[i]) {
					t.Errorf("fault %d is %q, want %s", i, lines[i], tt.want[i])
				}
			}
		})
	}
}

// What is not configured follows from the function's name and the domain; with no
// HSS connected a function is not ready.
func TestCxDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := Deps{Log: zap.NewNop()}
		c, err := d.NewCx(DiameterConfig{Peers: []DiameterPeer{{Address: "192.0.2.1:3868"}}}, "icscf", "ims.example.org", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if h, r := c.Node.OriginHost(), c.Node.OriginRealm(); h != "icscf.ims.example.org" || r != "ims.example.org" {
			t.Errorf("calls itself %s of %s", h, r)
		}
		if left := time.Until(c.Deadline()); left != DefaultCxTimeout {
			t.Errorf("an HSS has %v", left)
		}
		if c.Ready() == nil {
			t.Error("ready without an HSS")
		}
	})
}

func TestCxNames(t *testing.T) {
	d := Deps{Log: zap.NewNop()}
	cfg := DiameterConfig{OriginHost: "p1.example.net", OriginRealm: "example.net", Timeout: Duration(time.Second), Peers: []DiameterPeer{{Address: "192.0.2.1:3868"}}}
	c, err := d.NewCx(cfg, "icscf", "ims.example.org", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if h, r := c.Node.OriginHost(), c.Node.OriginRealm(); h != "p1.example.net" || r != "example.net" || c.Timeout != time.Second {
		t.Errorf("calls itself %s of %s, timeout %v", h, r, c.Timeout)
	}
	cfg.OriginHost = "not a host"
	if c, err := d.NewCx(cfg, "icscf", "ims.example.org", nil, nil); err == nil {
		c.Close()
		t.Error("a name that is no DiameterIdentity is accepted")
	}
}

// TestCxCommand: what goes over Cx is told apart by its command, what is of the base
// protocol or of nobody is none.
func TestCxCommand(t *testing.T) {
	message := func(flags byte, code uint32) []byte {
		b := make([]byte, diameter.HeaderLen)
		b[0], b[3] = 1, byte(len(b))
		binary.BigEndian.PutUint32(b[4:], code)
		b[4] = flags
		return b
	}
	for _, tt := range []struct {
		raw  []byte
		want string
	}{
		{message(0xc0, 300), "UAR"}, {message(0x40, 300), "UAA"}, {message(0xc0, 301), "SAR"}, {message(0x40, 302), "LIA"}, {message(0xc0, 303), "MAR"},
		{message(0xc0, 304), "RTR"}, {message(0x60, 305), "PPA"},
		{message(0x80, 280), ""}, {message(0x80, 306), ""}, {message(0xff, 0xffffff), ""}, {message(0x80, 300)[:diameter.HeaderLen-1], ""}, {nil, ""},
	} {
		got := ""
		if i := cxCommand(tt.raw); i >= 0 {
			got = cxCommands[i]
		}
		if got != tt.want {
			t.Errorf("%x is %q, want %q", tt.raw, got, tt.want)
		}
	}
}

// TestPeersUp: a connection that comes back after a failure is one that is used, before it
// has answered its watchdogs, too.
func TestPeersUp(t *testing.T) {
	reg := prometheus.NewRegistry()
	o := Deps{Log: zap.NewNop(), Metrics: reg}.ObserveDiameter()
	remote := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 3868}
	for i, step := range []struct {
		state diameter.State
		port  int
		want  float64
	}{
		{diameter.Okay, 1, 1}, {diameter.Suspect, 1, 1}, {diameter.Down, 1, 0},
		{diameter.Reopen, 2, 1}, {diameter.Okay, 2, 1}, {diameter.Down, 2, 0},
	} {
		e := diameter.ConnectionEvent{State: step.state, Local: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: step.port}, Remote: remote}
		if step.state == diameter.Down {
			e.Err = io.EOF
		}
		o.Connection(e)
		if i < 2 {
			o.Refused(diameter.RefusedEvent{Local: remote, Err: io.EOF})
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		up, refused := -1.0, -1.0
		for _, f := range families {
			if f.GetName() == "gocscf_diameter_peers_up" {
				up = f.GetMetric()[0].GetGauge().GetValue()
			}
			if f.GetName() == "gocscf_diameter_refused_total" {
				refused = f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		if want := float64(min(i+1, 2)); refused != want {
			t.Errorf("step %d: %v were refused, want %v", i, refused, want)
		}
		if up != step.want {
			t.Errorf("step %d, %v: %v are up, want %v", i, step.state, up, step.want)
		}
	}
}
