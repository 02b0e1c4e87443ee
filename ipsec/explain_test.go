package ipsec

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// at is a moment of the stories below, which are told 10 minutes after the epoch.
func at(s string) time.Time {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return epoch.Add(10*time.Minute - d)
}

// storySet is set 7 of a phone, with what has come over it.
func storySet(state State, in SAStats) SetReport {
	s := &Set{
		ID: 7, Pair: Pair{HMACSHA1, AESCBC},
		Local:  End{netip.MustParseAddr("192.0.2.9"), 5100, 6100, 4096, 4097},
		Remote: End{phoneAddr, 6301, 6300, 25656, 25657},
	}
	return ReportSet(s, state, epoch.Add(time.Hour), SetStats{In: [2]SAStats{in, {}}})
}

// Each thing that a report can show, with the sentence in full or its telling part.
func TestExplanations(t *testing.T) {
	source := netip.MustParseAddrPort("198.51.100.7:1024")
	offered := []Mechanism{{Q: -1, Alg: "hmac-md5-96", SPIC: 25656, SPIS: 25657, PortC: 6301, PortS: 6300}}
	refused := func(status int, err error) Facts {
		return Facts{RegisterAt: at("2s"), Source: source, Via: "10.0.0.2", Offers: offered, RefusedAt: at("2s"), RefusedStatus: status, RefusedFor: err}
	}
	challenged := func(ago string, change ...func(*Facts)) Facts {
		f := Facts{RegisterAt: at(ago), ForwardedAt: at(ago), HomeAt: at(ago), HomeStatus: 401, ChallengedAt: at(ago), Challenges: 1, Source: source, Via: "198.51.100.7", Offers: offered}
		for _, c := range change {
			c(&f)
		}
		return f
	}
	registered := func(change ...func(*Facts)) Facts {
		return challenged("2m", append([]func(*Facts){func(f *Facts) {
			f.AnsweredAt, f.ForwardedAt, f.HomeAt, f.RegisteredAt = at("119s"), at("119s"), at("118s"), at("118s")
			f.HomeStatus, f.Registered, f.Challenges = 200, true, 0
		}}, change...)...)
	}
	_, unacceptable := Choose(Policy{}, []Mechanism{offer("hmac-sha-256-128", "null")}, false)
	_, behindNAT := Choose(Policy{}, []Mechanism{offer("hmac-md5-96", "null")}, true)
	_, noOffer := Choose(Policy{}, nil, false)
	ports := newPorts(t, 1, 1)
	_ = ports.Take(phoneSet(1, 2), nil)
	noPorts := ports.Take(phoneSet(1, 2), nil)
	told := make(map[string]bool)

	for _, c := range []struct {
		name  string
		facts Facts
		sets  []SetReport
		want  map[string]string // code to a part of its sentence; all that is said
	}{
		{"nothing came", Facts{}, nil, map[string]string{
			"no-register": "no REGISTER of 001010000000001@ims.example has arrived: the phone does not know or does not reach the P-CSCF"}},
		{"being dealt with", Facts{RegisterAt: at("1s"), ForwardedAt: at("1s")}, nil, map[string]string{"waiting": "REGISTER received 1 s ago"}},
		{"no Security-Client", refused(421, noOffer), nil, map[string]string{"no-offer": "REGISTER refused with 421 2 s ago: the REGISTER has no Security-Client"}},
		{"no common pair", refused(494, unacceptable), nil, map[string]string{"no-common-pair": `alg="hmac-sha-256-128"`}},
		{"behind a NAT, refused", refused(494, fmt.Errorf("set-up: %w", behindNAT)), nil, map[string]string{"nat": "the phone says 10.0.0.2 and its packets come from 198.51.100.7"}},
		{"Security-Verify wrong", refused(494, ErrVerify), nil, map[string]string{"bad-verify": "Security-Verify is not the Security-Server"}},
		{"Security-Verify absent", refused(494, ErrNoVerify), nil, map[string]string{"bad-verify": "no Security-Verify"}},
		{"Security-Client changed", refused(494, ErrClient), nil, map[string]string{"bad-client": "Security-Client is not the one"}},
		{"SPI offered twice", refused(400, &StaleError{SPI: 25656}), nil, map[string]string{"stale-offer": "SPI 25656"}},
		{"no port left", refused(500, noPorts), nil, map[string]string{"no-ports": "we have 1 server and 1 client ports"}},
		{"the kernel refuses", refused(500, errors.New("xfrm state: operation not permitted: needs CAP_NET_ADMIN")), nil, map[string]string{"install-failed": "needs CAP_NET_ADMIN"}},
		{"refused for anything else", refused(403, errors.New("the IMPI is not that of the set")), nil, map[string]string{"refused-otherwise": "the IMPI is not that of the set"}},
		{"refused, nobody knows why", refused(403, nil), nil, map[string]string{"refused-otherwise": "no reason was kept"}},
		{"refused, and passed on since", Facts{RegisterAt: at("1s"), RefusedAt: at("9s"), RefusedStatus: 494, RefusedFor: ErrVerify, ForwardedAt: at("1s")}, nil,
			map[string]string{"waiting": "REGISTER received 1 s ago"}},
		{"the home network is silent", Facts{RegisterAt: at("7500ms"), ForwardedAt: at("7500ms")}, nil, map[string]string{"no-answer-home": "REGISTER forwarded, no answer in 7.5 s"}},
		{"the home network refuses", Facts{RegisterAt: at("1s"), ForwardedAt: at("1s"), HomeAt: at("1s"), HomeStatus: 403}, nil,
			map[string]string{"home-refused": "answered the REGISTER with 403 1 s ago: not a matter of IPsec"}},

		{"too early to tell", challenged("1s"), []SetReport{storySet(Temporary, SAStats{})}, map[string]string{"waiting": "401 sent, SAs stand, 1 s ago"}},
		{"no ESP", challenged("4s"), []SetReport{storySet(Temporary, SAStats{})}, map[string]string{
			"no-esp": "401 sent, SAs stand, no ESP packet has arrived in 4 s: NAT between phone and P-CSCF, or ESP blocked. Capture 'esp or udp port 4500'"}},
		{"no ESP, and a NAT is seen", challenged("5s", func(f *Facts) { f.Via, f.BehindNAT = "10.0.0.2", true }), []SetReport{storySet(Temporary, SAStats{})},
			map[string]string{"no-esp": "NAT between phone and P-CSCF, the phone says 10.0.0.2 and its packets come from 198.51.100.7"}},
		{"no ESP in UDP through a NAT", challenged("5s", func(f *Facts) { f.BehindNAT = true }), []SetReport{func() SetReport {
			s := storySet(Temporary, SAStats{})
			s.Mode = "UDP-enc-tun"
			return s
		}()}, map[string]string{"no-esp": "UDP port 4500 is blocked"}},
		{"no ESP, again and again", challenged("5s", func(f *Facts) { f.Challenges = 3 }), []SetReport{storySet(Temporary, SAStats{})},
			map[string]string{"no-esp": "does not get the 401 or does not take it: 3 challenges in a row"}},
		{"never answered", challenged("5m", func(f *Facts) { f.Challenges = 2 }), nil,
			map[string]string{"never-answered": "401 sent twice since the last success, the last 5 min 0 s ago, no answer, and its SAs are gone"}},
		{"gave way", challenged("10s", func(f *Facts) { f.GaveWayAt = at("4s") }), nil, map[string]string{
			"gave-way": "401 sent 10 s ago, and its SAs were taken for others 6 s later, unanswered: somebody sends REGISTERs in the names of others"}},
		{"gave way unseen", refused(500, &GaveWayError{"too many"}), nil, map[string]string{"gave-way": "REGISTER refused with 500 2 s ago: too many: somebody"}},
		{"gave way in the name of a phone that is up", registered(func(f *Facts) { f.ChallengedAt, f.GaveWayAt = at("10s"), at("4s") }), []SetReport{storySet(InUse, SAStats{Packets: 9})}, map[string]string{"fine": ""}},
		{"gave way before", challenged("5m", func(f *Facts) { f.GaveWayAt = at("6m") }), nil, map[string]string{"never-answered": "401 sent once"}},
		{"other keys", challenged("2s"), []SetReport{storySet(Temporary, SAStats{BadICV: 3})}, map[string]string{
			"bad-integrity": "ESP arrives, integrity fails (3 packets): CK/IK differ, or the phone took another algorithm than hmac-sha-1-96/aes-cbc. Check OPc"}},
		{"another encryption key", challenged("2s"), []SetReport{storySet(Temporary, SAStats{Malformed: 1})}, map[string]string{"bad-encryption": "nothing readable is in it (1 packet)"}},
		{"other ports", challenged("2s"), []SetReport{storySet(Temporary, SAStats{Selector: 1})}, map[string]string{"bad-selector": "does not use port-c 6301 towards port-s 6100"}},
		{"ESP without a REGISTER", challenged("6s"), []SetReport{storySet(Temporary, SAStats{Packets: 2})}, map[string]string{"no-sip": "ESP arrives (2 good packets), no REGISTER in it after 6 s"}},
		{"SPIs that we do not have", challenged("6s", func(f *Facts) { f.UnknownSPIs, f.UnknownSPI = 4, 99 }), []SetReport{storySet(Temporary, SAStats{})},
			map[string]string{"unknown-spi": "ESP arrives from 198.51.100.7 for no SA of ours (4 packets, the last with SPI 99)"}},

		{"MAC failure", challenged("3s", func(f *Facts) { f.MACFailures, f.HomeStatus, f.RegisterAt, f.ForwardedAt = 1, 403, at("2s"), at("3s") }), nil, map[string]string{
			"mac-failure": "the phone reported MAC failure once since its last success: K, OPc or the AMF differ between SIM and HSS. Compare K and OPc of 001010000000001@ims.example"}},
		{"resynchronisation is ordinary", challenged("1s", func(f *Facts) { f.Resyncs = 1 }), []SetReport{storySet(Temporary, SAStats{})}, map[string]string{"waiting": ""}},
		{"resynchronisation without end", challenged("1s", func(f *Facts) { f.Resyncs = 3 }), []SetReport{storySet(Temporary, SAStats{})},
			map[string]string{"waiting": "", "sync-failure": "3 times for resynchronisation since its last success: the HSS does not take the SQN from AUTS, or two HSSes"}},
		{"wrong answer", challenged("3s", func(f *Facts) {
			f.AnsweredAt, f.ForwardedAt, f.HomeAt, f.HomeStatus = at("2s"), at("2s"), at("1s"), 403
		}),
			[]SetReport{storySet(Leaving, SAStats{Packets: 1})}, map[string]string{"wrong-answer": "the home network answered 403 1 s ago: the keys agree"}},
		{"refused in clear after an answer", challenged("9s", func(f *Facts) {
			f.AnsweredAt, f.RegisteredAt, f.RegisterAt, f.ForwardedAt, f.HomeAt, f.HomeStatus = at("9s"), at("9s"), at("2s"), at("2s"), at("1s"), 403
		}), nil, map[string]string{"home-refused": "answered the REGISTER with 403 1 s ago: not a matter of IPsec"}},
		{"a good answer, and no database", challenged("3s", func(f *Facts) {
			f.AnsweredAt, f.ForwardedAt, f.HomeAt, f.HomeStatus = at("2s"), at("2s"), at("1s"), 504
		}), []SetReport{storySet(Temporary, SAStats{Packets: 1})}, map[string]string{"home-refused": "a service of the home network is down"}},

		{"all is well", registered(), []SetReport{storySet(InUse, SAStats{Packets: 9, Last: at("12s")})}, map[string]string{
			"fine": "registered over IPsec with hmac-sha-1-96/aes-cbc, last packet from the phone 12 s ago: all is as it should be"}},
		{"between two sets", registered(), []SetReport{storySet(InUse, SAStats{Packets: 9}), storySet(Unused, SAStats{Packets: 1})}, map[string]string{"new-set-not-used": ""}},
		{"challenged again", registered(func(f *Facts) { f.ChallengedAt, f.AnsweredAt = at("1s"), at("1s") }), []SetReport{storySet(InUse, SAStats{Packets: 9}), storySet(Temporary, SAStats{Packets: 1})},
			map[string]string{"refresh-pending": ""}},
		{"starts over", registered(func(f *Facts) { f.RegisterAt = at("100s") }), []SetReport{storySet(InUse, SAStats{Packets: 1})},
			map[string]string{"starts-over": "registered 1 min 58 s ago, and REGISTER in clear again 18 s later: the 200 does not reach the phone"}},
		{"answers in clear", registered(func(f *Facts) { f.ClearDropped = 2 }), []SetReport{storySet(InUse, SAStats{Packets: 1})},
			map[string]string{"clear-to-ports": "2 messages in clear to a protected port dropped"}},
		{"calls in clear", Facts{RegisterAt: at("2m"), RegisteredAt: at("1m"), ClearRefused: 1}, nil, map[string]string{"clear-requests": "1 request in clear to the open port refused"}},
		{"doubled packets", registered(), []SetReport{storySet(InUse, SAStats{Packets: 90, Replayed: 9})}, map[string]string{"replays": "9 packets with a used sequence number in the set that is in use, 90 good"}},
		{"damaged packets", registered(), []SetReport{storySet(InUse, SAStats{Packets: 90, BadICV: 2, Selector: 1})},
			map[string]string{"damaged-packets": "3 packets of the set that is in use dropped (integrity 2, unreadable 0, other ports 1), 90 good"}},
		{"other keys in a set long in use", registered(), []SetReport{storySet(Unused, SAStats{BadICV: 2})}, map[string]string{"bad-integrity": "for a set that is unused"}},
		{"deaf", registered(func(f *Facts) { f.Unanswered = 2 }), []SetReport{storySet(InUse, SAStats{Packets: 9})}, map[string]string{"phone-is-deaf": "2 requests to the phone without a response"}},
		{"no IPsec wanted", registered(func(f *Facts) { f.Via = "policy none" }), nil, map[string]string{"unprotected": "registered without IPsec"}},
		{"SAs flushed", registered(), nil, map[string]string{"set-lost": "registered, and no SA set stands"}},
		{"gone a moment ago", registered(func(f *Facts) { f.Registered = false }), []SetReport{storySet(InUse, SAStats{Packets: 9})}, map[string]string{"gone": "last registered 1 min 58 s ago, and no longer"}},
		{"gone, and back", registered(func(f *Facts) { f.Registered, f.RegisterAt = false, at("100s") }), []SetReport{storySet(InUse, SAStats{Packets: 1})}, map[string]string{"gone": ""}},
		{"gone, and challenged anew", registered(func(f *Facts) {
			f.Registered, f.RegisterAt, f.ForwardedAt, f.HomeAt, f.HomeStatus = false, at("10s"), at("10s"), at("9s"), 401
			f.ChallengedAt, f.Challenges = at("9s"), 1
		}),
			[]SetReport{storySet(InUse, SAStats{Packets: 9}), storySet(Temporary, SAStats{})}, map[string]string{"no-esp": "no ESP packet has arrived in 9 s"}},
		{"gone for long", registered(func(f *Facts) { f.Registered = false }), nil, map[string]string{"gone": "last registered 1 min 58 s ago, and no longer"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Report{IMPI: "001010000000001@ims.example", At: at("0s"), Policy: "required", Facts: c.facts, Sets: c.sets}
			if c.facts.Via == "policy none" {
				r.Policy = "none"
			}
			r.Complete()
			for _, s := range r.Explanation {
				part, ok := c.want[s.Code]
				if !ok || !strings.Contains(s.String(), part) {
					t.Errorf("%s: %q, want %q", s.Code, s, part)
				}
				if s.What == "" || s.Cause == "" || s.Next == "" || strings.Contains(s.String(), "..") {
					t.Errorf("%s: %+v is no sentence", s.Code, s)
				}
			}
			if len(r.Explanation) != len(c.want) {
				t.Errorf("%d sentences, want %d: %q", len(r.Explanation), len(c.want), r.Explanation)
			}
			for _, s := range r.Explanation {
				told[s.Code] = true
			}
		})
	}
	src, err := os.ReadFile("sentence.go") // where the codes are
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`\n\tcode\w+ += "([a-z-]+)"`).FindAllSubmatch(src, -1)
	if len(codes) < 30 {
		t.Fatalf("%d codes found in the source", len(codes))
	}
	for _, m := range codes {
		if code := string(m[1]); !told[code] {
			t.Errorf("no story is told with %s", code)
		}
	}
}

func TestReportIsTheSameAfterJSON(t *testing.T) {
	s := &Set{
		ID: 7, Pair: Pair{HMACSHA1, AESCBC}, CK: key(t, recordedCK), IK: key(t, recordedIK),
		Local:  End{netip.MustParseAddr("2001:db8::9"), 5100, 6100, 4096, 4097},
		Remote: End{netip.MustParseAddr("2001:db8::1"), 6301, 6300, 25656, 25657},
	}
	r := Report{
		IMPI: "001010000000001@ims.example", At: at("0s"), Policy: "required", Backend: "user",
		Facts: Facts{RefusedAt: at("1s"), RefusedStatus: 494, RefusedFor: ErrVerify, Offers: offers("hmac-md5-96/null")},
		Sets:  []SetReport{ReportSet(s, InUse, at("-1h"), SetStats{Out: [2]SAStats{{Packets: 3, Octets: 900, Last: at("1m")}, {}}})},
	}
	r.Complete()
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"state": "in use"`, `"spi_c": 25656`, `"from": "[2001:db8::9]:6100"`, `"packets": 3`, `"code": "bad-verify"`, `"security_client": [`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the JSON has no %s:\n%s", part, text)
		}
	}
	for _, secret := range []string{recordedCK[:8], recordedIK[:8], "1TwCdYs3", "key"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the JSON has %q", secret)
		}
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	r.Facts.RefusedFor = nil
	if d := cmp.Diff(r, back, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Error(d)
	}
}
