package xfrm

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
)

// attr finds an attribute of a state or policy.
func attr(t *testing.T, b []byte, skip int, kind uint16) []byte {
	t.Helper()
	attrs, err := nl.ParseRouteAttr(b[skip:])
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attrs {
		if a.Attr.Type == kind {
			return a.Value
		}
	}
	return nil
}

func TestASetIsFourStatesAndFourPolicies(t *testing.T) {
	f := newFakeKernel()
	b, _ := started(t, f, nil)
	before := f.snapshot()
	f.order = nil
	s := set(1, sha1Null)
	if err := b.Install(s); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"state 69634", "state 69633", "state 73729", "state 73730",
		"policy in 10.0.0.2:40001 > 10.0.0.1:6101", "policy in 10.0.0.2:50000 > 10.0.0.1:5101",
		"policy out 10.0.0.1:6101 > 10.0.0.2:40001", "policy out 10.0.0.1:5101 > 10.0.0.2:50000",
	}
	if !slices.Equal(f.order, want) {
		t.Errorf("the kernel was told\n%v\nwant\n%v", strings.Join(f.order, "\n"), strings.Join(want, "\n"))
	}
	inward, outward := s.In(), s.Out()
	for i, sa := range append(inward[:], outward[:]...) {
		in := i < 2
		state := f.states[key{sa.Dst.Addr(), sa.SPI}]
		info := nl.DeserializeXfrmUsersaInfo(state)
		if src, dst := ends(info.Sel); src != sa.Src || dst != sa.Dst || info.Sel.Proto != 0 {
			t.Errorf("SPI %d is for %v > %v, protocol %d", sa.SPI, src, dst, info.Sel.Proto)
		}
		if info.Mode != modeTransport || info.Reqid != requestID || info.Id.Proto != unix.IPPROTO_ESP || addr(info.Saddr, info.Family) != sa.Src.Addr() {
			t.Errorf("SPI %d: mode %d, request ID %d, protocol %d, from %v", sa.SPI, info.Mode, info.Reqid, info.Id.Proto, info.Saddr)
		}
		if l := info.Lft; l.HardAddExpiresSeconds != 600 || l.SoftAddExpiresSeconds < 589 || l.SoftAddExpiresSeconds > 590 || l.HardByteLimit != nl.XFRM_INF {
			t.Errorf("SPI %d has the limits %+v", sa.SPI, l)
		}
		// A window of 0 in the short form; 128 in the long one, without extended numbers.
		window := attr(t, state, nl.SizeofXfrmUsersaInfo, nl.XFRMA_REPLAY_ESN_VAL)
		if in != (window != nil) || info.ReplayWindow != 0 || info.Flags != 0 {
			t.Errorf("SPI %d: replay window %x, %d, flags %x", sa.SPI, window, info.ReplayWindow, info.Flags)
		}
		if in && (len(window) != 24+16 || binary.NativeEndian.Uint32(window) != 4 || binary.NativeEndian.Uint32(window[20:]) != 128) {
			t.Errorf("SPI %d has the replay window %x", sa.SPI, window)
		}
		dir := uint8(dirOut)
		if in {
			dir = dirIn
		}
		policy := f.policies[policyName(dir, info.Sel)]
		pi := nl.DeserializeXfrmUserpolicyInfo(policy)
		tmpl := nl.DeserializeXfrmUserTmpl(attr(t, policy, nl.SizeofXfrmUserpolicyInfo, nl.XFRMA_TMPL))
		if nl.Swap32(tmpl.XfrmId.Spi) != sa.SPI || tmpl.Reqid != requestID || tmpl.Optional != 0 || pi.Action != actionAllow || pi.Priority >= priorityBlock {
			t.Errorf("the policy of SPI %d has the template %+v, action %d, priority %d", sa.SPI, tmpl, pi.Action, pi.Priority)
		}
		if pi.Lft.HardAddExpiresSeconds != 660 {
			t.Errorf("the policy of SPI %d ends after %d s", sa.SPI, pi.Lft.HardAddExpiresSeconds)
		}
	}
	if err := b.Install(s); err == nil {
		t.Error("a set goes in twice")
	}
	if err := b.Remove(1); err != nil {
		t.Error(err)
	}
	if got := f.snapshot(); !slices.Equal(got, before) {
		t.Errorf("after Remove there is %v", got)
	}
	if err := b.Remove(1); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
}

func TestTransformsAreThoseOfAnnexI(t *testing.T) {
	ck, _ := hex.DecodeString("d53c02758b376066fad0af7daa6df765")
	ik, _ := hex.DecodeString("e1763cf28cc2e584588800193137ec92")
	const auth, crypt, aead = nl.XFRMA_ALG_AUTH_TRUNC, nl.XFRMA_ALG_CRYPT, nl.XFRMA_ALG_AEAD
	for pair, want := range map[string][]string{
		"hmac-md5-96/null":           {"20 hmac(md5) 128 96 e1763cf28cc2e584588800193137ec92", "2 ecb(cipher_null) 0 "},
		"hmac-md5-96/aes-cbc":        {"20 hmac(md5) 128 96 e1763cf28cc2e584588800193137ec92", "2 cbc(aes) 128 d53c02758b376066fad0af7daa6df765"},
		"hmac-md5-96/des-ede3-cbc":   {"20 hmac(md5) 128 96 e1763cf28cc2e584588800193137ec92", "2 cbc(des3_ede) 192 d53d02758a376167fbd0ae7cab6df764d53d02758a376167"},
		"hmac-sha-1-96/null":         {"20 hmac(sha1) 160 96 e1763cf28cc2e584588800193137ec9200000000", "2 ecb(cipher_null) 0 "},
		"hmac-sha-1-96/aes-cbc":      {"20 hmac(sha1) 160 96 e1763cf28cc2e584588800193137ec9200000000", "2 cbc(aes) 128 d53c02758b376066fad0af7daa6df765"},
		"hmac-sha-1-96/des-ede3-cbc": {"20 hmac(sha1) 160 96 e1763cf28cc2e584588800193137ec9200000000", "2 cbc(des3_ede) 192 d53d02758a376167fbd0ae7cab6df764d53d02758a376167"},
		"aes-gmac/null":              {"18 rfc4543(gcm(aes)) 160 128 e1763cf28cc2e584588800193137ec927098d183"},
		"null/aes-gcm":               {"18 rfc4106(gcm(aes)) 160 128 d53c02758b376066fad0af7daa6df765f4f61e05"},
	} {
		alg, ealg, _ := strings.Cut(pair, "/")
		p, ok := ipsec.ParsePair(alg, ealg)
		if !ok {
			t.Fatalf("%s is no pair", pair)
		}
		var got []string
		for _, a := range transforms(p, ipsec.Expand(p, ipsec.Key(ck), ipsec.Key(ik))) {
			name := nl.BytesToString(a.Data[:64])
			if a.Type == crypt {
				got = append(got, fmt.Sprintf("%d %s %d %x", a.Type, name, binary.NativeEndian.Uint32(a.Data[64:]), a.Data[68:]))
			} else {
				got = append(got, fmt.Sprintf("%d %s %d %d %x", a.Type, name, binary.NativeEndian.Uint32(a.Data[64:]), binary.NativeEndian.Uint32(a.Data[68:]), a.Data[72:]))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the kernel gets %q, want %q", pair, got, want)
		}
	}
	if auth != 20 || aead != 18 {
		t.Error("the attributes have other numbers than the kernel's")
	}
}

func TestAFailureAtAnyStepLeavesNothing(t *testing.T) {
	f := newFakeKernel()
	b, _ := started(t, f, nil)
	if err := b.Install(set(1, sha1Null)); err != nil {
		t.Fatal(err)
	}
	before := f.snapshot()
	for step := 1; step <= 8; step++ {
		f.n, f.fail = 0, func(n int, _ request) error {
			if n == step {
				return unix.ENOMEM
			}
			return nil
		}
		err := b.Install(set(2, sha1Null))
		f.fail = nil
		if !errors.Is(err, unix.ENOMEM) || !strings.Contains(err.Error(), "SA ") {
			t.Errorf("step %d fails: %v", step, err)
		}
		if got := f.snapshot(); !slices.Equal(got, before) {
			t.Errorf("after step %d has failed there is\n%v", step, got)
		}
		if _, there := b.Stats(2); there {
			t.Errorf("after step %d has failed the set is known", step)
		}
	}
	if err := b.Install(set(2, sha1Null)); err != nil {
		t.Errorf("the next attempt: %v", err)
	}
}

// A step that the kernel has carried out, and not acknowledged in time, is taken back
// like the others.
func TestAStepThatIsNotAcknowledgedLeavesNothing(t *testing.T) {
	f := newFakeKernel()
	b, _ := started(t, f, nil)
	before := f.snapshot()
	for lost, says := range map[error]string{unix.EAGAIN: "not acknowledged", unix.ENOBUFS: "no memory"} {
		for step := 1; step <= 8; step++ {
			f.n, f.unheard, f.lost = 0, step, lost
			if err := b.Install(set(1, sha1Null)); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("step %d is not acknowledged (%v): %v", step, lost, err)
			}
			if got := f.snapshot(); !slices.Equal(got, before) {
				t.Errorf("after step %d was not acknowledged (%v) there is\n%v", step, lost, got)
			}
		}
	}
	if err := b.Install(set(1, sha1Null)); err != nil {
		t.Errorf("the next attempt: %v", err)
	}
}

func TestInstallRefusesWhatCannotWork(t *testing.T) {
	f := newFakeKernel()
	b, _ := started(t, f, nil)
	b.here = []netip.Addr{ours, phone}
	before := f.snapshot()
	for name, change := range map[string]func(*ipsec.Set){
		"an end in the past":      func(s *ipsec.Set) { s.Hard = time.Now().Add(-time.Second) },
		"a phone on loopback":     func(s *ipsec.Set) { s.Remote.Addr = netip.MustParseAddr("127.0.0.1") },
		"a phone on this host":    func(s *ipsec.Set) { s.Remote.Addr = phone },
		"a tunnel from nowhere":   func(s *ipsec.Set) { s.Mode = ipsec.UDPTunnel },
		"ESP in UDP without port": func(s *ipsec.Set) { s.Outer = netip.MustParseAddrPort("10.0.0.3:4500") },
		"no algorithm":            func(s *ipsec.Set) { s.Pair = ipsec.Pair{} },
	} {
		s := set(1, sha1Null)
		s.Remote.Addr = netip.MustParseAddr("10.0.0.3")
		change(s)
		if err := b.Install(s); err == nil {
			t.Errorf("%s goes in", name)
		}
	}
	if got := f.snapshot(); !slices.Equal(got, before) {
		t.Errorf("there is %v", got)
	}
}

func TestExtendMovesTheEnd(t *testing.T) {
	f := newFakeKernel()
	b, _ := started(t, f, nil)
	s := set(1, sha1Null)
	if err := b.Install(s); err != nil {
		t.Fatal(err)
	}
	k := key{ours, s.Local.SPIS}
	f.received(k, 7)
	life := func() (state, policy uint64) {
		info := nl.DeserializeXfrmUsersaInfo(f.states[k])
		p := nl.DeserializeXfrmUserpolicyInfo(f.policies[policyName(dirIn, info.Sel)])
		return info.Lft.HardAddExpiresSeconds, p.Lft.HardAddExpiresSeconds
	}
	if err := b.Extend(1, s.Hard.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if state, policy := life(); state != 4200 || policy != 4260 {
		t.Errorf("the state ends after %d s, its policy after %d s", state, policy)
	}
	if st, ok := b.Stats(1); !ok || st.In[ipsec.AtServer].Packets != 7 {
		t.Errorf("what has been counted is %+v", st)
	}
	// One of eight updates fails: the end is where it was.
	f.n, f.fail = 0, func(n int, _ request) error {
		if n == 5 {
			return unix.ENOMEM
		}
		return nil
	}
	if err := b.Extend(1, s.Hard.Add(2*time.Hour)); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("a failing update: %v", err)
	}
	if state, policy := life(); state != 4200 || policy != 4260 {
		t.Errorf("after a failure the state ends after %d s, its policy after %d s", state, policy)
	}
	f.fail = nil
	if err := b.Extend(9, s.Hard); err == nil {
		t.Error("a set that is not there is extended")
	}
}

// Somebody sets the clock, by which the kernel judges how old a state is.
func TestExtendAfterTheClockWasSet(t *testing.T) {
	for by, want := range map[time.Duration]uint64{0: 1200, time.Hour: 4800, -time.Hour: 1200} {
		f := newFakeKernel()
		b, _ := started(t, f, nil)
		s := set(1, sha1Null)
		if err := b.Install(s); err != nil {
			t.Fatal(err)
		}
		for _, state := range f.states {
			info := nl.DeserializeXfrmUsersaInfo(state)
			info.Curlft.AddTime -= uint64(by / time.Second)
		}
		if err := b.Extend(1, s.Hard.Add(10*time.Minute)); err != nil {
			t.Fatal(err)
		}
		for _, state := range f.states {
			// Seconds may have begun meanwhile.
			if l := nl.DeserializeXfrmUsersaInfo(state).Lft; max(l.HardAddExpiresSeconds, want)-min(l.HardAddExpiresSeconds, want) > 60 || l.HardAddExpiresSeconds-l.SoftAddExpiresSeconds > 11 {
				t.Errorf("the clock was set by %v: a state ends %d s after the kernel's beginning of it, and is told of after %d s, want %d s", by, l.HardAddExpiresSeconds, l.SoftAddExpiresSeconds, want)
			}
		}
	}
}

func TestStatsReadTheKernelsCounters(t *testing.T) {
	f := newFakeKernel()
	b, _ := started(t, f, nil)
	s := set(1, sha1Null)
	if err := b.Install(s); err != nil {
		t.Fatal(err)
	}
	k := key{ours, s.Local.SPIC}
	last := time.Now().Add(-time.Minute).Truncate(time.Second)
	f.states[k] = append(f.states[k], nl.NewRtAttr(nl.XFRMA_LASTUSED, binary.NativeEndian.AppendUint64(nil, uint64(last.Unix()))).Serialize()...)
	info := nl.DeserializeXfrmUsersaInfo(f.states[k])
	info.Curlft.Packets, info.Curlft.Bytes = 3, 900
	info.Stats = nl.XfrmStats{ReplayWindow: 1, Replay: 2, IntegrityFailed: 4}
	f.received(key{phone, s.Remote.SPIS}, 5)
	got, ok := b.Stats(1)
	want := ipsec.SetStats{}
	want.In[ipsec.AtClient] = ipsec.SAStats{Packets: 3, Octets: 900, Last: last, BadICV: 4, Replayed: 3}
	want.Out[ipsec.AtClient] = ipsec.SAStats{Packets: 5}
	if !ok || !got.In[ipsec.AtClient].Last.Equal(last) {
		t.Fatalf("the counters are %+v, %v", got, ok)
	}
	got.In[ipsec.AtClient].Last = last
	// An older kernel's state without XFRMA_LASTUSED: the last packet was before now.
	seen := got.Out[ipsec.AtClient].Last
	if age := time.Since(seen); age < 0 || age > time.Minute {
		t.Errorf("a packet was seen at %v", seen)
	}
	if again, _ := b.Stats(1); again.Out[ipsec.AtClient].Last != seen {
		t.Errorf("the same packet was seen at %v, and at %v", seen, again.Out[ipsec.AtClient].Last)
	}
	got.Out[ipsec.AtClient].Last = time.Time{}
	if got != want {
		t.Errorf("the counters are %+v, want %+v", got, want)
	}
}
