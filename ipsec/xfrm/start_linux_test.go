package xfrm

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
)

func TestInstancesDoNotTouchEachOther(t *testing.T) {
	f := newFakeKernel()
	// Another P-CSCF at the same address, one at another, and another program with
	// our addresses and ports.
	beside, _ := started(t, f, func(c *Config) { c.Ports = []uint16{5200, 6201} })
	s := set(2, sha1Null)
	s.Local.PortC, s.Local.PortS = 5200, 6201
	s2 := set(3, sha1Null)
	s2.Local.Addr = netip.MustParseAddr("10.0.0.9")
	elsewhere, _ := started(t, f, func(c *Config) { c.Addrs = []netip.Addr{s2.Local.Addr} })
	if err := errors.Join(beside.Install(s), elsewhere.Install(s2)); err != nil {
		t.Fatal(err)
	}
	foreign := set(4, sha1Null)
	in := &installed{set: foreign}
	a := in.associations(0)[0]
	state := stateAdd(nl.XFRM_MSG_NEWSA, a, foreign, limits(in.added, in.hard, true), 0)
	state.parts[0].(*nl.XfrmUsersaInfo).Reqid = 1
	policy := protect(nl.XFRM_MSG_NEWPOLICY, a, in.added, in.hard)
	policy.parts[0].(*nl.XfrmUserpolicyInfo).Priority = 100
	if err := errors.Join(f.do(state), f.do(policy)); err != nil {
		t.Fatal(err)
	}
	others := f.snapshot()

	first, _ := started(t, f, nil)
	if n := first.Cleaned(); n != 0 {
		t.Errorf("a first start removes %d", n)
	}
	blocked := f.snapshot()
	if len(blocked) != len(others)+16 {
		t.Errorf("for eight ports there are %d blocks", len(blocked)-len(others))
	}
	if err := first.Install(set(1, sha1Null)); err != nil {
		t.Fatal(err)
	}
	// It crashes, and starts again.
	second, _ := started(t, f, nil)
	if n := second.Cleaned(); n != 4+4+16 {
		t.Errorf("the next start removes %d, want 4 states, 4 policies and 16 blocks", n)
	}
	if got := f.snapshot(); !slices.Equal(got, blocked) {
		t.Errorf("after the next start there is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(blocked, "\n"))
	}
	if err := second.Install(set(1, sha1Null)); err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if got := f.snapshot(); !slices.Equal(got, others) {
		t.Errorf("after Close there is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(others, "\n"))
	}
	if err := second.Install(set(1, sha1Null)); err == nil {
		t.Error("a set goes in after Close")
	}
}

// A second start by mistake ends with an error, and what the first has stays.
func TestASecondStartLeavesTheFirstAlone(t *testing.T) {
	f := newFakeKernel()
	first, _ := started(t, f, nil)
	if err := first.Install(set(1, sha1Null)); err != nil {
		t.Fatal(err)
	}
	stood := f.snapshot()
	// The first has the port for ESP in UDP.
	held, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	c := first.config
	c.Addrs = append([]netip.Addr{netip.MustParseAddr("127.0.0.1")}, c.Addrs...)
	c.EncapPort = held.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	second := newBackend(c, f, newFakeEvents())
	if err := second.start(); !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "another P-CSCF") {
		t.Errorf("started twice: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if got := f.snapshot(); !slices.Equal(got, stood) {
		t.Errorf("after the second start there is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(stood, "\n"))
	}
}

func TestErrorsNameCauseAndRemedy(t *testing.T) {
	triple := ipsec.Pair{Alg: ipsec.HMACMD5, EAlg: ipsec.DESEDE3CBC}
	for _, c := range []struct {
		err  error
		want []string
	}{
		{socketFault(unix.EPROTONOSUPPORT), []string{"CONFIG_XFRM_USER", "modprobe xfrm_user", "ipsec.backend"}},
		{socketFault(unix.EPERM), []string{"CAP_NET_ADMIN", "--cap-add NET_ADMIN"}},
		{stateFault("x", triple, true, unix.EPERM), []string{"CAP_NET_ADMIN"}},
		{stateFault("x", triple, true, unix.EPROTONOSUPPORT), []string{"CONFIG_INET_ESP", "modprobe esp4"}},
		{stateFault("x", triple, false, unix.EPROTONOSUPPORT), []string{"CONFIG_INET6_ESP", "modprobe esp6"}},
		{stateFault("x", triple, true, unix.ENOSYS), []string{"cbc(des3_ede)", "not in this kernel", "modprobe -a", "des3_ede", "take hmac-md5-96/des-ede3-cbc out of ipsec.algorithms"}},
		{stateFault("x", ipsec.Pair{EAlg: ipsec.AESGCM}, true, unix.ENOENT), []string{"rfc4106(gcm(aes))", "gcm seqiv", "take null/aes-gcm out"}},
		{stateFault("x", triple, true, unix.EEXIST), []string{"SPI", "ip xfrm state"}},
		{policyFault("x", unix.EEXIST), []string{"ip xfrm policy"}},
		{policyFault("x", unix.ENOBUFS), []string{"memory"}},
		{fault("x", unix.EAGAIN), []string{"not acknowledged", "10 s"}},
	} {
		for _, w := range c.want {
			if !strings.Contains(c.err.Error(), w) {
				t.Errorf("%q does not say %q", c.err, w)
			}
		}
	}
}

func TestProbeTriesEveryPairAndLeavesNothing(t *testing.T) {
	f := newFakeKernel()
	var tried []string
	f.fail = func(_ int, r request) error {
		if r.kind == nl.XFRM_MSG_NEWSA {
			info := r.parts[0].(*nl.XfrmUsersaInfo)
			what := addr(info.Saddr, info.Family).String()
			if info.Mode == modeTunnel {
				what = "tunnel " + what
			}
			for _, a := range r.parts[1:] {
				if a := a.(*nl.RtAttr); a.Type == nl.XFRMA_ALG_AEAD || a.Type == nl.XFRMA_ALG_CRYPT {
					what += " " + nl.BytesToString(a.Data[:64])
				}
			}
			tried = append(tried, what)
			if strings.Contains(what, "2001:db8::2 cbc(des3_ede)") {
				return unix.ENOSYS
			}
		}
		return nil
	}
	c := Config{Addrs: []netip.Addr{ours, netip.MustParseAddr("10.0.0.7")}, EncapPort: 4500}
	if err := c.probe(f); err != nil {
		t.Error(err)
	}
	if len(tried) != len(ipsec.Pairs)+1 || !slices.Contains(tried, "tunnel 192.0.2.2 rfc4106(gcm(aes))") {
		t.Errorf("tried %q", tried)
	}
	c.Addrs, tried = append(c.Addrs, netip.MustParseAddr("2001:db8:1::1")), nil
	if err := c.probe(f); !errors.Is(err, unix.ENOSYS) || !strings.Contains(err.Error(), "hmac-sha-1-96/des-ede3-cbc") {
		t.Errorf("without 3DES: %v", err)
	}
	c.Pairs = []ipsec.Pair{sha1Null}
	if err := c.probe(f); err != nil {
		t.Errorf("3DES is missing, and not wanted: %v", err)
	}
	if left := f.snapshot(); len(left) != 0 {
		t.Errorf("the probes leave %v", left)
	}
}

func TestLoopbackIsRefused(t *testing.T) {
	for _, a := range []string{"127.0.0.1", "::1", "0.0.0.0", "fe80::1%eth0", "::ffff:10.0.0.1"} {
		c := Config{Addrs: []netip.Addr{netip.MustParseAddr(a)}}
		if err := c.Probe(); err == nil {
			t.Errorf("%s can be protected", a)
		}
		if b, err := New(c); err == nil {
			_ = b.Close()
			t.Errorf("%s is protected", a)
		}
	}
}

func TestDropsAreReadByTheirCause(t *testing.T) {
	// The first lines of a kernel's, with a value in each that is read.
	const stat = "XfrmInError             \t0\nXfrmInNoStates          \t1\nXfrmInStateProtoError   \t2\nXfrmInStateSeqError     \t4\n" +
		"XfrmInStateExpired      \t8\nXfrmInStateMismatch     \t16\nXfrmInTmplMismatch      \t32\nXfrmInPolBlock          \t64\n" +
		"XfrmOutNoStates         \t128\nXfrmOutPolBlock         \t256\nXfrmOutNewThing         \t512\n"
	want := Drops{Clear: 96, UnknownSPI: 1, BadICV: 2, Replayed: 4, Expired: 8, Malformed: 16, OutBlocked: 256, OutNoState: 128}
	if got := parseDrops([]byte(stat)); got != want {
		t.Errorf("read %+v, want %+v", got, want)
	}
}
