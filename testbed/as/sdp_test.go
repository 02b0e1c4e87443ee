package as

import (
	"net/netip"
	"strings"
	"testing"
)

func TestAnswersToOffers(t *testing.T) {
	at := netip.MustParseAddr("127.0.0.1")
	for _, tt := range []struct{ name, offer, want string }{
		{"first codec and its DTMF", sdpOffer,
			"m=audio 49170 RTP/AVP 104 100\na=rtpmap:104 AMR-WB/16000/1\na=fmtp:104 mode-change-capability=2;max-red=0\na=rtpmap:100 telephone-event/16000\na=sendrecv\n"},
		{"DTMF first", "v=0\no=- 1 1 IN IP4 1.2.3.4\ns=-\nc=IN IP4 1.2.3.4\nt=0 0\nm=audio 1 RTP/AVP 100 0\na=rtpmap:100 telephone-event/8000\n",
			"m=audio 49170 RTP/AVP 0 100\na=rtpmap:100 telephone-event/8000\na=sendrecv\n"},
		{"held for the whole session", "v=0\no=- 1 1 IN IP4 1.2.3.4\ns=-\nc=IN IP4 1.2.3.4\nt=0 0\na=inactive\nm=audio 1 RTP/AVP 0\n",
			"m=audio 49170 RTP/AVP 0\na=inactive\n"},
		{"video beside", sdpOffer + "m=video 5 RTP/AVP 99\na=recvonly\n",
			"a=sendrecv\nm=video 0 RTP/AVP 99\n"},
		{"receive only", strings.Replace(sdpOffer, "a=sendrecv", "a=recvonly", 1), "a=sendonly\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := answerSDP([]byte(wireBody(tt.offer)), at)
			if err != nil {
				t.Fatal(err)
			}
			if text := strings.ReplaceAll(string(got), "\r\n", "\n"); !strings.HasSuffix(text, tt.want) || !strings.Contains(text, "\nc=IN IP4 127.0.0.1\n") {
				t.Errorf("got\n%s\nwant at its end\n%s", text, tt.want)
			}
		})
	}
	for name, offer := range map[string]string{"nothing": "", "no audio": "v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\n", "refused audio": wireBody(strings.Replace(sdpOffer, "50000", "0", 1))} {
		t.Run(name, func(t *testing.T) {
			if got, err := answerSDP([]byte(offer), at); err == nil {
				t.Errorf("no error, but %s", got)
			}
		})
	}
	if got, err := offerSDP(netip.MustParseAddr("2001:db8::1")); err != nil || !strings.Contains(string(got), "c=IN IP6 2001:db8::1\r\n") {
		t.Errorf("offer %s, %v", got, err)
	}
}

// FuzzAnswerSDP: an offer comes from outside, whatever it holds.
func FuzzAnswerSDP(f *testing.F) {
	f.Add([]byte(wireBody(sdpOffer)))
	f.Add([]byte(wireBody(sdpShort)))
	f.Fuzz(func(t *testing.T, offer []byte) {
		got, err := answerSDP(offer, netip.MustParseAddr("127.0.0.1"))
		if err == nil && len(got) > 4*len(offer)+1000 {
			t.Errorf("an answer of %d octets to an offer of %d", len(got), len(offer))
		}
	})
}
