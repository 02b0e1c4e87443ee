package sip

import (
	"strconv"
	"strings"
	"testing"
)

// Messages of the size and shape that a VoLTE phone sends.

func crlf(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

var sampleRegister = crlf(
	"REGISTER sip:ims.mnc001.mcc001.3gppnetwork.org SIP/2.0",
	"Via: SIP/2.0/TCP 10.45.0.2:6300;branch=z9hG4bK-524287-1---4d6c1f0e3fae73b1;rport;keep;transport=TCP",
	"Max-Forwards: 70",
	"Contact: <sip:001010000000001@10.45.0.2:6300;transport=tcp>;expires=600000;+g.3gpp.accesstype=\"cellular2\";audio;video;+g.3gpp.smsip;"+
		"+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\";+sip.instance=\"<urn:gsma:imei:35622410-483840-0>\"",
	"To: <sip:001010000000001@ims.mnc001.mcc001.3gppnetwork.org>",
	"From: <sip:001010000000001@ims.mnc001.mcc001.3gppnetwork.org>;tag=3f9e6a21",
	"Call-ID: 6cOV1V_ww4H4cuDN0z6Prg..@10.45.0.2",
	"CSeq: 2 REGISTER",
	"Expires: 600000",
	"Allow: INVITE, ACK, OPTIONS, BYE, CANCEL, UPDATE, INFO, PRACK, NOTIFY, MESSAGE, REFER",
	"Supported: path, gruu, sec-agree",
	"Require: sec-agree",
	"Proxy-Require: sec-agree",
	"User-Agent: IMS-UE/1.0",
	"Security-Client: ipsec-3gpp;prot=esp;mod=trans;spi-c=25656;spi-s=25657;port-c=6301;port-s=6300;alg=hmac-md5-96;ealg=null",
	"Security-Verify: ipsec-3gpp;q=0.1;prot=esp;mod=trans;spi-c=4096;spi-s=4097;port-c=5100;port-s=6100;alg=hmac-md5-96;ealg=null",
	"P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=0010100010019B01",
	"Authorization: Digest username=\"001010000000001@ims.mnc001.mcc001.3gppnetwork.org\",realm=\"ims.mnc001.mcc001.3gppnetwork.org\","+
		"uri=\"sip:ims.mnc001.mcc001.3gppnetwork.org\",nonce=\"bm9uY2Ugbm9uY2Ugbm9uY2Ugbm9uY2U=\",response=\"6629fae49393a05397450978507c4ef1\","+
		"algorithm=AKAv1-MD5,cnonce=\"0a4f113b\",qop=auth,nc=00000001",
	"Content-Length: 0",
	"",
)

const sampleSDP = "v=0\r\no=UE 1 1 IN IP4 10.45.0.2\r\ns=-\r\nc=IN IP4 10.45.0.2\r\nt=0 0\r\nm=audio 49120 RTP/AVP 96\r\na=rtpmap:96 AMR-WB/16000\r\na=curr:qos local none\r\na=des:qos mandatory local sendrecv\r\n"

var sampleInvite = crlf(
	"INVITE tel:+15550002;phone-context=ims.example SIP/2.0",
	"Via: SIP/2.0/UDP 10.45.0.2:6300;branch=z9hG4bK-524287-1---9d1a5e3ab7c6ef21;rport;keep",
	"Max-Forwards: 70",
	"Route: <sip:192.0.2.10:6100;lr>",
	"Route: <sip:orig@scscf.ims.example:5060;lr>",
	"Contact: <sip:001010000000001@10.45.0.2:6300>;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"",
	"To: <tel:+15550002;phone-context=ims.example>",
	"From: <sip:+15550001@ims.example>;tag=b1c3d5e7",
	"Call-ID: tq8xVYw6mQ0KpPz1@10.45.0.2",
	"CSeq: 1 INVITE",
	"Allow: INVITE, ACK, OPTIONS, BYE, CANCEL, UPDATE, INFO, PRACK, NOTIFY, MESSAGE, REFER",
	"Supported: 100rel, precondition, timer, sec-agree",
	"Require: sec-agree",
	"Proxy-Require: sec-agree",
	"P-Preferred-Identity: <sip:+15550001@ims.example>",
	"P-Preferred-Service: urn:urn-7:3gpp-service.ims.icsi.mmtel",
	"P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=0010100010019B01",
	"Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"",
	"Session-Expires: 1800;refresher=uac",
	"Content-Type: application/sdp",
	"Content-Length: "+strconv.Itoa(len(sampleSDP)),
	"",
) + sampleSDP

// tortuous has compact names, folding, odd case, spaces before colons, unknown
// headers and several values a line.
var tortuous = crlf(
	"MESSAGE sip:b@h SIP/2.0",
	"v: SIP/2.0/UDP a;branch=z9hG4bK1 ,SIP/2.0/TCP b;branch=z9hG4bK2",
	"X-One:1",
	"ROUTE :  <sip:r1;lr>,",
	"  <sip:r2;lr>",
	"x-tWo :   spaced   ",
	"Via: SIP/2.0/UDP c;branch=z9hG4bK3",
	"route: <sip:r3;lr>",
	"f:<sip:a@h>;tag=1",
	"t:<sip:b@h>",
	"i:id@h",
	"cseq: 7",
	"\tMESSAGE",
	"X-One: 2",
	"l: 2",
	"",
) + "hi"

func mustParse(t testing.TB, raw string) *Message {
	t.Helper()
	m, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
