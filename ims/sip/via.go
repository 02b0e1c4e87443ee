package sip

import (
	"errors"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// Via is one value of a Via header (RFC 3261 §20.42, RFC 3581).
type Via struct {
	Proto     string // "SIP/2.0"; as written when it has white space in it
	Transport string // "UDP", "TCP", …
	Host      string // an IPv6 address keeps its brackets
	Port      uint16 // 0 when there is none
	Branch    string
	Received  string // address, brackets as written (RFC 5118 §4.5 allows both forms)
	RPort     uint16 // 0 when rport has no value
	HasRPort  bool
	MAddr     string
	TTL       string
	Params    Params // all of them, as written, from the first ";"
}

var (
	errViaProto = errors.New("sip: Via does not begin with protocol, version and transport")
	errViaHost  = errors.New("sip: Via has no usable sent-by")
	errViaParam = errors.New("sip: Via has a malformed parameter")
)

// ParseVia reads one Via value.
func ParseVia(s string) (Via, error) {
	var v Via
	s = trimLWS(s)
	rest, ok := v.protocol(s)
	if !ok {
		return v, errViaProto
	}
	n := tokenLen(rest)
	if n == 0 || n == len(rest) || !isLWS(rest[n]) {
		return v, errViaProto
	}
	v.Transport, rest = rest[:n], trimLeftLWS(rest[n:])

	by, params, more := splitAt(rest, ';', inComments)
	if more {
		v.Params = Params(rest[len(rest)-len(params)-1:])
	}
	by, comment, has := splitAt(by, '(', 0) // a comment may stand behind sent-by
	if has && commentLen("("+comment) < 0 {
		return v, errViaHost
	}
	if v.Host, v.Port, ok = splitHostPort(trimRightLWS(by)); !ok {
		return v, errViaHost
	}
	return v, v.scan()
}

// protocol takes name and version: tokens with slashes behind them, white space
// allowed around them.
func (v *Via) protocol(s string) (rest string, ok bool) {
	const usual = "SIP/2.0/"
	if strings.HasPrefix(s, usual) {
		v.Proto = usual[:len(usual)-1]
		return trimLeftLWS(s[len(usual):]), true
	}
	name, rest, ok := viaToken(s)
	if !ok || rest == "" || rest[0] != '/' {
		return "", false
	}
	version, rest, ok := viaToken(rest[1:])
	if !ok || rest == "" || rest[0] != '/' {
		return "", false
	}
	v.Proto = trimRightLWS(s[:len(s)-len(rest)])
	if equalFold(name, "SIP") && version == "2.0" {
		v.Proto = "SIP/2.0"
	}
	return trimLeftLWS(rest[1:]), true
}

// viaToken takes a token with the white space around it.
func viaToken(s string) (tok, rest string, ok bool) {
	s = trimLeftLWS(s)
	n := tokenLen(s)
	return s[:n], trimLeftLWS(s[n:]), n > 0
}

// scan fills the fields that have a parameter. The first of two wins.
func (v *Via) scan() error {
	for rest := string(v.Params); rest != ""; {
		var name, val string
		switch name, val, rest = nextParam(rest, ';'); {
		case equalFold(name, "branch"):
			if strings.IndexByte(val, '"') >= 0 { // other octets than a token's are let through
				return errViaParam
			}
			if v.Branch == "" {
				v.Branch = val
			}
		case equalFold(name, "received"):
			if !isGenValue(val) {
				return errViaParam
			}
			if v.Received == "" {
				v.Received = val
			}
		case equalFold(name, "rport"):
			v.HasRPort = true
			if val != "" {
				n, ok := parseUint(val, math.MaxUint16)
				if !ok {
					return errViaParam
				}
				v.RPort = uint16(n)
			}
		case equalFold(name, "maddr"):
			if !isGenValue(val) {
				return errViaParam
			}
			v.MAddr = val
		case equalFold(name, "ttl"):
			if _, ok := parseUint(val, 255); !ok {
				return errViaParam
			}
			v.TTL = val
		}
	}
	return nil
}

// splitHostPort splits "host", "host:port", "[v6]" or "[v6]:port"; white space
// around the colon is allowed in a Via.
func splitHostPort(s string) (host string, port uint16, ok bool) {
	i := 0
	if s != "" && s[0] == '[' {
		for i < len(s) && s[i] != ']' {
			i++
		}
		if i == len(s) {
			return "", 0, false
		}
		i++
		if _, err := netip.ParseAddr(s[1 : i-1]); err != nil {
			return "", 0, false
		}
	} else {
		for i < len(s) && isHostChar(s[i]) {
			i++
		}
	}
	if i == 0 {
		return "", 0, false
	}
	host, s = s[:i], trimLeftLWS(s[i:])
	if s == "" {
		return host, 0, true
	}
	if s[0] != ':' {
		return "", 0, false
	}
	n, ok := parseUint(trimLWS(s[1:]), math.MaxUint16)
	return host, uint16(n), ok
}

func isHostChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_'
}

// ReceivedAddr returns received as an address, whichever form it was written in.
func (v Via) ReceivedAddr() (netip.Addr, bool) { return parseHostAddr(v.Received) }

// HostAddr returns sent-by's host when it is an address.
func (v Via) HostAddr() (netip.Addr, bool) { return parseHostAddr(v.Host) }

func parseHostAddr(s string) (netip.Addr, bool) {
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	if s == "" {
		return netip.Addr{}, false // ParseAddr would allocate an error
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil
}

// AppendTo appends the value. The named fields are written first, then those of
// Params that have no field.
func (v Via) AppendTo(dst []byte) []byte {
	proto := v.Proto
	if proto == "" {
		proto = "SIP/2.0"
	}
	dst = append(append(dst, proto...), '/')
	dst = append(append(dst, v.Transport...), ' ')
	dst = append(dst, v.Host...)
	if v.Port != 0 {
		dst = strconv.AppendUint(append(dst, ':'), uint64(v.Port), 10)
	}
	if v.TTL != "" {
		dst = appendParam(dst, "ttl", v.TTL)
	}
	if v.MAddr != "" {
		dst = appendParam(dst, "maddr", v.MAddr)
	}
	if v.Received != "" {
		dst = appendParam(dst, "received", v.Received)
	}
	if v.HasRPort {
		dst = append(dst, ";rport"...)
		if v.RPort != 0 {
			dst = strconv.AppendUint(append(dst, '='), uint64(v.RPort), 10)
		}
	}
	if v.Branch != "" {
		dst = append(append(dst, ";branch="...), v.Branch...)
	}
	return appendOthers(dst, v.Params, viaField)
}

var viaField = oneOf("branch", "received", "rport", "maddr", "ttl")

func (v Via) String() string { return string(v.AppendTo(nil)) }
