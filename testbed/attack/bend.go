package attack

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Bender bends SIP messages. What it does follows from its seed and what it has been
// given alone, so that a run can be had again. It is for one goroutine.
type Bender struct {
	rng  *rand.Rand
	seen []string // messages of others, for their tags and values
}

// maxSeen is how many messages of others a Bender remembers.
const maxSeen = 64

// NewBender returns a Bender with a seed.
func NewBender(seed uint64) *Bender { return &Bender{rng: rand.New(rand.NewPCG(seed, 0x5170))} }

// Learn gives the Bender a message whose values it may use elsewhere.
func (b *Bender) Learn(m string) {
	if len(m) > 8<<10 {
		return
	}
	if len(b.seen) < maxSeen {
		b.seen = append(b.seen, m)
		return
	}
	b.seen[b.rng.IntN(maxSeen)] = m
}

// Seen returns one of the messages that it has learned, "" when there is none.
func (b *Bender) Seen() string {
	if len(b.seen) == 0 {
		return ""
	}
	return b.seen[b.rng.IntN(len(b.seen))]
}

// chance is true once in n times.
func (b *Bender) chance(n int) bool { return b.rng.IntN(n) == 0 }

// Bend bends a message in one to three ways.
func (b *Bender) Bend(m string) string {
	for range 1 + b.rng.IntN(3) {
		if b.chance(3) {
			m = b.octets(m)
		} else {
			m = b.headers(m)
		}
	}
	return m[:min(len(m), 65000)] // what a datagram holds
}

// odd are octets that grammars trip over.
const odd = "\x00\r\n\t \"\\<>;,:=@%()[]{}?&/'*-+.\x7f\x80\xff09aAzZ~"

// octets bends without knowing what a message is.
func (b *Bender) octets(m string) string {
	if m == "" {
		return odd
	}
	i := b.rng.IntN(len(m))
	j := min(len(m), i+1+b.rng.IntN(32))
	switch b.rng.IntN(7) {
	case 0:
		return m[:i] + string(m[i]^1<<b.rng.IntN(8)) + m[i+1:]
	case 1:
		return m[:i] + string(odd[b.rng.IntN(len(odd))]) + m[i+1:]
	case 2:
		return m[:i] + string(odd[b.rng.IntN(len(odd))]) + m[i:]
	case 3:
		return m[:i] + m[j:]
	case 4:
		return m[:j] + m[i:]
	case 5:
		return m[:i]
	default:
		return m[:i] + strings.Repeat(m[i:j], 1+b.rng.IntN(300)) + m[j:]
	}
}

// numbers are those at which arithmetic ends.
var numbers = [...]string{"0", "-1", "1", "00000000000000000001", "255", "256", "65535", "65536", "2147483647", "2147483648", "4294967295", "4294967296",
	"9223372036854775808", "18446744073709551616", "99999999999999999999999999999999", "1.5", "1e9", "0x10", "", "٣"}

// breaks are what ends a quoted string, an escape, a bracket or a line where nobody
// expects it.
var breaks = [...]string{"%", "%0", "%zz", "%00", "%25%", "\"", "\\", "\"\\\"", "<", ">", "<<<", ">>", ";;;", ",,,", "\r\n ", "\r\n\t\r\n ", "\r", "\n", "\r\n\r\n",
	"[::", "]", "=", "=\"", "@", "@@", ":", "sip:", "tel:", "urn:service:sos", "(", ")))", "\x00", "\xc3\x28", "*", "=?utf-8?q?x?="}

var methods = [...]string{"INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "SUBSCRIBE", "NOTIFY", "MESSAGE", "REFER", "INFO", "UPDATE", "PRACK", "PUBLISH", "invite", "X", ""}

// extra are lines that change what the others mean.
var extra = [...]string{
	"Route: <sip:127.0.0.1;lr>", "Route: <sip:a@b", "Route: ,,,", "Record-Route: <sip:127.0.0.1;lr>", "Max-Forwards: 0", "Max-Forwards: 1", "Max-Forwards: -1",
	"Require: nonsense", "Proxy-Require: nonsense", "Content-Length: 0", "Content-Length: 4294967296", "l: 99999", "Content-Length: -5", "Expires: 0", "Expires: 4294967296",
	"Contact: *", "Contact: <sip:x@[::1>", "Contact: <sip:x@127.0.0.1>;expires=0", "Session-Expires: 1", "Min-SE: 4294967295", "RAck: 1 1 INVITE", "RSeq: 0",
	"P-Asserted-Identity: <sip:alice@evil>", "P-Preferred-Identity: <sip:nobody@nowhere>", "P-Access-Network-Info: x", "P-Charging-Vector: icid-value=" + "\"",
	"P-Served-User: <sip:x@y>;sescase=orig;regstate=unreg", "P-Called-Party-ID: <>", "Path: <sip:127.0.0.1;lr>", "Service-Route: <sip:127.0.0.1;lr>", "History-Info: <sip:x?Privacy=history>;index=1.1.1.1",
	"Event: reg", "Event: ;", "Subscription-State: terminated", "Privacy: id;header;user;none", "Reason: SIP;cause=", "Security-Client: ipsec-3gpp;alg=x", "Security-Verify: a",
	"Authorization: Digest", "Authorization: Digest username=\"", "WWW-Authenticate: Digest nonce=", "Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK", "Via: x", "v: SIP/2.0/UDP [::1",
	"CSeq: 1 INVITE", "CSeq: x", "Call-ID: ", "i: a@b", "From: ", "To: <sip:x>;tag=", "Content-Type: multipart/mixed;boundary=\"", "Accept-Contact: *;+g.3gpp=\"<", "Resource-Priority: wps.0",
	"Replaces: a;to-tag=b;from-tag=c", "Target-Dialog: a", "Max-Breadth: 0", "Alert-Info: <", "Supported: 100rel,,path", " leading: space", "no colon", ": no name", "Na me: x",
}

// headers bends a message line by line.
func (b *Bender) headers(m string) string {
	head, body, _ := strings.Cut(m, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	i := b.rng.IntN(len(lines))
	name, value, _ := strings.Cut(lines[i], ":")
	set := func(v string) { lines[i] = name + ":" + v }
	switch b.rng.IntN(21) {
	case 0: // gone
		lines = append(lines[:i:i], lines[i+1:]...)
	case 1: // twice, or very often
		n := 1
		if b.chance(8) {
			n = 10 + b.rng.IntN(3000)
		}
		lines = append(lines[:i:i], append(repeat(lines[i], n), lines[i:]...)...)
	case 2: // in another place
		j := b.rng.IntN(len(lines))
		lines[i], lines[j] = lines[j], lines[i]
	case 3: // too long
		set(value + strings.Repeat(string(odd[b.rng.IntN(len(odd))]), 1<<(4+b.rng.IntN(12))))
	case 4: // as a list
		set(strings.Repeat(value+",", 2+b.rng.IntN(100)) + value)
	case 5, 6:
		set(b.number(value))
	case 7, 8: // what another message has there
		set(b.foreign(name, value))
	case 9:
		lines[i] = b.tag(lines[i])
	case 10, 11:
		k := b.rng.IntN(len(value) + 1)
		set(value[:k] + breaks[b.rng.IntN(len(breaks))] + value[k:])
	case 12: // folded
		set(strings.ReplaceAll(value, " ", "\r\n "))
	case 13:
		lines[i] = strings.ToUpper(name) + " \t:" + value
	case 14, 15:
		lines = append(lines[:i:i], append([]string{extra[b.rng.IntN(len(extra))]}, lines[i:]...)...)
	case 16:
		lines[0] = b.startLine(lines[0])
	case 17:
		set("")
	case 18: // more parameters
		set(value + strings.Repeat(";p"+strconv.Itoa(i)+"=\"\\\"\"", 1+b.rng.IntN(50)))
	case 19: // a contact that comes and goes
		if i = slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Contact: <") }); i > 0 {
			addr, _, _ := strings.Cut(lines[i], ">")
			lines[i] += ", " + strings.TrimPrefix(addr, "Contact: ") + ">;expires=0"
		}
	default:
		body = b.octets(body)
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

func repeat(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// number puts another in place of one of the numbers in s.
func (b *Bender) number(s string) string {
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	var at [][2]int
	for i := 0; i < len(s); i++ {
		if digit(s[i]) {
			j := i
			for j < len(s) && digit(s[j]) {
				j++
			}
			at = append(at, [2]int{i, j})
			i = j
		}
	}
	if len(at) == 0 {
		return s + numbers[b.rng.IntN(len(numbers))]
	}
	p := at[b.rng.IntN(len(at))]
	return s[:p[0]] + numbers[b.rng.IntN(len(numbers))] + s[p[1]:]
}

// foreign is the value that a header has in another message.
func (b *Bender) foreign(name, value string) string {
	_, rest, ok := strings.Cut(b.Seen(), "\r\n"+name+":")
	if !ok {
		return value
	}
	v, _, _ := strings.Cut(rest, "\r\n")
	return v
}

// tag gives a line the tag or branch of another message.
func (b *Bender) tag(line string) string {
	for _, p := range [...]string{";tag=", ";branch="} {
		before, old, ok := strings.Cut(line, p)
		if !ok {
			continue
		}
		_, rest, _ := strings.Cut(b.Seen(), p)
		end := strings.IndexAny(rest, ";\r\n >,")
		if end < 0 {
			end = 0
		}
		tail := ""
		if i := strings.IndexAny(old, "; >,"); i >= 0 {
			tail = old[i:]
		}
		return before + p + rest[:end] + tail
	}
	return line + ";tag=x;branch=z9hG4bK"
}

func (b *Bender) startLine(l string) string {
	w := strings.SplitN(l, " ", 3)
	if len(w) < 3 {
		return l
	}
	switch b.rng.IntN(5) {
	case 0:
		w[0] = methods[b.rng.IntN(len(methods))]
	case 1:
		w[1] = b.number(w[1])
	case 2:
		k := b.rng.IntN(len(w[1]) + 1)
		w[1] = w[1][:k] + breaks[b.rng.IntN(len(breaks))] + w[1][k:]
	case 3:
		w[2] = b.number(w[2])
	default:
		w[1] = [...]string{"sip:", "sip:;lr", "tel:+1", "urn:service:sos", "sip:%00@x", "*", "sip:a@" + strings.Repeat("b.", 500), "sips:x", "http://x"}[b.rng.IntN(9)]
	}
	return strings.Join(w, " ")
}
