package profile

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const small = "<IMSSubscription><PrivateID>u@h</PrivateID><ServiceProfile><PublicIdentity><Identity>sip:a@h</Identity></PublicIdentity>%</ServiceProfile></IMSSubscription>"

// What the fast way takes, and what it leaves to encoding/xml.
func TestPlain(t *testing.T) {
	for name, tc := range map[string]struct {
		doc   string
		plain bool
	}{
		"nothing special":         {small, true},
		"declaration":             {declarations[0] + "\n" + small, true},
		"comment":                 {"<!-- - > -->" + small, true},
		"attributes":              {strings.Replace(small, ">", ` xmlns:x="urn:a" x:y='"' >`, 1), true},
		"prefix":                  {strings.ReplaceAll(strings.ReplaceAll(small, "<", "<n:"), "<n:/", "</n:"), true},
		"empty elements":          {strings.Replace(small, "%", "<A/><B x='1' />", 1), true},
		"spaces in tags":          {strings.ReplaceAll(small, ">", "\n\t >"), true},
		"brackets in text":        {strings.Replace(small, "%", "<A>[[0-9]]+ > ]]</A>", 1), true},
		"reference":               {strings.Replace(small, "%", "<A>&amp;</A>", 1), false},
		"reference in attribute":  {strings.Replace(small, "%", "<A b='&amp;'/>", 1), false},
		"CDATA":                   {strings.Replace(small, "%", "<A><![CDATA[x]]></A>", 1), false},
		"end of CDATA":            {strings.Replace(small, "%", "<A>]]></A>", 1), false},
		"instruction":             {strings.Replace(small, "%", "<?x?>", 1), false},
		"other encoding":          {`<?xml version="1.0" encoding="latin1"?>` + small, false},
		"not ASCII":               {strings.Replace(small, "%", "<A>é</A>", 1), false},
		"CR":                      {strings.Replace(small, "%", "<A>\r\n</A>", 1), false},
		"control character":       {strings.Replace(small, "%", "<A>\x01</A>", 1), false},
		"two colons":              {strings.Replace(small, "%", "<a:b:c></a:b:c>", 1), false},
		"nothing behind a colon":  {strings.Replace(small, "%", "<a:></a:>", 1), false},
		"nothing before a colon":  {strings.Replace(small, "%", "<:a></:a>", 1), false},
		"dashes in a comment":     {strings.Replace(small, "%", "<!-- -- -->", 1), false},
		"less-than in attribute":  {strings.Replace(small, "%", "<A b='<'/>", 1), false},
		"attribute without value": {strings.Replace(small, "%", "<A b/>", 1), false},
		"joined attributes":       {strings.Replace(small, "%", "<A b='1'c='1'/>", 1), false},
		"crossed":                 {strings.Replace(small, "%", "<A><B></A></B>", 1), false},
		"other prefix at the end": {strings.Replace(small, "%", "<a:B></c:B>", 1), false},
		"closed too often":        {small + "</A>", false},
		"not closed":              {strings.TrimSuffix(small, "</IMSSubscription>"), false},
		"cut off in a tag":        {strings.TrimSuffix(small, ">"), false},
		"document type":           {"<!DOCTYPE a>" + small, false},
	} {
		t.Run(name, func(t *testing.T) {
			doc := []byte(tc.doc)
			_, err := plainReader(string(doc)).profile()
			if err == nil != tc.plain {
				t.Errorf("plain: %v, want %v", err == nil, tc.plain)
			}
			sameBothWays(t, doc)
		})
	}
	for _, name := range []string{"open5gs.xml", "pyhss.xml"} {
		doc, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plainReader(strings.TrimSpace(string(doc))).profile(); err != nil {
			t.Errorf("%s is not taken for plain", name)
		}
	}
}

// sameBothWays holds Parse against encoding/xml alone.
func sameBothWays(t *testing.T, doc []byte) {
	t.Helper()
	if len(doc) > MaxSize {
		return
	}
	got, gotErr := Parse(doc)
	general := func(r *reader) (*Profile, error) {
		if r.d == nil {
			return nil, errNotPlain
		}
		return r.profile()
	}
	want, wantErr := read(string(doc), general)
	if (gotErr == nil) != (wantErr == nil) || gotErr != nil && gotErr.Error() != wantErr.Error() {
		t.Fatalf("%v, encoding/xml says %v", gotErr, wantErr)
	}
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("(-encoding/xml +plain):\n%s", cmp.Diff(want, got))
	}
}

func FuzzPlain(f *testing.F) {
	for _, name := range []string{"open5gs.xml", "pyhss.xml", "fhoss.xml"} {
		doc, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc)
	}
	for _, in := range []string{"<a:b c = 'd'/>", "<A>]]></A>", "<!--->-->", "<?xml version='1.0'?>", "<A b='&lt;'>\r</A >", "<Extension/><Extension>1</Extension>"} {
		f.Add([]byte(strings.Replace(small, "%", in, 1)))
	}
	f.Fuzz(func(t *testing.T, doc []byte) { sameBothWays(t, doc) })
}
