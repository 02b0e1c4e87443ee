package lab

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/conformance"
	"github.com/gocscf/gocscf/testbed/hss"
)

func TestMain(m *testing.M) {
	sip.PoisonBuffers()
	goleak.VerifyTestMain(m)
}

// A Samsung SM-T515 at Kamailio 5 and FHoSS, 2020-04-17: values of a public
// capture of the Open5GS project (ipsec_reg).
const (
	samsungDomain   = "ims.mnc001.mcc001.3gppnetwork.org"
	samsungIMPI     = "001011234567893@" + samsungDomain
	samsungK        = "8baf473f2f8fd09487cccbd7097c6862"
	samsungOPc      = "8e27b6af0e692e750f32667a3b14605d"
	samsungRAND     = "a0944c75ff3c4f0853a2f910aa1f104f"
	samsungSQN      = "000017242898"
	samsungNonce    = "oJRMdf88TwhTovkQqh8QT8bi9GyPQoAAfzu5uEt8P/Y="
	samsungCNonce   = "a61fbe8516b77984b522256da5f7c32f"
	samsungResponse = "63175c06a7a88bd479f5c9f714487476"
)

// rawPhone is a phone of which a test writes every octet.
type rawPhone struct {
	t    *testing.T
	conn net.Conn
	cseq int
}

func dialRaw(t *testing.T, to string) *rawPhone {
	t.Helper()
	conn, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &rawPhone{t: t, conn: conn}
}

// register sends a REGISTER as that phone wrote it, but for addresses and the
// Security-Client's place, and returns the final response.
func (p *rawPhone) register(authorization string) *sip.Message {
	p.t.Helper()
	p.cseq++
	here := p.conn.LocalAddr().String()
	text := strings.Join([]string{
		"REGISTER sip:" + samsungDomain + " SIP/2.0",
		"Via: SIP/2.0/UDP " + here + fmt.Sprintf(";branch=z9hG4bKphone%d;rport;keep;transport=UDP", p.cseq),
		"Max-Forwards: 70",
		"Expires: 600000",
		"From: <sip:" + samsungIMPI + ">;tag=s1",
		"To: <sip:" + samsungIMPI + ">",
		"Call-ID: real-phone@" + here,
		fmt.Sprintf("CSeq: %d REGISTER", p.cseq),
		`Contact: <sip:001011234567893@` + here + `>;+sip.instance="<urn:gsma:imei:35722809-000000-0>";+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"`,
		"Authorization: " + authorization,
		"Require: sec-agree",
		"Proxy-Require: sec-agree",
		"Supported: path,sec-agree",
		"Security-Client: ipsec-3gpp;prot=esp;mod=trans;spi-c=25656;spi-s=25657;port-c=6301;port-s=6300;alg=hmac-md5-96;ealg=null",
		"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=00101000101234567",
		"Content-Length: 0", "", "",
	}, "\r\n")
	if _, err := p.conn.Write([]byte(text)); err != nil {
		p.t.Fatal(err)
	}
	buf := make([]byte, 65535)
	for {
		if err := p.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			p.t.Fatal(err)
		}
		n, err := p.conn.Read(buf)
		if err != nil {
			p.t.Fatalf("no final answer to REGISTER %d: %v", p.cseq, err)
		}
		m, err := sip.Parse(string(buf[:n]))
		if err != nil {
			p.t.Fatalf("the answer is no SIP: %v", err)
		}
		if m.Status() >= 200 {
			return m
		}
	}
}

func digest(response string) string {
	return `Digest username="` + samsungIMPI + `",realm="` + samsungDomain + `",nonce="` + samsungNonce + `",uri="sip:` + samsungDomain +
		`",response="` + response + `",algorithm=AKAv1-MD5,cnonce="` + samsungCNonce + `",qop=auth-int,nc=00000001`
}

// TestRealPhone: the HSS holds the phone's K and OPc, RAND and SQN are set, and
// the phone's own recorded answer is accepted over the whole chain: REGISTER over
// UDP through P, I and S, UAR, MAR, UAR, SAR over TCP.
func TestRealPhone(t *testing.T) {
	conformance.Shows(t, "SA-10")
	initial := `Digest username="` + samsungIMPI + `",realm="` + samsungDomain + `",nonce="",uri="sip:` + samsungDomain + `",response=""`
	tests := []struct {
		name, response string
		status         int
	}{
		{"its own answer", samsungResponse, 200},
		{"one bit flipped", "7" + samsungResponse[1:], 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			core, err := StartCore(ctx, CoreConfig{Domain: samsungDomain, Subscribers: []hss.Subscriber{{
				IMPI: samsungIMPI, IMPUs: []string{"sip:" + samsungIMPI, "tel:+1234567893"},
				K: samsungK, OPc: samsungOPc, SQN: samsungSQN, RAND: []string{samsungRAND},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			defer core.Stop()
			phone := dialRaw(t, core.P.Gm().String())

			challenge := phone.register(initial)
			if challenge.Status() != 401 {
				t.Fatalf("the first REGISTER got:\n%s", challenge.Raw())
			}
			ch, err := sip.ParseChallenge(challenge.Get(sip.HWWWAuthenticate))
			if err != nil {
				t.Fatal(err)
			}
			if ch.Nonce != samsungNonce || ch.Algorithm != "AKAv1-MD5" || ch.Realm != samsungDomain {
				t.Errorf("the challenge is not the one of the capture:\n%s", challenge.Raw())
			}
			if strings.Contains(challenge.Raw(), "ck=") || strings.Contains(challenge.Raw(), "ik=") {
				t.Error("a key reached the phone")
			}

			final := phone.register(digest(tt.response))
			if final.Status() != tt.status {
				t.Fatalf("the answer got, wanted %d:\n%s", tt.status, final.Raw())
			}
			counts := core.HSS.Counts()
			if counts["UAR"] != 2 || counts["MAR"] != 1 || counts["SAR"] != 1 {
				t.Errorf("Cx requests: %v", counts)
			}
			if tt.status != 200 {
				if w := final.Get(sip.HWarning); !strings.Contains(w, samsungIMPI) {
					t.Errorf("the refusal does not say why: %q", w)
				}
				return
			}
			contact, err := sip.ParseNameAddr(final.Get(sip.HContact))
			if err != nil {
				t.Fatal(err)
			}
			if e, _ := contact.Param("expires"); e != "3600" {
				t.Errorf("600000 s were asked for and %s granted", e)
			}
			if final.Get(sip.HServiceRoute) == "" || !strings.Contains(final.Get(sip.HPAssociatedURI), "tel:+1234567893") {
				t.Errorf("the 200 lacks Service-Route or P-Associated-URI:\n%s", final.Raw())
			}
			if final.Has(sip.HPChargingVector) || final.Has(sip.HPChargingFunctionAddresses) {
				t.Error("charging headers reached the phone")
			}
			if st, ok := core.HSS.State("tel:+1234567893"); !ok || st.State != hss.Registered {
				t.Errorf("the HSS holds the implicit set as %+v", st)
			}
		})
	}
}
