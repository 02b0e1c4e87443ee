package ue

import (
	"net/netip"
	"strings"
	"testing"
)

func testMedia(preconditions bool) *media {
	return &media{addr: netip.MustParseAddr("2001:db8::1"), port: 49152, id: 7, preconditions: preconditions,
		localQoS: "none", remoteQoS: "none", direction: "sendrecv"}
}

// The answer takes the first codec that both speak with the offer's payload
// numbers, and the events of its clock (RFC 3264 6.1).
func TestAnswerChoosesCodecs(t *testing.T) {
	const offer = "v=0\r\no=- 1 1 IN IP6 ::1\r\ns=-\r\nc=IN IP6 ::1\r\nt=0 0\r\n" +
		"m=video 0 RTP/AVP 31\r\nm=audio 9 RTP/AVP 0 110 104 102 111\r\na=rtpmap:0 PCMU/8000\r\n" +
		"a=rtpmap:110 AMR/8000\r\na=fmtp:110 mode-set=7\r\na=rtpmap:104 AMR-WB/16000/1\r\n" +
		"a=rtpmap:102 telephone-event/16000\r\na=rtpmap:111 telephone-event/8000\r\na=sendonly\r\n"
	got, err := testMedia(true).answer(offer)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"m=audio 49152 RTP/AVP 110 111\r\n", "a=rtpmap:110 AMR/8000\r\n", "a=fmtp:110 mode-set=7\r\n",
		"c=IN IP6 2001:db8::1\r\n", "a=recvonly\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in the answer:\n%s", want, got)
		}
	}
	if strings.Contains(got, "qos") {
		t.Errorf("preconditions that nobody offered:\n%s", got)
	}
}

// Whatever comes as an offer, the answer can be read by another phone.
func FuzzAnswer(f *testing.F) {
	f.Add(testMedia(true).offer())
	f.Add(testMedia(false).offer())
	f.Fuzz(func(t *testing.T, offer string) {
		answer, err := testMedia(true).answer(offer)
		if err != nil {
			return
		}
		caller := testMedia(true)
		if err := caller.accept(answer); err != nil {
			t.Fatalf("%v in the answer\n%s\nto\n%s", err, answer, offer)
		}
		if caller.chosen == nil {
			t.Fatalf("nothing agreed in the answer\n%s\nto\n%s", answer, offer)
		}
	})
}
