package sip

import "testing"

// The budgets of the project: index a message without allocating, write it into
// a buffer that is large enough without allocating. Edits have one allocation,
// for the list.

func forwardEdits(e *Edits) {
	e.PopFirst(HRoute)
	e.Set(HMaxForwards, "69")
	e.Prepend(HVia, "SIP/2.0/UDP 192.0.2.10:6100;branch=z9hG4bKabcdefgh")
	e.Prepend(HRecordRoute, "<sip:192.0.2.10:5060;lr>")
	e.Remove(HPPreferredIdentity)
	e.Add(HPAssertedIdentity, "<sip:+15550001@ims.example>")
	e.Add(HPChargingVector, `icid-value="0123456789abcdef";orig-ioi="Type 3ims.example"`)
}

// readTenHeaders is what a function reads of a request to route it.
func readTenHeaders(m *Message) (n int) {
	via, _ := m.TopVia()
	cseq, _ := m.CSeq()
	from, _ := ParseNameAddr(m.Get(HFrom))
	to, _ := ParseNameAddr(m.Get(HTo))
	contact, _ := ParseNameAddr(m.First(HContact))
	mf, _ := m.MaxForwards()
	ani, _ := ParseAccessNetworkInfo(m.First(HPAccessNetworkInfo))
	if m.HasOption(HRequire, "sec-agree") {
		n++
	}
	return n + len(via.Branch) + int(cseq.Seq) + len(from.URI) + len(to.URI) + len(contact.URI) + mf + len(ani.Type) +
		len(m.CallID()) + len(m.First(HRoute))
}

func TestAllocations(t *testing.T) {
	var m Message
	buf := make([]byte, 0, 4096)
	for _, raw := range []string{sampleRegister, sampleInvite, tortuous} {
		for _, tt := range []struct {
			name string
			max  float64
			f    func()
		}{
			{"Index", 0, func() {
				if err := m.Index(raw); err != nil {
					t.Fatal(err)
				}
			}},
			{"AppendTo without edits", 0, func() { buf = m.AppendTo(buf[:0], nil) }},
			{"Frame", 0, func() {
				if _, _, err := Frame(buf); err != nil {
					t.Fatal(err)
				}
			}},
			{"AppendTo with edits", 1, func() {
				var e Edits
				forwardEdits(&e)
				buf = m.AppendTo(buf[:0], &e)
			}},
		} {
			if n := testing.AllocsPerRun(100, tt.f); n > tt.max {
				t.Errorf("%s of %.10q allocates %v times, want %v", tt.name, raw, n, tt.max)
			}
		}
	}
	// Where nothing is folded, reading and judging do not allocate either.
	for _, raw := range []string{sampleRegister, sampleInvite} {
		m := mustParse(t, raw)
		if n := testing.AllocsPerRun(100, func() { readTenHeaders(m) }); n > 0 {
			t.Errorf("reading ten headers allocates %v times", n)
		}
		if n := testing.AllocsPerRun(100, func() { Validate(m) }); n > 0 {
			t.Errorf("Validate allocates %v times", n)
		}
	}
	var e Edits
	forwardEdits(&e)
	invite := mustParse(t, sampleInvite)
	if n := testing.AllocsPerRun(100, func() { buf = invite.AppendTo(buf[:0], &e) }); n > 0 {
		t.Errorf("AppendTo with prepared edits allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = ParseCredentials(mustGet) }); n > 0 {
		t.Errorf("ParseCredentials allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { IDOf("p-aSSERTED-identity"); IDOf("X-Unknown"); IDOf("v") }); n > 0 {
		t.Errorf("IDOf allocates %v times", n)
	}
}

const mustGet = `Digest username="u",realm="r",nonce="n",uri="sip:h",response="0a",algorithm=AKAv1-MD5,qop=auth,nc=00000001,cnonce="c"`

var samples = map[string]string{"REGISTER": sampleRegister, "INVITE": sampleInvite}

func BenchmarkIndex(b *testing.B) {
	for name, raw := range samples {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			var m Message
			for b.Loop() {
				if err := m.Index(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkValidate(b *testing.B) {
	m := mustParse(b, sampleInvite)
	b.ReportAllocs()
	for b.Loop() {
		if p := Validate(m); p != nil {
			b.Fatal(p)
		}
	}
}

func BenchmarkReadTenHeaders(b *testing.B) {
	m := mustParse(b, sampleInvite)
	b.ReportAllocs()
	for b.Loop() {
		readTenHeaders(m)
	}
}

func BenchmarkAppendWithEdits(b *testing.B) {
	for name, raw := range samples {
		b.Run(name, func(b *testing.B) {
			m := mustParse(b, raw)
			buf := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				var e Edits
				forwardEdits(&e)
				buf = m.AppendTo(buf[:0], &e)
			}
		})
	}
}

func BenchmarkNewBranch(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewBranch()
	}
}
