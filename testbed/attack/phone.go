package attack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gocscf/gocscf/aka"
	"github.com/gocscf/gocscf/ims/sip"
	"github.com/gocscf/gocscf/testbed/hss"
)

// phone writes its messages octet by octet, so that they can be bent, and answers
// challenges as its SIM does. It is for one goroutine, beside the one that reads.
type phone struct {
	target *Target
	sub    hss.Subscriber
	usim   aka.USIM
	stream bool
	number int

	conn    net.Conn
	replies chan *sip.Message
	reading sync.WaitGroup
	// incoming is told of requests on the reader's goroutine.
	incoming func(c net.Conn, m *sip.Message)

	callID string // of REGISTER
	cseq   int
	routes []string
}

// newPhone connects a phone with the SIM of a subscriber to the target's Gm.
func newPhone(t *Target, sub hss.Subscriber, number int, stream bool, incoming func(net.Conn, *sip.Message)) (*phone, error) {
	p := &phone{target: t, sub: sub, stream: stream, number: number, callID: sip.NewCallID(), replies: make(chan *sip.Message, 64), incoming: incoming}
	k, err := aka.ParseSecret(string(sub.K))
	if err != nil {
		return nil, fmt.Errorf("the key of %s: %w", sub.IMPI, err)
	}
	opc, err := aka.ParseSecret(string(sub.OPc))
	if err != nil {
		return nil, fmt.Errorf("the OPc of %s: %w", sub.IMPI, err)
	}
	if p.usim.Algorithm, err = aka.NewMilenage(k, opc); err != nil {
		return nil, fmt.Errorf("the SIM of %s: %w", sub.IMPI, err)
	}
	if err := p.connect(); err != nil {
		return nil, err
	}
	return p, nil
}

// connect opens the phone's socket; one over TCP may have to do so again.
func (p *phone) connect() error {
	network := "udp"
	if p.stream {
		network = "tcp"
	}
	c, err := net.DialTimeout(network, p.target.Gm.String(), 2*time.Second)
	if err != nil {
		return fmt.Errorf("connecting to the P-CSCF: %w", err)
	}
	p.conn = c
	p.reading.Go(func() { p.read(c) })
	return nil
}

func (p *phone) close() {
	p.conn.Close()
	p.reading.Wait()
}

// read takes messages off the connection until it ends.
func (p *phone) read(c net.Conn) {
	buf, have := make([]byte, 65536), 0
	for {
		n, err := c.Read(buf[have:])
		if err != nil {
			if !p.stream && !errors.Is(err, net.ErrClosed) {
				continue // ICMP
			}
			return
		}
		if !p.stream {
			p.take(c, string(buf[:n]))
			continue
		}
		have += n
		for {
			n, skip, err := sip.Frame(buf[:have])
			if err != nil || n == 0 && have == len(buf) {
				have = 0
				break
			}
			if n == 0 {
				have = copy(buf, buf[skip:have])
				break
			}
			p.take(c, string(buf[skip:skip+n]))
			have = copy(buf, buf[skip+n:have])
		}
	}
}

func (p *phone) take(c net.Conn, raw string) {
	m, err := sip.Parse(raw)
	if err != nil {
		return
	}
	if m.IsRequest() {
		p.incoming(c, m)
		return
	}
	select {
	case p.replies <- m:
	default: // nobody waits for so many
	}
}

// write sends octets as they are, over a new connection when the old one has ended.
func (p *phone) write(s string) {
	_ = p.conn.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := p.conn.Write([]byte(s)); err == nil || !p.stream {
		return
	}
	p.close()
	if p.connect() == nil {
		_, _ = p.conn.Write([]byte(s))
	}
}

func (p *phone) local() netip.AddrPort {
	a, _ := netip.ParseAddrPort(p.conn.LocalAddr().String())
	return a
}

func (p *phone) impu() string { return p.sub.IMPUs[0] }

func (p *phone) user() string {
	u, _, _ := strings.Cut(strings.TrimPrefix(p.impu(), "sip:"), "@")
	return u
}

func (p *phone) contact() string { return "<sip:" + p.user() + "@" + p.local().String() + ">" }

// lines writes a request with what each has; more are further lines.
func (p *phone) lines(method, uri, callID, to string, more ...string) string {
	p.cseq++
	via := "UDP"
	if p.stream {
		via = "TCP"
	}
	l := append([]string{
		method + " " + uri + " SIP/2.0",
		"Via: SIP/2.0/" + via + " " + p.local().String() + ";branch=" + sip.NewBranch() + ";rport",
		"Max-Forwards: 70",
		"From: <" + p.impu() + ">;tag=" + p.user(),
		"To: " + to,
		"Call-ID: " + callID,
		"CSeq: " + strconv.Itoa(p.cseq) + " " + method,
	}, more...)
	body := ""
	if n := len(l); strings.HasPrefix(l[n-1], "\r\n") {
		body, l = l[n-1][2:], l[:n-1]
	}
	return strings.Join(append(l, "Content-Length: "+strconv.Itoa(len(body)), "", body), "\r\n")
}

// register writes a REGISTER with that Authorization.
func (p *phone) register(authorization string, expires int) string {
	return p.lines("REGISTER", "sip:"+p.target.Domain, p.callID, "<"+p.impu()+">",
		"Contact: "+p.contact()+";+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.mmtel\"",
		"Expires: "+strconv.Itoa(expires), "Supported: path,gruu", "Allow: INVITE,ACK,BYE,CANCEL,MESSAGE",
		"P-Access-Network-Info: 3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=0010100010000000", "Authorization: "+authorization)
}

func (p *phone) credentials(nonce, rest string) string {
	return `Digest username="` + p.sub.IMPI + `", realm="` + p.target.Domain + `", uri="sip:` + p.target.Domain + `", nonce="` + nonce + `", response="` + rest
}

// initial is the Authorization of a first REGISTER (TS 24.229 5.1.1.2.2).
func (p *phone) initial() string { return p.credentials("", `"`) }

// answer is the Authorization that answers a 401 rightly.
func (p *phone) answer(m *sip.Message) (string, error) {
	ch, err := sip.ParseChallenge(m.Get(sip.HWWWAuthenticate))
	if err != nil {
		return "", fmt.Errorf("reading the challenge: %w", err)
	}
	n, err := aka.ParseNonce(ch.Nonce)
	if err != nil {
		return "", fmt.Errorf("reading the nonce: %w", err)
	}
	array, err := aka.NewSQNArray(0, aka.SQNArrayOptions{}) // any sequence number is new to it
	if err != nil {
		return "", err
	}
	p.usim.SQN = array
	r, err := p.usim.Authenticate(n.RAND, n.AUTN)
	if err != nil {
		return "", fmt.Errorf("answering the challenge: %w", err)
	}
	d := aka.Digest{Method: "REGISTER", Username: p.sub.IMPI, Realm: p.target.Domain, Nonce: n.String(), URI: "sip:" + p.target.Domain, QOP: "auth", NC: "00000001", CNonce: "c0ffee"}
	response, err := d.Response(r.RES)
	if err != nil {
		return "", fmt.Errorf("answering the challenge: %w", err)
	}
	return p.credentials(n.String(), response+`", algorithm=AKAv1-MD5, qop=auth, nc=00000001, cnonce="c0ffee"`), nil
}

// await returns the response that want accepts, nil when none comes in time.
func (p *phone) await(wait time.Duration, want func(*sip.Message) bool) *sip.Message {
	late := time.NewTimer(wait)
	defer late.Stop()
	for {
		select {
		case m := <-p.replies:
			if want(m) {
				return m
			}
		case <-late.C:
			return nil
		}
	}
}

// final accepts the final response to the last request of a call.
func (p *phone) final(callID string) func(*sip.Message) bool {
	seq := uint32(p.cseq)
	return func(m *sip.Message) bool {
		cs, err := m.CSeq()
		return err == nil && m.Status() >= 200 && cs.Seq == seq && m.CallID() == callID
	}
}
