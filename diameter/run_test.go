package diameter

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// sameAsWalker holds what Decode made of a frame to what go-diameter's codec makes
// of it: the same verdict, and the same AVPs by every accessor.
func sameAsWalker(t *testing.T, frame []byte, m *Message, fault *AVPError) {
	t.Helper()
	if len(frame) < HeaderLen {
		return
	}
	if _, bad := decodeHeader(frame); bad != nil {
		return
	}
	w := walker{d: testDictionary, app: m.Application, strict: m.IsRequest()}
	want, wantFault := w.walk(frame[HeaderLen:], 0)
	if (fault == nil) != (wantFault == nil) || fault != nil && (fault.Code != wantFault.Code || fault.Reason != wantFault.Reason) {
		t.Fatalf("fault %v, of the walker %v", fault, wantFault)
	}
	if fault != nil {
		return
	}
	oracle := &Message{Flags: m.Flags, Command: m.Command, Application: m.Application, AVPs: want}
	if got := m.All(); !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
		t.Fatalf("AVPs %v, of the walker %v", got, want)
	}
	for _, a := range want {
		if got := m.Text(a.Code, a.VendorID); got != oracle.Text(a.Code, a.VendorID) {
			t.Fatalf("text of %d is %q, of the walker %q", a.Code, got, oracle.Text(a.Code, a.VendorID))
		}
		if got := m.Find(a.Code, a.VendorID); !reflect.DeepEqual(got, oracle.Find(a.Code, a.VendorID)) {
			t.Fatalf("AVP %v, of the walker %v", got, oracle.Find(a.Code, a.VendorID))
		}
	}
	got, ok := m.Result()
	if wantResult, wantOK := oracle.Result(); got != wantResult || ok != wantOK {
		t.Fatalf("result %v %v, of the walker %v %v", got, ok, wantResult, wantOK)
	}
	if m.IsRequest() {
		a, b := testDictionary.Check(m), testDictionary.Check(oracle)
		if (a == nil) != (b == nil) || a != nil && (a.Code != b.Code || a.Reason != b.Reason) {
			t.Fatalf("check says %v, of the walker's AVPs %v", a, b)
		}
	}
}

// What is encoded straight into octets is what go-diameter's AVPs encode to.
func TestEncodingIsGoDiameters(t *testing.T) {
	def := func(code, vendor uint32, typ datatype.TypeID, mandatory bool) *Definition {
		return &Definition{Code: code, Vendor: vendor, Type: typ, Mandatory: mandatory}
	}
	for _, vendor := range []uint32{0, Vendor3GPP} {
		for _, mandatory := range []bool{false, true} {
			for n := range 9 {
				s := string(bytes.Repeat([]byte("x"), n))
				d := def(700, vendor, datatype.OctetStringType, mandatory)
				same(t, AppendString(nil, d, s), d.New(datatype.OctetString(s)))
				same(t, AppendString(nil, d, []byte(s)), d.New(datatype.UTF8String(s)))
				group := AppendGroup([]byte("before"), d, false)
				group = AppendString(AppendUint32(group, d, 7), d, s)
				same(t, EndGroup(group, 6)[6:], d.New(NewGroup(d.New(datatype.Unsigned32(7)), d.New(datatype.OctetString(s)))))
			}
			d := def(1<<31+5, vendor, datatype.Unsigned32Type, mandatory)
			same(t, AppendUint32(nil, d, 1<<31+9), d.New(datatype.Unsigned32(1<<31+9)))
			same(t, AppendUint64(nil, d, 1<<63+9), d.New(datatype.Unsigned64(1<<63+9)))
			same(t, AppendValue(nil, d, datatype.Time(time.Unix(1e9, 0))), d.New(datatype.Time(time.Unix(1e9, 0))))
			want := d.New(NewGroup())
			want.Flags |= avp.Mbit
			same(t, EndGroup(AppendGroup(nil, d, true), 0), want)
		}
	}
}

func same(t *testing.T, got []byte, a *AVP) {
	t.Helper()
	want, err := a.Serialize()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("encoded %x, by go-diameter %x", got, want)
	}
}

// Every definition is found by the table of its application, and no other.
func TestTablesAreTheDictionary(t *testing.T) {
	for _, app := range []uint32{0, testApp, 12345} {
		for k := range testDictionary.avps {
			for _, vendor := range []uint32{k.vendor, k.vendor + 1} {
				if got, want := testDictionary.table(app).lookup(k.code, vendor), testDictionary.Lookup(app, k.code, vendor); got != want {
					t.Errorf("application %d, AVP %d of vendor %d: %v, want %v", app, k.code, vendor, got, want)
				}
			}
		}
	}
}
