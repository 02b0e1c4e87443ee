package as

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gocscf/gocscf/ims/ifc"
	"github.com/gocscf/gocscf/ims/node"
	"github.com/gocscf/gocscf/ims/profile"
	ours "github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/ims/trace"
)

func TestTheTraceHasEveryMessage(t *testing.T) {
	for _, proto := range []string{"udp", "tcp"} {
		t.Run(proto, func(t *testing.T) {
			var stream trace.Stream
			sub := stream.Subscribe(100)
			s := startTraced(t, DefaultConfig(), &stream)
			a, b := newPeer(t, s), newPeer(t, s)
			from := a.addr
			if proto == "tcp" {
				from = a.dial().conn.LocalAddr().String()
			}
			a.send(inviteFrom(a, b, "1", ""))
			m := b.want("INVITE")
			b.respond(m, 486, "t", "", "")
			a.want("486 INVITE")
			b.want("ACK")
			a.send(ackTo(a, "1"))
			waitFor(t, func() bool { return s.Counts().Messages == 3 })
			a.send(optionsText(a, s.URI()))
			a.want("200 OPTIONS")
			sub.Close()
			counts := map[string]int{}
			decisions := 0
			for e := range sub.C() {
				if e.Kind == trace.Decision {
					decisions++
					if e.ICID != "icid-1" || e.CallID != "call-1@192.0.2.1" || e.Clause == "" || e.Text == "" {
						t.Errorf("decision %+v", e)
					}
					continue
				}
				m, err := ours.Parse(string(e.Raw))
				if err != nil || e.Node != "as" || e.Kind != trace.SIP || e.Local != s.Addr().String() {
					t.Fatalf("event %+v: %v", e, err)
				}
				if m.Status() == 100 {
					continue
				}
				who := map[string]string{b.addr: "b", from: "a"}[e.Remote]
				counts[e.Dir+" "+who+" "+e.Proto+" "+describeMessage(m)]++
			}
			for what, n := range map[string]int{
				"in a " + proto + " INVITE": 1, "out b udp INVITE": 1, "in b udp 486 INVITE": 1, "out b udp ACK": 1,
				"out a " + proto + " 486 INVITE": 1, "in a " + proto + " ACK": 1,
				"in a " + proto + " OPTIONS": 1, "out a " + proto + " 200 OPTIONS": 1,
			} {
				if counts[what] != n {
					t.Errorf("%s: %d times, want %d; all are %v", what, counts[what], n, counts)
				}
			}
			equal(t, "decisions", decisions, 1)
		})
	}
}

func TestGarbageIsLoggedWithoutItsText(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	s, err := New(DefaultConfig(), node.Deps{Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	a := newPeer(t, s)
	for _, raw := range []string{
		"\r\n\r\n", "x", "SECRET garbage\r\n\r\n", "INVITE sip:a SIP/2.0\r\n\r\n", "SIP/2.0 200 OK\r\n\r\n",
		"OPTIONS sip:a SIP/2.0\r\nVia: x\r\n\r\n", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\nCSeq: 1 INVITE\r\nTo: <sip:a>\r\n\r\n",
	} {
		if _, err := a.udp.WriteTo([]byte(raw), net.UDPAddrFromAddrPort(s.Addr())); err != nil {
			t.Fatal(err)
		}
	}
	a.send(optionsText(a, s.URI()))
	a.want("200 OPTIONS")
	s.Close()
	if err := <-done; err != nil {
		t.Errorf("Run after Close: %v", err)
	}
	found := false
	for _, e := range logs.All() {
		for k, v := range e.ContextMap() {
			if text, ok := v.(string); ok && k == "data" {
				t.Errorf("%s: %s=%q", e.Message, k, text)
			}
		}
		found = found || strings.Contains(e.Message, "failed to parse")
	}
	if !found {
		t.Error("no line about what could not be parsed")
	}
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	// goleak in TestMain sees what stays behind.
	cfg := DefaultConfig()
	s, err := New(cfg, node.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(context.Background()) }()
	a, b := newPeer(t, s), newPeer(t, s)
	a.dial()
	a.send(inviteFrom(a, b, "1", "X-Long: "+strings.Repeat("x", 1300)+"\n"))
	m := b.accept().want("INVITE")
	b.respond(m, 180, "t", "", "")
	a.want("180 INVITE")
	begin := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > 2*time.Second {
		t.Errorf("closing took %v", d)
	}
	if err := s.Ready(); err == nil {
		t.Error("ready after Close")
	}
	if err := s.Close(); err != nil {
		t.Error("second Close:", err)
	}
}

func TestAServerThatNeverRanCloses(t *testing.T) {
	s, err := New(DefaultConfig(), node.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	other := DefaultConfig()
	other.Listen = s.Addr().String()
	if _, err := New(other, node.Deps{}); err == nil {
		t.Error("two servers have one port")
	}
	s.Close()
	if err := s.Run(context.Background()); err != nil {
		t.Errorf("Run after Close: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	s, err := New(DefaultConfig(), node.Deps{Metrics: reg})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	go func() { _ = s.Run(context.Background()) }()
	a := newPeer(t, s)
	a.send(optionsText(a, s.URI()))
	a.want("200 OPTIONS")
	if err := s.Ready(); err != nil {
		t.Error(err)
	}
	a.send(strings.ReplaceAll(optionsText(a, s.URI()), "OPTIONS", "XYZZY"))
	a.want("500 XYZZY")
	want := "# HELP gocscf_as_requests_total SIP requests received, without retransmissions, by method.\n# TYPE gocscf_as_requests_total counter\n" +
		"gocscf_as_requests_total{method=\"OPTIONS\"} 1\ngocscf_as_requests_total{method=\"other\"} 1\n"
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "gocscf_as_requests_total"); err != nil {
		t.Error(err)
	}
}

func TestAConfigurationIsRefusedWithAllItsFaults(t *testing.T) {
	ok := DefaultConfig()
	if err := ok.Check(); err != nil {
		t.Fatal(err)
	}
	if err := (&Config{}).Check(); err != nil {
		t.Errorf("all defaults: %v", err)
	}
	bad := Config{
		Listen: "0.0.0.0:5060", Mode: "prox", Name: "a b", Header: "X: y", Status: 200, Target: "nobody", OnBehalfOf: "sip:a@b",
		SCSCF: "<sip:a>", RegisterStatus: 100, Keep: -1, Reason: "a\r\nb",
	}
	err := bad.Check()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, key := range []string{"listen", "mode is", "name", "header", "status is 200", "target", "on-behalf-of", "scscf", "register-status", "keep", "reason"} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("no word about %s in:\n%v", key, err)
		}
	}
	redirect := Config{Mode: Redirect}
	if err := redirect.Check(); err == nil || !strings.Contains(err.Error(), "target is missing") {
		t.Errorf("redirect without target: %v", err)
	}
	if _, err := New(bad, node.Deps{}); err == nil {
		t.Error("New takes it")
	}
}

func TestCriteriaMatchWhatTheySay(t *testing.T) {
	list := []profile.InitialFilterCriteria{
		INVITECriterion("sip:127.0.0.1:5070", 10, profile.OriginatingRegistered),
		RegisterCriterion("sip:127.0.0.1:5071", 5, "gold", profile.InitialRegistration),
		Criterion("sip:127.0.0.1:5072", 20, "MESSAGE", profile.TerminatingUnregistered, profile.SessionTerminated),
	}
	parsed, err := profile.ParseCriteria([]byte(XML(list...)))
	if err != nil {
		t.Fatal(err)
	}
	chain, err := ifc.Compile(parsed)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		method string
		c      profile.SessionCase
		want   string
	}{
		{"INVITE", profile.OriginatingRegistered, "sip:127.0.0.1:5070"},
		{"INVITE", profile.TerminatingRegistered, ""},
		{"MESSAGE", profile.TerminatingUnregistered, "sip:127.0.0.1:5072"},
		{"MESSAGE", profile.OriginatingRegistered, ""},
	} {
		got := ""
		if c, ok := chain.Next(0, bare(tt.method), ifc.Session{Case: tt.c}); ok {
			got = c.Server.ServerName
		}
		equal(t, tt.method+" "+tt.c.String(), got, tt.want)
	}
	equal(t, "service information", parsed[1].ApplicationServer.ServiceInfo, "gold")
}

// bare is a request without headers.
type bare string

func (b bare) Method() string                      { return string(b) }
func (bare) RequestURI() string                    { return "sip:bob@ims.example" }
func (bare) Headers(func(name, value string) bool) {}
func (bare) SDPLines(func(line string) bool)       {}

func TestTheCommandLine(t *testing.T) {
	parse := func(args ...string) (*Cmd, error) {
		var c Cmd
		p, err := kong.New(&c, kong.Name("as"), kong.Exit(func(int) {}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Parse(args)
		return &c, err
	}
	c, err := parse("--listen=127.0.0.1:0", "--mode=reject", "--status=480", "--no-record-route", "--http=127.0.0.1:0", "--log-level=error")
	if err != nil {
		t.Fatal(err)
	}
	if cfg := c.config(); cfg.Mode != Reject || cfg.Status != 480 || cfg.RecordRoute || cfg.Header != "X-AS" {
		t.Errorf("configuration %+v", cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := c.run(ctx, func(*Server) { cancel() }); err != nil {
		t.Errorf("run: %v", err)
	}
	var exit *ExitError
	c.Mode = "redirect"
	if err := c.run(context.Background(), nil); !errors.As(err, &exit) || exit.ExitCode() != node.ExitConfig || strings.Contains(err.Error(), "\n") {
		t.Errorf("a redirect without target: %v", err)
	}
	c.Mode, c.HTTP = "proxy", "127.0.0.1:-1"
	if err := c.run(context.Background(), nil); !errors.As(err, &exit) || exit.ExitCode() != node.ExitFailed {
		t.Errorf("an impossible port for HTTP: %v", err)
	}
	if _, err := parse("--mode=nothing"); err == nil {
		t.Error("a mode that does not exist")
	}
}
