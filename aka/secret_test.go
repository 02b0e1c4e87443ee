package aka

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// leaks says how out shows the octets of k: as hexadecimal, decimal, base64 or raw.
func leaks(out string, k []byte) string {
	list := strings.Trim(fmt.Sprint(k[:4]), "[]")
	goList := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", k[:4]), "[]byte{"), "}")
	low := strings.ToLower(out)
	// AES's round keys begin with K, as words.
	le, be := binary.LittleEndian.Uint32(k), binary.BigEndian.Uint32(k)
	for form, s := range map[string]string{
		"hex": hex.EncodeToString(k[:4]), "spaced hex": fmt.Sprintf("% x", k[:4]), "decimal": list,
		"JSON numbers": strings.ReplaceAll(list, " ", ","), "Go octets": goList,
		"base64": strings.ToLower(base64.StdEncoding.EncodeToString(k[:3])), "raw": strings.ToLower(string(k[:4])),
		"round key": fmt.Sprint(le), "hex round key": fmt.Sprintf("%x", le), "big-endian round key": fmt.Sprint(be),
	} {
		if strings.Contains(low, s) {
			return form
		}
	}
	return ""
}

// holder keeps key material as other packages will: in fields of either kind, by
// value and by pointer. fmt calls no methods on unexported fields.
type holder struct {
	Key      Secret
	key      Secret
	Vector   Vector
	vector   Vector
	alg      Algorithm
	milenage Milenage
	tuak     TUAK
	xor      XOR
	usim     USIM
	response Response
	pointer  *Secret
}

func TestKeysNeverShow(t *testing.T) {
	k := unhex(t, samsungK)
	s := NewSecret(k)
	s32 := NewSecret(append(bytes.Clone(k), k...))
	m := must(NewMilenage(s, s))
	tuak := must(NewTUAK(s, s32, TUAKOptions{}))
	xor := must(NewXOR(s))
	v := Vector{XRES: s, CK: s, IK: s}
	r := Response{RES: s, CK: s, IK: s}
	h := holder{s, s, v, v, m, *m, *tuak, *xor, USIM{Algorithm: tuak}, r, &s}

	values := map[string]any{
		"Secret": s, "*Secret": &s, "[]Secret": []Secret{s}, "map": map[string]Secret{"k": s},
		"Vector": v, "*Vector": &v, "Response": r, "holder": h, "*holder": &h,
		"*Milenage": m, "Milenage": *m, "*TUAK": tuak, "TUAK": *tuak, "*XOR": xor, "XOR": *xor,
		"USIM": USIM{Algorithm: m}, "*USIM": &USIM{Algorithm: xor},
		"password": AKAv1MD5.Password(s, s, s),
	}
	show := func(name, how, out string) {
		t.Helper()
		if out == "" {
			t.Errorf("%s with %s prints nothing", name, how)
		}
		if form := leaks(out, k); form != "" {
			t.Errorf("%s with %s shows the key as %s: %s", name, how, form, out)
		}
	}
	for name, val := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "% x", "%s", "%q", "%d", "%b", "%o", "%c", "%U", "%t", "%p"} {
			show(name, verb, fmt.Sprintf(verb, val))
		}
		show(name, "Errorf", fmt.Errorf("x: %v", val).Error())
		if b, err := json.Marshal(val); err == nil {
			show(name, "json", string(b))
		} else {
			t.Errorf("%s: json: %v", name, err)
		}
		if b, err := yaml.Marshal(val); err == nil {
			show(name, "yaml", string(b))
		}
		var buf bytes.Buffer
		for kind, enc := range map[string]zapcore.Encoder{
			"zap json":    zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
			"zap console": zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
		} {
			buf.Reset()
			log := zap.New(zapcore.NewCore(enc, zapcore.AddSync(&buf), zap.DebugLevel))
			log.Info("any", zap.Any("v", val), zap.Reflect("r", val))
			log.Sugar().Infow("sugar", "v", val)
			log.Sugar().Infof("%+v", val)
			show(name, kind, buf.String())
		}
		for kind, hd := range map[string]func() slog.Handler{
			"slog text": func() slog.Handler { return slog.NewTextHandler(&buf, nil) },
			"slog json": func() slog.Handler { return slog.NewJSONHandler(&buf, nil) },
		} {
			buf.Reset()
			slog.New(hd()).Info("any", "v", val)
			show(name, kind, buf.String())
		}
	}
	if out, err := xml.Marshal(s); err != nil || leaks(string(out), k) != "" {
		t.Errorf("xml: %s, %v", out, err)
	}
	if got, want := fmt.Sprint(s), "[hidden, 16 octets]"; got != want {
		t.Errorf("prints %s, want %s", got, want)
	}
	if got, want := s.GoString(), "aka.Secret[hidden, 16 octets]"; got != want {
		t.Errorf("GoString %s, want %s", got, want)
	}
}

func TestParseSecretErrorDoesNotRepeatTheKey(t *testing.T) {
	for _, s := range []string{samsungK[1:], samsungK[:31] + "g", samsungK + " ", "0x" + samsungK} {
		_, err := ParseSecret(s)
		var pe *ParseError
		if !errors.As(err, &pe) {
			t.Errorf("error %v, want a ParseError", err)
			continue
		}
		for i := 0; i+4 <= len(samsungK); i++ {
			if strings.Contains(err.Error(), samsungK[i:i+4]) {
				t.Errorf("error shows part of the key: %v", err)
			}
		}
	}
}

func TestSecretFromConfiguration(t *testing.T) {
	type subscriber struct{ K, OPc Secret }
	// Digits alone, and what starts like an octal number or looks like a float.
	for _, digits := range []string{
		samsungK, "46500000000000000000000000000001", "00112233445566770011223344556677", "465e0000000000000000000000000001",
	} {
		for _, text := range []string{"k: " + digits, "k: \"" + strings.ToUpper(digits) + "\""} {
			var s subscriber
			if err := yaml.Unmarshal([]byte(text), &s); err != nil || !s.K.Equal(secret(t, digits)) {
				t.Errorf("%s: %v, %d octets", text, err, s.K.Len())
			}
		}
	}
	want := secret(t, "4650000000000001")
	var s subscriber
	if err := json.Unmarshal([]byte(`{"K":"4650000000000001"}`), &s); err != nil || !s.K.Equal(want) {
		t.Errorf("json: %v", err)
	}
	// What was hidden cannot be taken for a key.
	out := must(json.Marshal(s))
	if err := json.Unmarshal(out, &s); err == nil {
		t.Errorf("%s was read back as a key", out)
	}
}

func TestSecretEqualAndWipe(t *testing.T) {
	a, b := secret(t, "0102"), secret(t, "0102")
	if !a.Equal(b) || a.Equal(secret(t, "0103")) || a.Equal(secret(t, "01")) || a.Equal(Secret{}) || !(Secret{}).Equal(NewSecret(nil)) {
		t.Error("Equal does not compare the octets")
	}
	shared := a
	a.Wipe()
	if !shared.Equal(secret(t, "0000")) || shared.Len() != 2 {
		t.Errorf("a copy holds %x after Wipe", shared.Bytes())
	}
	if !b.Equal(secret(t, "0102")) {
		t.Error("Wipe reached another secret")
	}
	(Secret{}).Wipe()
}

func TestNewSecretCopies(t *testing.T) {
	b := []byte{1, 2}
	s := NewSecret(b)
	clear(b)
	if !s.Equal(secret(t, "0102")) {
		t.Error("NewSecret kept the caller's slice")
	}
}
