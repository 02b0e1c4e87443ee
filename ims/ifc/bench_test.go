package ifc_test

import (
	"os"
	"sync"
	"testing"

	"github.com/gocscf/gocscf/ims/ifc"
	"github.com/gocscf/gocscf/ims/profile"
)

// large is a chain of five criteria that an INVITE does not match until the
// last, with every kind of SPT.
func large(t testing.TB) *ifc.Chain {
	video := header("Accept-Contact", `^.*video[0-9]+`)
	video.Groups = []int32{1}
	return compile(t,
		criterion(1, "sip:sms", trigger(true, method("MESSAGE", 0), header("Content-Type", "application/vnd.3gpp.sms"))),
		criterion(2, "sip:video", trigger(true, method("INVITE", 0), video)),
		criterion(3, "sip:uri", trigger(true, profile.SPT{Kind: profile.RequestURISPT, Text: `^tel:\+49`, Groups: []int32{0}})),
		criterion(4, "sip:sdp", trigger(false, profile.SPT{Kind: profile.SessionDescriptionSPT, Text: "m", Content: "video", HasContent: true, Groups: []int32{0}})),
		criterion(5, "sip:mmtel", trigger(true, method("INVITE", 0), header("P-.*", ""))),
	)
}

func BenchmarkNext(b *testing.B) {
	c := large(b)
	var req ifc.Request = invite()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := c.Next(0, req, ifc.Session{}); !ok {
			b.Fatal("no match")
		}
	}
}

// A chain is shared by all shards.
func TestConcurrentUse(t *testing.T) {
	cache := ifc.NewCache(nil, 4)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				sp := &profile.ServiceProfile{InitialFilterCriteria: []profile.InitialFilterCriteria{
					criterion(1, "sip:a", trigger(true, header("Subject", "H.*d"))), criterion(2, "sip:b", nil)}}
				c, err := cache.Chain(sp)
				if err != nil {
					t.Error(err)
					return
				}
				if got := walk(c, invite(), ifc.Session{}); len(got) != 2 {
					t.Errorf("visits %v", got)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzCompile compiles whatever a document holds and matches it.
func FuzzCompile(f *testing.F) {
	for _, name := range []string{"open5gs.xml", "pyhss.xml", "fhoss.xml"} {
		doc, err := os.ReadFile("../profile/testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(doc, "INVITE", "sip:bob@example.org", "Accept-Contact", "*;+g.3gpp.smsip", "m=video 1 RTP/AVP 0", byte(0))
	}
	f.Fuzz(func(t *testing.T, doc []byte, method, uri, name, value, line string, session byte) {
		p, err := profile.Parse(doc)
		if err != nil {
			return
		}
		r := &request{method: method, uri: uri, headers: [][2]string{{name, value}}, sdp: []string{line}}
		s := ifc.Session{Case: profile.SessionCase(session % 5), Registration: profile.RegistrationType(session % 3), Unregistered: session > 127}
		for i := range p.ServiceProfiles {
			c, err := ifc.Compile(p.ServiceProfiles[i].InitialFilterCriteria)
			if err != nil {
				continue
			}
			// What Explain says agrees with what Next does, all the way.
			for at := ifc.Position(0); ; {
				next, ok := c.Next(at, r, s)
				list := c.Explain(at, r, s)
				if !ok {
					if len(list) != c.Len()-int(at) || len(list) > 0 && list[len(list)-1].Matched {
						t.Fatalf("Next finds nothing, Explain %+v", list)
					}
					break
				}
				if last := list[len(list)-1]; !last.Matched || last.Criterion != next {
					t.Fatalf("Next finds priority %d, Explain %+v", next.Priority, last)
				}
				if next.After() <= at {
					t.Fatalf("no progress from %d", at)
				}
				at = next.After()
			}
		}
	})
}
