package profile

import (
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/gocscf/gocscf/ims/identity"
)

// asParsed holds what t reads against what Parse does, and returns the profile.
func asParsed(t *testing.T, templates *Templates, doc string) *Profile {
	t.Helper()
	got, err := templates.Parse(doc)
	want, wantErr := Parse(doc)
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		t.Fatalf("%v, Parse says %v\n%s", err, wantErr, doc)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("(-parsed +from a template):\n%s", cmp.Diff(want, got))
	}
	return got
}

func read1(t testing.TB, name string) string {
	doc, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// The profile of another subscriber is made from the template: it shares the criteria,
// has names of its own, and nobody sees the others'.
func TestTemplates(t *testing.T) {
	doc := `<?xml version="1.0" encoding="UTF-8"?>
<IMSSubscription><PrivateID>1@h</PrivateID>
<ServiceProfile><PublicIdentity><BarringIndication>1</BarringIndication><Identity>sip:1@h</Identity><Extension><DisplayName>d</DisplayName></Extension></PublicIdentity>
<PublicIdentity><Identity> tel:+1 </Identity></PublicIdentity>
<InitialFilterCriteria><Priority>1</Priority><ApplicationServer><ServerName>sip:as</ServerName></ApplicationServer></InitialFilterCriteria></ServiceProfile>
<ServiceProfile><PublicIdentity><Identity>sip:one@h<!-- - --></Identity></PublicIdentity><CoreNetworkServicesAuthorization/></ServiceProfile>
</IMSSubscription>`
	templates := &Templates{}
	one := asParsed(t, templates, doc)
	one.ServiceProfiles[0].PublicIdentities[0].Identity = "sip:changed@h" // the caller's own
	two := asParsed(t, templates, strings.NewReplacer("1@h", "2@H", "+1", "+1-2", "one", "%74wo").Replace(doc))
	if &one.ServiceProfiles[0].InitialFilterCriteria[0] != &two.ServiceProfiles[0].InitialFilterCriteria[0] {
		t.Error("no template was used")
	}
	want := []identity.IMPU{"sip:2@h", "tel:+12", "sip:two@h"}
	var got []identity.IMPU
	for _, id := range two.All {
		got = append(got, id.Identity)
	}
	if !reflect.DeepEqual(got, want) || two.PrivateID != "2@h" {
		t.Errorf("%v of %v", got, two.PrivateID)
	}
	asParsed(t, templates, doc)

	// Who adds an identity to one service profile has not changed the next.
	first, second := &two.ServiceProfiles[0], two.ServiceProfiles[1].PublicIdentities[0]
	first.PublicIdentities = append(first.PublicIdentities, PublicIdentity{Identity: "sip:added@h"})
	if now := two.ServiceProfiles[1].PublicIdentities[0]; !reflect.DeepEqual(now, second) {
		t.Errorf("%v has become %v", second, now)
	}
}

// A profile with one service profile and few identities is one object, its names another,
// and it is like any other.
func TestUsualProfilesAreTwoObjects(t *testing.T) {
	for n := 1; n <= 5; n++ {
		doc := "<IMSSubscription><PrivateID>%1@h</PrivateID><ServiceProfile>"
		for i := range n {
			doc += "<PublicIdentity><Identity>sip:%" + strconv.Itoa(i) + "@h</Identity></PublicIdentity>"
		}
		doc += "</ServiceProfile></IMSSubscription>"
		templates := &Templates{}
		asParsed(t, templates, strings.ReplaceAll(doc, "%", "a"))
		two := strings.ReplaceAll(doc, "%", "b")
		p := asParsed(t, templates, two)
		ids := p.ServiceProfiles[0].PublicIdentities
		if added := append(ids, PublicIdentity{}); &added[0] == &ids[0] {
			t.Errorf("%d identities: who adds one writes into the profile", n)
		}
		allocs := testing.AllocsPerRun(100, func() { p, _ = templates.Parse(two) })
		if want := map[bool]float64{true: 2, false: 4}[n <= 3]; allocs != want {
			t.Errorf("%d identities: %v objects, want %v", n, allocs, want)
		}
	}
}

// A wildcarded identity is named twice in a profile: it is not one user's with the name of
// another.
func TestTemplatesOfWildcards(t *testing.T) {
	templates := &Templates{}
	for _, id := range []string{"sip:a!.*!@h", "sip:b!.*!@h"} {
		asParsed(t, templates, `<IMSSubscription><PrivateID>1@h</PrivateID><ServiceProfile><PublicIdentity><Identity>`+id+
			`</Identity><Extension><IdentityType>2</IdentityType></Extension></PublicIdentity></ServiceProfile></IMSSubscription>`)
	}
}

// A template keeps nothing of the message that its document came in.
func TestTemplatesKeepNoMessage(t *testing.T) {
	templates := &Templates{}
	doc := strings.Clone(read1(t, "open5gs.xml"))
	asParsed(t, templates, doc)
	begin := uintptr(unsafe.Pointer(unsafe.StringData(doc)))
	for _, piece := range (*templates.list.Load())[0].pieces {
		if at := uintptr(unsafe.Pointer(unsafe.StringData(piece))); at >= begin && at < begin+uintptr(len(doc)) {
			t.Fatalf("%q is a part of it", piece)
		}
	}
}

// What differs in anything else than names, or where a name is not as others, is parsed.
func TestTemplatesLookTwice(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"a criterion":        func(s string) string { return strings.Replace(s, "INVITE", "MESSAGE", 1) },
		"barring":            func(s string) string { return strings.Replace(s, "ndication>0", "ndication>1", 1) },
		"more behind it":     func(s string) string { return s + "<A/>" },
		"less":               func(s string) string { return s[:len(s)-2] },
		"a number":           func(s string) string { return strings.Replace(s, "<Priority>", "<Priority>1", 1) },
		"no private id":      func(s string) string { return inside(s, "PrivateID", "") },
		"null":               func(s string) string { return inside(s, "PrivateID", "null") },
		"spaces":             func(s string) string { return inside(s, "PrivateID", "\n") },
		"a bad private id":   func(s string) string { return inside(s, "PrivateID", "@") },
		"no identity":        func(s string) string { return inside(s, "Identity", "") },
		"a bad identity":     func(s string) string { return inside(s, "Identity", "sip") },
		"without user":       func(s string) string { return inside(s, "Identity", "sip:123") },
		"a reference":        func(s string) string { return inside(s, "Identity", "sip:a&amp;@b") },
		"not ASCII":          func(s string) string { return inside(s, "Identity", "sip:é@b") },
		"CR":                 func(s string) string { return inside(s, "Identity", "sip:a@b\r") },
		"end of CDATA":       func(s string) string { return inside(s, "Identity", "sip:a]]>@b") },
		"CDATA's end again":  func(s string) string { return inside(s, "PrivateID", "a]]>@b") },
		"empty barring":      func(s string) string { return inside(s, "BarringIndication", "") },
		"CDATA":              func(s string) string { return inside(s, "Identity", "<![CDATA[sip:a@b]]>") },
		"a comment":          func(s string) string { return inside(s, "Identity", "sip:a@<!-- -->b") },
		"an element":         func(s string) string { return inside(s, "Identity", "sip:a@b<Identity>sip:b@b</Identity>") },
		"another identity":   func(s string) string { return inside(s, "Identity", "sip:a@b</Identity><Identity>sip:b@b") },
		"a wildcarded one":   func(s string) string { return inside(s, "Identity", "sip:a!.*!@b") },
		"a mark in the name": func(s string) string { return inside(s, "Identity", "sip:a>@b") },
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range []string{"open5gs.xml", "pyhss.xml", "fhoss.xml"} {
				templates := &Templates{}
				doc := read1(t, file)
				asParsed(t, templates, doc)
				asParsed(t, templates, change(doc))
				asParsed(t, templates, doc)
				templates = &Templates{} // of which it is the first
				asParsed(t, templates, change(doc))
				asParsed(t, templates, change(doc))
				asParsed(t, templates, doc)
			}
		})
	}
}

// inside replaces the text of the first element of that name.
func inside(doc, element, text string) string {
	before, rest, _ := strings.Cut(doc, "<"+element+">")
	_, after, _ := strings.Cut(rest, "</"+element+">")
	return before + "<" + element + ">" + text + "</" + element + ">" + after
}

// Templates are few, and where an HSS has none they are seldom made.
func TestTemplatesAreBounded(t *testing.T) {
	templates := &Templates{}
	doc := strings.Replace(small, "%", "<A>%</A>", 1)
	for i := range 3 * rarely {
		asParsed(t, templates, strings.Replace(doc, "%", strconv.Itoa(i), 1))
		if n := len(*templates.list.Load()); n != min(i+1, maxTemplates) {
			t.Fatalf("%d templates of %d documents", n, i+1)
		}
	}
	before := *templates.list.Load()
	made := 0
	for i := range rarely {
		asParsed(t, templates, strings.Replace(doc, "%", "x"+strconv.Itoa(i), 1))
		if now := *templates.list.Load(); !reflect.DeepEqual(now, before) {
			made, before = made+1, now
		}
	}
	if made != 1 {
		t.Errorf("%d of %d documents were made templates", made, rarely)
	}
	for i := range maxTemplates * rarely { // each in its turn
		asParsed(t, templates, strings.Replace(doc, "%", "y"+strconv.Itoa(i), 1))
	}
	for i, one := range *templates.list.Load() {
		if one == before[i] {
			t.Errorf("template %d is as old as before", i)
		}
	}
	long := strings.Replace(doc, "%", strings.Repeat("x", maxTemplate), 1)
	templates = &Templates{}
	asParsed(t, templates, long)
	if templates.list.Load() != nil {
		t.Errorf("a document of %d octets is a template", len(long))
	}
	if _, err := templates.Parse(strings.Repeat("x", MaxSize+1)); err == nil {
		t.Error("a document beyond all bounds was taken")
	}
}

// FuzzTemplates: whatever was read before, a document is read as Parse does.
func FuzzTemplates(f *testing.F) {
	for _, name := range []string{"open5gs.xml", "pyhss.xml", "fhoss.xml"} {
		f.Add(read1(f, name), read1(f, name), "sip:a@b", "u@h")
	}
	f.Add(small, strings.Replace(small, "%", "<!-- -->", 1), "tel:+1", "null")
	f.Add(small, small, "sip:a@b<!-- -->", "u@h</PrivateID><PrivateID>v@h")
	f.Fuzz(func(t *testing.T, one, two, impu, impi string) {
		if len(one)+len(two)+len(impu)+len(impi) > MaxSize {
			return
		}
		templates := &Templates{}
		for _, doc := range []string{one, two, inside(inside(one, "Identity", impu), "PrivateID", impi), inside(two, "Identity", impu), one} {
			asParsed(t, templates, doc)
		}
	})
}

func BenchmarkTemplates(b *testing.B) {
	doc := read1(b, "open5gs.xml")
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse(doc); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("template", func(b *testing.B) {
		templates := &Templates{}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := templates.Parse(doc); err != nil {
				b.Fatal(err)
			}
		}
	})
}
