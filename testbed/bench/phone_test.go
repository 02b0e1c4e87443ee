package bench

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocscf/gocscf/aka"
)

// phone writes prepared text and looks for a few words in what comes back. It is
// no SIP stack: what it saves is not in the figures.
type phone struct {
	conn  net.Conn
	local string
	gm    string
	sim   *aka.Milenage

	imsi   string
	callID string
	cseq   int
	routes []byte // Route lines: our P-CSCF and the Service-Route
	out    []byte
	in     []byte
}

var calls, branches atomic.Int64

const (
	maxWait = 20 * time.Second // for a whole procedure; nothing is repeated
	agent   = "Allow: INVITE, ACK, OPTIONS, BYE, CANCEL, UPDATE, INFO, PRACK, NOTIFY, MESSAGE, REFER\r\nUser-Agent: IMS-UE/1.0\r\n" +
		"P-Access-Network-Info: 3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=0010100010019B01\r\n"
	tags = `;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel"`
	sdp  = "v=0\r\no=UE 1 1 IN IP4 10.45.0.2\r\ns=-\r\nc=IN IP4 10.45.0.2\r\nt=0 0\r\nm=audio 49120 RTP/AVP 96\r\na=rtpmap:96 AMR-WB/16000\r\n"
)

func newPhone(tb testing.TB, n *network, gm netip.AddrPort) *phone {
	tb.Helper()
	conn, err := n.phone(gm)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	k, err := aka.ParseSecret(keyK)
	if err != nil {
		tb.Fatal(err)
	}
	opc, err := aka.ParseSecret(keyOPc)
	if err != nil {
		tb.Fatal(err)
	}
	sim, err := aka.NewMilenage(k, opc)
	if err != nil {
		tb.Fatal(err)
	}
	return &phone{conn: conn, local: conn.LocalAddr().String(), gm: gm.String(), sim: sim, in: make([]byte, 65535)}
}

func (p *phone) impu() string { return "sip:" + p.imsi + "@" + domain }

// request begins p.out. Lines that all requests have follow the routes.
func (p *phone) request(method, ruri string, routes []byte) {
	b := append(p.out[:0], method...)
	b = append(append(b, ' '), ruri...)
	b = append(append(b, " SIP/2.0\r\nVia: SIP/2.0/UDP "...), p.local...)
	b = strconv.AppendInt(append(b, ";branch=z9hG4bKphone"...), branches.Add(1), 36)
	b = append(append(b, ";rport\r\nMax-Forwards: 70\r\n"...), routes...)
	b = append(append(b, "Call-ID: "...), p.callID...)
	b = strconv.AppendInt(append(b, "\r\nCSeq: "...), int64(p.cseq), 10)
	b = append(append(append(b, ' '), method...), "\r\n"...)
	p.out = b
}

func (p *phone) add(text ...string) {
	for _, t := range text {
		p.out = append(p.out, t...)
	}
}

// send ends p.out with its body and sends it.
func (p *phone) send(body string) error {
	p.out = strconv.AppendInt(append(p.out, "Content-Length: "...), int64(len(body)), 10)
	p.add("\r\n\r\n", body)
	_, err := p.conn.Write(p.out)
	return err
}

// begin starts a dialog or transaction of its own.
func (p *phone) begin() error {
	p.callID, p.cseq = strconv.FormatInt(calls.Add(1), 36)+"@"+p.local, 1
	return p.conn.SetReadDeadline(time.Now().Add(maxWait))
}

// await reads until a message of the call begins with want. What else belongs to
// the call must be a 100. The message is good until the next call.
func (p *phone) await(callID, want string) ([]byte, error) {
	for {
		n, err := p.conn.Read(p.in)
		if err != nil {
			return nil, fmt.Errorf("waiting for %q: %w", want, err)
		}
		m := p.in[:n]
		switch {
		case !bytes.Contains(m, []byte(callID)):
		case bytes.HasPrefix(m, []byte(want)):
			return m, nil
		case !bytes.HasPrefix(m, []byte("SIP/2.0 100 ")):
			return nil, fmt.Errorf("want %q, got:\n%s", want, m)
		}
	}
}

// register does a whole registration of a user: REGISTER, 401, REGISTER, 200.
func (p *phone) register(imsi string) error {
	p.imsi = imsi
	if err := p.begin(); err != nil {
		return err
	}
	p.registerRequest("", "")
	if err := p.send(""); err != nil {
		return err
	}
	m, err := p.await(p.callID, "SIP/2.0 401 ")
	if err != nil {
		return err
	}
	_, rest, _ := bytes.Cut(m, []byte(`nonce="`))
	nonce, _, _ := bytes.Cut(rest, []byte(`"`))
	n, err := aka.ParseNonce(string(nonce))
	if err != nil {
		return err
	}
	res, _, _, _ := p.sim.F2345(n.RAND)
	d := aka.Digest{
		Method: "REGISTER", Username: imsi + "@" + domain, Realm: domain, Nonce: string(nonce), URI: "sip:" + domain,
		QOP: aka.QOPAuth, NC: "00000001", CNonce: "0a4f113b",
	}
	response, err := d.Response(res)
	if err != nil {
		return err
	}
	p.cseq = 2
	p.registerRequest(d.Nonce, response)
	if err := p.send(""); err != nil {
		return err
	}
	if m, err = p.await(p.callID, "SIP/2.0 200 "); err != nil {
		return err
	}
	p.routes = append(append(append(p.routes[:0], "Route: <sip:"...), p.gm...), ";lr>\r\n"...)
	for line := range lines(m) {
		if v, ok := bytes.CutPrefix(line, []byte("Service-Route: ")); ok {
			p.routes = append(append(append(p.routes, "Route: "...), v...), "\r\n"...)
		}
	}
	return nil
}

func (p *phone) registerRequest(nonce, response string) {
	p.request("REGISTER", "sip:"+domain, nil)
	p.add("From: <", p.impu(), ">;tag=", p.imsi, "\r\nTo: <", p.impu(), ">\r\nContact: <sip:", p.imsi, "@", p.local, ">;+sip.instance=\"<urn:gsma:imei:", p.imsi[:8], "-", p.imsi[9:], "-0>\"",
		tags, ";+g.3gpp.smsip\r\nExpires: 600000\r\nSupported: path, gruu\r\n", agent,
		`Authorization: Digest username="`, p.imsi, "@", domain, `",realm="`, domain, `",uri="sip:`, domain, `",nonce="`, nonce, `",response="`, response, `"`)
	if nonce != "" {
		p.add(`,algorithm=AKAv1-MD5,qop=auth,nc=00000001,cnonce="0a4f113b"`)
	}
	p.add("\r\n")
}

// initial begins a request for to outside a dialog.
func (p *phone) initial(method string, to *phone) {
	p.request(method, to.impu(), p.routes)
	p.add("From: <", p.impu(), ">;tag=", p.imsi, "\r\nTo: <", to.impu(), ">\r\nP-Preferred-Identity: <", p.impu(), ">\r\n", agent)
}

// call calls to, who answers, and hangs up: INVITE, 180, 200, ACK, BYE, 200.
func (p *phone) call(to *phone) error {
	if err := p.begin(); err != nil {
		return err
	}
	if err := to.conn.SetReadDeadline(time.Now().Add(maxWait)); err != nil {
		return err
	}
	p.initial("INVITE", to)
	p.add("Contact: <sip:", p.imsi, "@", p.local, ">", tags, "\r\nSupported: timer\r\nContent-Type: application/sdp\r\n")
	if err := p.send(sdp); err != nil {
		return err
	}
	invite, err := to.await(p.callID, "INVITE ")
	if err != nil {
		return err
	}
	if err := to.respond(invite, "180 Ringing", ""); err != nil {
		return err
	}
	if _, err := p.await(p.callID, "SIP/2.0 180 "); err != nil {
		return err
	}
	if err := to.respond(invite, "200 OK", sdp); err != nil {
		return err
	}
	ok, err := p.await(p.callID, "SIP/2.0 200 ")
	if err != nil {
		return err
	}
	target, routes := dialog(ok)
	p.inDialog("ACK", target, to, routes)
	if err := p.send(""); err != nil {
		return err
	}
	if _, err := to.await(p.callID, "ACK "); err != nil {
		return err
	}
	p.cseq = 2
	p.inDialog("BYE", target, to, routes)
	if err := p.send(""); err != nil {
		return err
	}
	bye, err := to.await(p.callID, "BYE ")
	if err != nil {
		return err
	}
	if err := to.respond(bye, "200 OK", ""); err != nil {
		return err
	}
	_, err = p.await(p.callID, "SIP/2.0 200 ")
	return err
}

// message sends a MESSAGE to to.
func (p *phone) message(to *phone) error {
	if err := p.begin(); err != nil {
		return err
	}
	if err := to.conn.SetReadDeadline(time.Now().Add(maxWait)); err != nil {
		return err
	}
	p.initial("MESSAGE", to)
	p.add("Content-Type: text/plain\r\n")
	if err := p.send("Are you there?"); err != nil {
		return err
	}
	m, err := to.await(p.callID, "MESSAGE ")
	if err != nil {
		return err
	}
	if err := to.respond(m, "200 OK", ""); err != nil {
		return err
	}
	_, err = p.await(p.callID, "SIP/2.0 200 ")
	return err
}

func (p *phone) inDialog(method, target string, to *phone, routes []byte) {
	p.request(method, target, routes)
	p.add("From: <", p.impu(), ">;tag=", p.imsi, "\r\nTo: <", to.impu(), ">;tag=", to.imsi, "\r\n")
}
