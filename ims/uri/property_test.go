package uri_test

import (
	"strings"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/gocscf/gocscf/ims/uri"
)

// anyURI draws URIs from the grammar, independently of the parser.
func anyURI() *rapid.Generator[uri.URI] {
	token := rapid.StringMatching(`[A-Za-z0-9\-_.!~*'()]([A-Za-z0-9\-_.!~*'()/:&+$]|\[|\]|%[0-9A-F]{2}){0,12}`)
	params := rapid.Custom(func(t *rapid.T) string {
		var items []string
		for range rapid.IntRange(0, 4).Draw(t, "n") {
			p := token.Draw(t, "name")
			if rapid.Bool().Draw(t, "has value") {
				p += "=" + token.Draw(t, "value")
			}
			items = append(items, p)
		}
		return strings.Join(items, ";")
	})
	headers := rapid.StringMatching(`|[A-Za-z-]{1,8}=[A-Za-z0-9%]{0}[A-Za-z0-9?:]{0,8}(&[A-Za-z]{1,4}=(%[0-9a-f]{2}){0,3})?`)
	return rapid.Custom(func(t *rapid.T) uri.URI {
		if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
			return uri.URI{
				Scheme: uri.TEL,
				User:   rapid.StringMatching(`\+[0-9.()\-]{0,6}[0-9]|[0-9A-Fa-f*#.()\-]{0,8}[0-9#*]`).Draw(t, "number"),
				Params: params.Draw(t, "params"),
			}
		}
		u := uri.URI{
			Scheme: rapid.SampledFrom([]string{uri.SIP, uri.SIPS}).Draw(t, "scheme"),
			Host: rapid.OneOf(
				rapid.StringMatching(`[a-zA-Z0-9]{1,5}(\.[a-z0-9]([a-z0-9\-]{0,4}[a-z0-9])?){0,3}`),
				rapid.SampledFrom([]string{"[::1]", "[2001:DB8::1:2]", "[::ffff:192.0.2.1]", "192.0.2.7"}),
			).Draw(t, "host"),
			Port:    rapid.Uint16().Draw(t, "port"),
			Params:  params.Draw(t, "params"),
			Headers: headers.Draw(t, "headers"),
		}
		u.User = rapid.StringMatching(`([A-Za-z0-9\-_.!~*'()&=+$,;?/#]|%[0-9A-Fa-f]{2}){0,16}`).Draw(t, "user")
		if u.User != "" {
			u.Password = rapid.StringMatching(`([A-Za-z0-9&=+$,]|%[0-9A-F]{2}){0,6}`).Draw(t, "password")
		}
		return u
	})
}

func TestWhatIsWrittenReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyURI().Draw(t, "uri")
		s := want.String()
		got, err := uri.Parse(s)
		if err != nil {
			t.Fatalf("Parse(%q): %v", s, err)
		}
		if got != want {
			t.Fatalf("%q reads as %+v, not %+v", s, got, want)
		}
		checkLaws(t, s, got)
	})
}

func TestUserTextSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "text"))
		name, value := rapid.StringMatching(`[a-z]{1,5}`).Draw(t, "name"), strings.ReplaceAll(text, "%", "")
		u := uri.URI{Scheme: uri.SIP, User: uri.EscapeUser(text), Host: "h"}.WithParam(name, value)
		got, err := uri.Parse(u.String())
		if err != nil {
			t.Fatal(err)
		}
		if uri.Unescape(got.User) != text {
			t.Fatalf("user %q came back as %q", text, uri.Unescape(got.User))
		}
		if v, _ := got.Param(name); uri.Unescape(v) != value {
			t.Fatalf("parameter %q came back as %q", value, uri.Unescape(v))
		}
	})
}

// checkLaws holds for whatever Parse accepts.
func checkLaws(t interface {
	Helper()
	Fatalf(string, ...any)
}, s string, u uri.URI) {
	t.Helper()
	if again, err := uri.Parse(u.String()); err != nil || again != u {
		t.Fatalf("%q is written as %q, which reads as %+v, %v", s, u.String(), again, err)
	}
	if !uri.Equal(u, u) {
		t.Fatalf("%q differs from itself", s)
	}
	key := u.Key()
	k, err := uri.Parse(key)
	if err != nil {
		t.Fatalf("key %q of %q is no URI: %v", key, s, err)
	}
	if k.Key() != key {
		t.Fatalf("key %q of %q has another key %q", key, s, k.Key())
	}
	if tel, ok := u.TelFromUserPhone(""); ok {
		if _, err := uri.Parse(tel.String()); err != nil {
			t.Fatalf("%q as tel: %v", s, err)
		}
	}
	for name := range u.AllParams() {
		if !u.HasParam(name) {
			t.Fatalf("%q: parameter %q is yielded but not found", s, name)
		}
		if w := u.WithoutParam(name); w.HasParam(name) {
			t.Fatalf("%q: parameter %q is not removed", s, name)
		}
	}
	for _, part := range []string{u.User, u.Password, u.Host, u.Params, u.Headers} {
		if part != "" && !within(part, s) {
			t.Fatalf("%q: %q was copied", s, part)
		}
	}
}

func within(part, s string) bool {
	p, b := uintptr(unsafe.Pointer(unsafe.StringData(part))), uintptr(unsafe.Pointer(unsafe.StringData(s)))
	return p >= b && p+uintptr(len(part)) <= b+uintptr(len(s))
}

func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		u, err := uri.Parse(s)
		if err != nil {
			_ = err.Error()
			return
		}
		checkLaws(t, s, u)
	})
}

func BenchmarkParse(b *testing.B) {
	const s = "sip:001010000000001@ims.mnc001.mcc001.3gppnetwork.org:5060;transport=udp;lr"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := uri.Parse(s); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAllocations(t *testing.T) {
	const (
		s = "sip:%2B49123;phone-context=x@[2001:db8::1]:5060;transport=udp;lr;user=phone?a=b"
		w = "SIP:001010000000001@ims.mnc001.mcc001.3gppnetwork.org:5060;x;transport=UDP;lr"
	)
	u, v := parse(t, s), parse(t, w)
	known := map[string]int{u.Key(): 1, v.Key(): 2}
	var buf [256]byte
	for name, f := range map[string]func(){
		"Parse":      func() { _, _ = uri.Parse(s); _, _ = uri.Parse(w); _, _ = uri.Parse("tel:+49-12;ext=3") },
		"Equal":      func() { _ = uri.Equal(u, u); _ = uri.Equal(u, v) },
		"Param":      func() { _, _ = u.Param("lr"); _, _ = u.PhoneContext() },
		"AppendTo":   func() { _ = u.AppendTo(buf[:0]) },
		"key lookup": func() { _ = known[string(u.AppendKey(buf[:0]))] + known[string(v.AppendKey(buf[:0]))] },
		"Addr":       func() { _, _ = u.Addr(); _, _ = v.Addr() },
		"to tel":     func() { _, _ = u.TelFromUserPhone("") },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _ = v.Key() }); n > 1 {
		t.Errorf("Key: %v allocations", n)
	}
}
