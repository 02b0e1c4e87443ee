package sip

import (
	"math/big"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// FuzzNumbers: numbers are read as what they say, whatever their length.
func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"0", "600000", " 4294967295", "4294967296", "99999999999999999999999999", "-1", "18446744073709551617", "5 (busy)", "5;duration=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		const top = 1<<32 - 1
		plain := trimLWS(s)
		digits := plain != "" && strings.Trim(plain, "0123456789") == ""
		want := new(big.Int)
		if digits {
			want.SetString(plain, 10)
		}
		n, ok := ParseDelta(s)
		if ok != digits {
			t.Fatalf("%q is a number: %v", s, ok)
		}
		if capped := want; ok && uint64(n) != min(lowest(capped), top) {
			t.Fatalf("%q is read as %d", s, n)
		}
		if after, yes := ParseRetryAfter(s); ok && (!yes || after != n) {
			t.Fatalf("Retry-After %q is read as %d, %v", s, after, yes)
		}
		r, err := ParseRSeq(s)
		if err == nil && (!digits || r == 0 || lowest(want) != uint64(r)) {
			t.Fatalf("RSeq %q is read as %d", s, r)
		}
		if err != nil && digits && want.Sign() > 0 && lowest(want) <= top {
			t.Fatalf("RSeq %q: %v", s, err)
		}
	})
}

// lowest is n, or 2^64-1 where that is too small to hold it.
func lowest(n *big.Int) uint64 {
	if !n.IsUint64() {
		return 1<<64 - 1
	}
	return n.Uint64()
}

// FuzzValues: what a list is split into can be joined and splits the same again,
// and a text that is quoted is one value which says what it said.
func FuzzValues(f *testing.F) {
	f.Add(`"a,\"b" <sip:x,y>, <sip:z>;q="1,2",,c`)
	f.Add("<sip:a@b>, \"unclosed")
	f.Add(",,\r\n ,a\\,b")
	f.Fuzz(func(t *testing.T, s string) {
		list := slices.Collect(SplitValues(s))
		room := 0
		for _, v := range list {
			if v == "" || v != trimLWS(v) || !strings.Contains(s, v) {
				t.Fatalf("%q has the value %q", s, v)
			}
			room += len(v)
		}
		if room > len(s) {
			t.Fatalf("%d octets of values in %d", room, len(s))
		}
		joined := strings.Join(list, ", ")
		if again := slices.Collect(SplitValues(joined)); !slices.Equal(again, list) {
			t.Fatalf("%q splits into %q, joined into %q", s, list, again)
		}
		q := Quote(s)
		if strings.ContainsAny(s, "\r\n\x00") { // which no header can hold
			return
		}
		if one := slices.Collect(SplitValues(q)); len(one) != 1 || one[0] != q || Unquote(q) != s {
			t.Fatalf("%q is quoted as %q, which is read as %q", s, q, Unquote(q))
		}
	})
}

// FuzzHeaderMemory: no header makes its parser take more memory than a multiple of
// its own length, and none takes a part of it twice.
func FuzzHeaderMemory(f *testing.F) {
	f.Add(`<sip:a@b;lr?x=y>;tag=1;q="x;y"`)
	f.Add(`Digest username="u\"",realm=h,nonce="",uri="sip:h",response="",nc=00000001,auts="a==",x=y`)
	f.Add("SIP/2.0/UDP [::1]:5;rport=1;received=[::2];branch=z9hG4bK" + strings.Repeat(";a=b", 300))
	f.Add("ipsec-3gpp;alg=hmac-md5-96;spi-c=1;spi-s=2;port-c=3;port-s=4" + strings.Repeat(`;x="\\"`, 300))
	parsers := []func(string) error{
		drop(ParseVia), drop(ParseNameAddr), drop(ParseCSeq), drop(ParseRAck), drop(ParseChallenge), drop(ParseCredentials), drop(ParseSecMechanism),
		drop(ParseChargingVector), drop(ParseChargingAddresses), drop(ParseAccessNetworkInfo), drop(ParseVisitedNetworkID), drop(ParseServedUser),
		drop(ParseEvent), drop(ParseSubscriptionState), drop(ParseContentType), drop(ParseReason), drop(ParseSessionExpires), drop(ParseHistoryInfo),
		drop(ParseUserDatabase), drop(ParseAcceptContact),
	}
	f.Fuzz(func(t *testing.T, s string) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, parse := range parsers {
			_ = parse(s)
		}
		runtime.ReadMemStats(&after)
		// Each parser may copy what it reads some times; 256 octets an error and its text.
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(len(parsers))*(8*uint64(len(s))+512)+64<<10; got > limit {
			t.Fatalf("%d octets of header take %d octets of memory, want at most %d", len(s), got, limit)
		}
	})
}

func drop[T any](parse func(string) (T, error)) func(string) error {
	return func(s string) error { _, err := parse(s); return err }
}
