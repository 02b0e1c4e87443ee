package hss

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/testbed/conformance"
)

// A Samsung SM-T515 that registered at Kamailio 5 with FHoSS, 2020-04-17 (public
// capture of the Open5GS project): its challenge comes out octet for octet.
func TestChallengeOfARealPhone(t *testing.T) {
	const impi = "001011234567893@" + domain
	h := start(t, nil, Subscriber{
		IMPI: impi, IMPUs: []string{"sip:" + impi},
		K: "8baf473f2f8fd09487cccbd7097c6862", OPc: "8e27b6af0e692e750f32667a3b14605d",
		SQN: "000017242898", RAND: []string{"a0944c75ff3c4f0853a2f910aa1f104f"},
	})
	scscf := h.connect("scscf", nil)
	a := scscf.mar(t, cx.MAR{UserName: impi, PublicIdentity: "sip:" + impi, NumberAuthItems: 2})
	if len(a.Items) != 2 {
		t.Fatalf("%s, %d items", cx.ResultName(a.Result), len(a.Items))
	}
	nonce, err := aka.NonceFromOctets(a.Items[0].Authenticate)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := nonce.String(), "oJRMdf88TwhTovkQqh8QT8bi9GyPQoAAfzu5uEt8P/Y="; got != want {
		t.Errorf("nonce %s, want %s", got, want)
	}
	for _, v := range []struct {
		name, want string
		got        cx.Secret
	}{
		{"XRES", "17447172f62cf13e", a.Items[0].Authorization},
		{"CK", "d53c02758b376066fad0af7daa6df765", a.Items[0].ConfidentialityKey},
		{"IK", "e1763cf28cc2e584588800193137ec92", a.Items[0].IntegrityKey},
	} {
		if got := hex.EncodeToString(v.got); got != v.want {
			t.Errorf("%s %s, want %s", v.name, got, v.want)
		}
	}
	second, err := aka.NonceFromOctets(a.Items[1].Authenticate)
	if err != nil {
		t.Fatal(err)
	}
	if second.RAND == nonce.RAND {
		t.Error("the second challenge is not random")
	}
	if h.logs.FilterMessageSnippet("rand: is set for "+impi).Len() != 1 {
		t.Error("no warning about rand: at start")
	}
	if got, _ := h.State(impi); got.SQN != 0x17242898+1<<5+1 {
		t.Errorf("SQN %v after two vectors", got.SQN)
	}
}

func TestMARChecksInOrder(t *testing.T) {
	conformance.Shows(t, "CX-07")
	h := start(t, nil, subscriber(nil), subscriber(func(s *Subscriber) {
		s.IMPI, s.IMPUs, s.Barred = "b@"+domain, []string{"sip:b@" + domain}, nil
	}))
	scscf := h.connect("scscf", nil)
	item := func(scheme string) cx.AuthDataItem { return cx.AuthDataItem{Scheme: scheme} }
	tests := []struct {
		name string
		q    cx.MAR
		want diameter.Result
	}{
		{"unknown IMPI, before the scheme", cx.MAR{UserName: "x@" + domain, Item: item("SIP Digest")}, cx.ErrorUserUnknown.Result()},
		{"unknown IMPU", cx.MAR{PublicIdentity: "sip:x@" + domain}, cx.ErrorUserUnknown.Result()},
		{"IMPU of another, before the scheme", cx.MAR{PublicIdentity: "sip:b@" + domain, Item: item("SIP Digest")}, cx.ErrorIdentitiesDontMatch.Result()},
		{"another scheme", cx.MAR{Item: item("SIP Digest")}, cx.ErrorAuthSchemeNotSupported.Result()},
		{"Server-Name that is no SIP URI", cx.MAR{ServerName: "tel:+1"}, diameter.Base(diameter.InvalidAVPValue)},
		{"AKAv1", cx.MAR{Item: item("Digest-AKAv1-MD5")}, ok2001},
		{"AKAv1 in lower case", cx.MAR{Item: item("digest-akav1-md5")}, ok2001},
		{"whatever the HSS likes", cx.MAR{Item: item("Unknown")}, ok2001},
		{"the same as Kamailio writes it", cx.MAR{Item: item("unknown")}, ok2001},
		{"AKAv2", cx.MAR{Item: item("Digest-AKAv2-SHA-256")}, ok2001},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h.renew(subscriber(nil))
			a := scscf.mar(t, tt.q)
			if a.Result != tt.want {
				t.Errorf("%s (%s), want %s", cx.ResultName(a.Result), a.ErrorMessage, cx.ResultName(tt.want))
			}
			if !a.Result.IsSuccess() {
				if len(a.Items) > 0 {
					t.Error("vectors in a failure")
				}
				h.wantState(NotRegistered, false, "")
				return
			}
			want := cx.SchemeAKAv1
			if strings.Contains(tt.q.Item.Scheme, "v2") {
				want = tt.q.Item.Scheme
			}
			if len(a.Items) != 1 || a.Items[0].Scheme != want {
				t.Errorf("%d items, scheme %q, want %q", len(a.Items), a.Items[0].Scheme, want)
			}
			h.wantState(NotRegistered, true, scscf1)
		})
	}
	t.Run("the same S-CSCF challenges a registered user", func(t *testing.T) {
		h.renew(subscriber(nil))
		h.bring(scscf, "registered")
		scscf.mar(t, cx.MAR{})
		h.wantState(Registered, false, scscf1)
	})
	t.Run("another S-CSCF takes him over", func(t *testing.T) {
		scscf.mar(t, cx.MAR{ServerName: scscf2})
		h.wantState(Registered, true, scscf2)
		scscf.sar(t, cx.SAR{ServerName: scscf2, Type: cx.AssignRegistration})
		h.wantState(Registered, false, scscf2)
	})
}

func TestMAAItems(t *testing.T) {
	conformance.Shows(t, "CX-08")
	for _, alg := range []struct {
		name string
		sub  Subscriber
		xres int
		usim aka.Algorithm
	}{
		{"milenage", subscriber(nil), 8, nil},
		{"milenage from OP", subscriber(func(s *Subscriber) { s.OPc, s.OP = "", "cdc202d5123e20f62b6d676ac72cb318" }), 8, nil},
		{"xor", subscriber(func(s *Subscriber) { s.OPc, s.Algorithm, s.AMF = "", "xor", "0000" }), 16, nil},
		{"tuak", subscriber(func(s *Subscriber) {
			s.OPc, s.Algorithm = Key(strings.Repeat("55", 32)), "TUAK"
			s.TUAK = TUAK{ResBits: 128, Iterations: 2}
		}), 16, nil},
	} {
		t.Run(alg.name, func(t *testing.T) {
			h := start(t, nil, alg.sub)
			scscf := h.connect("scscf", nil)
			a, err := alg.sub.algorithm()
			if err != nil {
				t.Fatal(err)
			}
			array, err := aka.NewSQNArray(0, aka.SQNArrayOptions{})
			if err != nil {
				t.Fatal(err)
			}
			usim := aka.USIM{Algorithm: a, SQN: array}
			for _, tt := range []struct{ asked, want uint32 }{{1, 1}, {3, 3}, {1000, maxItems}} {
				maa := scscf.mar(t, cx.MAR{NumberAuthItems: tt.asked})
				if maa.NumberAuthItems != tt.want || len(maa.Items) != int(tt.want) || maa.UserName != alice || maa.PublicIdentity != aliceSIP {
					t.Fatalf("%d asked: %d announced, %d there, want %d, for %q %q", tt.asked, maa.NumberAuthItems, len(maa.Items), tt.want, maa.UserName, maa.PublicIdentity)
				}
				for i, item := range maa.Items {
					nonce, err := aka.NonceFromOctets(item.Authenticate)
					if err != nil || len(item.Authenticate) != 32 || item.ItemNumber != uint32(i+1) {
						t.Fatalf("item %d has number %d, %d octets: %v", i, item.ItemNumber, len(item.Authenticate), err)
					}
					r, err := usim.Authenticate(nonce.RAND, nonce.AUTN)
					if err != nil {
						t.Fatalf("item %d: %v", i, err)
					}
					if !slices.Equal(r.RES.Bytes(), item.Authorization) || !slices.Equal(r.CK.Bytes(), item.ConfidentialityKey) ||
						!slices.Equal(r.IK.Bytes(), item.IntegrityKey) || len(item.Authorization) != alg.xres || len(item.IntegrityKey) != 16 {
						t.Errorf("item %d is not what the USIM computes", i)
					}
				}
			}
		})
	}
}

func TestResynchronisation(t *testing.T) {
	conformance.Shows(t, "CX-09")
	h := start(t, nil, subscriber(nil))
	scscf := h.connect("scscf", nil)
	usim := newUSIM(t, keyK, keyOPc)
	usim.SQN = mustArray(t, 0x1000_0000_0000) // a SIM that was used elsewhere
	challenge := func(a *cx.MAA) aka.Nonce {
		t.Helper()
		if len(a.Items) != 1 {
			t.Fatalf("%s (%s)", cx.ResultName(a.Result), a.ErrorMessage)
		}
		n, err := aka.NonceFromOctets(a.Items[0].Authenticate)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := challenge(scscf.mar(t, cx.MAR{}))
	_, err := usim.Authenticate(first.RAND, first.AUTN)
	fail, ok := err.(*aka.SyncFailureError)
	if !ok {
		t.Fatalf("the USIM says %v", err)
	}
	before, _ := h.State(alice)
	resync := func(octets []byte, server string) *cx.MAA {
		return scscf.mar(t, cx.MAR{ServerName: server, Item: cx.AuthDataItem{Scheme: cx.SchemeAKAv1, Authorization: octets}})
	}
	good := aka.ResyncOctets(first.RAND, fail.AUTS)
	bad := slices.Clone(good)
	bad[29] ^= 1
	for _, tt := range []struct {
		name   string
		octets []byte
		server string
		want   diameter.ResultCode
	}{
		{"MAC-S does not verify", bad, scscf1, diameter.UnableToComply},
		{"not RAND and AUTS", good[:29], scscf1, diameter.InvalidAVPValue},
		{"from an S-CSCF that is not assigned", good, scscf2, diameter.UnableToComply},
	} {
		a := resync(tt.octets, tt.server)
		if !a.Result.Is(tt.want) || len(a.Items) > 0 {
			t.Errorf("%s: %s, %d items", tt.name, cx.ResultName(a.Result), len(a.Items))
		}
		if after, _ := h.State(alice); after.SQN != before.SQN || after.ServerName != scscf1 {
			t.Errorf("%s: SQN went from %v to %v, S-CSCF %s", tt.name, before.SQN, after.SQN, after.ServerName)
		}
	}
	second := challenge(resync(good, scscf1))
	if second.RAND == first.RAND {
		t.Error("the new vector has the old RAND")
	}
	if _, err := usim.Authenticate(second.RAND, second.AUTN); err != nil {
		t.Errorf("after resynchronisation the USIM says %v", err)
	}
}

func mustArray(t *testing.T, sqn aka.SQN) *aka.SQNArray {
	t.Helper()
	a, err := aka.NewSQNArray(sqn, aka.SQNArrayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Whatever is logged, traced, printed or answered as an error, no key is in it.
func TestKeysNeverShow(t *testing.T) {
	h := start(t, nil, subscriber(func(s *Subscriber) { s.RAND = []string{"23553cbe9637a89d218ae64dae47bf35"} }))
	scscf := h.connect("scscf", nil)
	a := scscf.mar(t, cx.MAR{})
	scscf.mar(t, cx.MAR{Item: cx.AuthDataItem{Scheme: cx.SchemeAKAv1, Authorization: make([]byte, 30)}})
	h.Inject(Fault{Command: "MAR", Times: 1, Result: diameter.Base(diameter.UnableToComply)})
	scscf.mar(t, cx.MAR{})
	scscf.sar(t, cx.SAR{Type: cx.AssignRegistration})
	secrets := []string{keyK, keyOPc, hex.EncodeToString(a.Items[0].Authorization), hex.EncodeToString(a.Items[0].ConfidentialityKey), hex.EncodeToString(a.Items[0].IntegrityKey)}
	var all strings.Builder
	for _, e := range h.logs.All() {
		fmt.Fprintf(&all, "%s %v\n", e.Message, e.ContextMap())
	}
	h.sub.Close()
	events := 0
	for e := range h.sub.C() {
		events++
		fmt.Fprintf(&all, "%s %s %x\n", e.Text, e.Next, e.Raw)
	}
	sub := subscriber(nil)
	u := h.db.users[alice]
	fmt.Fprintf(&all, "%v %+v %#v %s %x %d\n", sub, sub, sub, sub.K, sub.K, sub.OPc)
	fmt.Fprintf(&all, "%v %+v %v %+v\n", u.alg, u.alg, h.cfg, h.cfg.Subscribers)
	text := strings.ToLower(all.String())
	if events < 8 || h.logs.Len() < 4 {
		t.Errorf("%d events, %d lines: too few to show anything", events, h.logs.Len())
	}
	for _, s := range secrets {
		raw, _ := hex.DecodeString(s)
		for _, form := range []string{s, hex.EncodeToString([]byte(s)), strings.Trim(fmt.Sprint(raw), "[]")} {
			if strings.Contains(text, form) {
				t.Errorf("the key %.6s… shows as %.12s…", s, form)
			}
		}
	}
}
