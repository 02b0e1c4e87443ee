package hss

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/diameter"
	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/profile"
)

func TestRegistrationOfOneUser(t *testing.T) {
	h := start(t, nil, subscriber(nil))
	icscf, scscf := h.connect("icscf", nil), h.connect("scscf", nil)

	if a := icscf.uar(t, cx.UAR{}); !cx.FirstRegistration.Is(a.Result) || a.ServerName != "" {
		t.Errorf("UAA %v with %q", cx.ResultName(a.Result), a.ServerName)
	}
	maa := scscf.mar(t, cx.MAR{NumberAuthItems: 1})
	if !maa.Result.Is(diameter.Success) || len(maa.Items) != 1 {
		t.Fatalf("MAA %v with %d items", cx.ResultName(maa.Result), len(maa.Items))
	}
	nonce, err := aka.NonceFromOctets(maa.Items[0].Authenticate)
	if err != nil {
		t.Fatal(err)
	}
	res, err := newUSIM(t, keyK, keyOPc).Authenticate(nonce.RAND, nonce.AUTN)
	if err != nil {
		t.Fatal(err)
	}
	if string(res.RES.Bytes()) != string(maa.Items[0].Authorization) {
		t.Error("RES of the USIM differs from XRES")
	}
	h.wantState(NotRegistered, true, scscf1)

	saa := scscf.sar(t, cx.SAR{Type: cx.AssignRegistration})
	if !saa.Result.Is(diameter.Success) {
		t.Fatalf("SAA %v", cx.ResultName(saa.Result))
	}
	p, err := profile.Parse(saa.UserData)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Default(); got != aliceSIP || len(p.Warnings) > 0 {
		t.Errorf("default identity %q, warnings %v", got, p.Warnings)
	}
	h.wantState(Registered, false, scscf1)

	if a := icscf.lir(t, cx.LIR{PublicIdentity: aliceTel}); !a.Result.Is(diameter.Success) || a.ServerName != scscf1 {
		t.Errorf("LIA %v with %q", cx.ResultName(a.Result), a.ServerName)
	}
	if diff := cmp.Diff(map[string]int{"UAR": 1, "MAR": 1, "SAR": 1, "LIR": 1}, h.Counts()); diff != "" {
		t.Error(diff)
	}
}

func newUSIM(t *testing.T, k, opc string) *aka.USIM {
	t.Helper()
	key, err := aka.ParseSecret(k)
	if err != nil {
		t.Fatal(err)
	}
	op, err := aka.ParseSecret(opc)
	if err != nil {
		t.Fatal(err)
	}
	alg, err := aka.NewMilenage(key, op)
	if err != nil {
		t.Fatal(err)
	}
	array, err := aka.NewSQNArray(0, aka.SQNArrayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &aka.USIM{Algorithm: alg, SQN: array}
}
