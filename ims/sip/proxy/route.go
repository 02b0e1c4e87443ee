package proxy

import (
	"fmt"

	"github.com/gocscf/gocscf/ims/uri"
)

// maxOwn bounds how many of our own entries one pass takes off the top of a
// route set: two of a doubled Record-Route (RFC 5658), and those of functions
// that share an address.
const maxOwn = 4

// inbound is a request's routing information after RFC 3261 16.4.
type inbound struct {
	uri      string  // the Request-URI to go on with
	parsed   uri.URI // of uri; zero for a scheme that ims/uri does not read
	rewrote  bool    // uri differs from the one received
	restored bool    // uri was the last Route entry: a strict router sent this
	popped   int     // entries taken off the top of the route set
	own      [maxOwn]uri.URI
	owns     int // how many of own are set
}

// preprocess does RFC 3261 16.4 on a Request-URI and the URIs of the route set.
// isSelf tells our own URIs. left is the rest of routes.
func preprocess(ruri string, routes []string, isSelf func(uri.URI) bool) (in inbound, left []string, err error) {
	in.uri = ruri
	// A Request-URI of another scheme (urn:service:sos) is no error here: 16.3 judges it.
	in.parsed, _ = uri.Parse(ruri)

	// A strict router has put our Record-Route entry into the Request-URI and
	// the Request-URI at the end of the route set. Our entries carry lr, which
	// tells them from a request for ourselves.
	if n := len(routes); n > 0 && in.parsed.HasParam("lr") && isSelf(in.parsed) {
		last, err := uri.Parse(routes[n-1])
		if err != nil {
			return in, routes, fmt.Errorf("last Route entry: %w", err)
		}
		in.own[0], in.owns = in.parsed, 1
		in.uri, in.parsed = routes[n-1], last
		routes = routes[:n-1]
		in.rewrote, in.restored = true, true
	}
	in.maddr(isSelf)

	// Our own entries go. Which one is next must be readable; those after it are
	// others' business.
	for len(routes) > 0 {
		u, err := uri.Parse(routes[0])
		if err != nil {
			return in, routes, fmt.Errorf("top Route entry: %w", err)
		}
		if in.owns == maxOwn || !isSelf(u) {
			break
		}
		in.own[in.owns] = u
		in.owns++
		in.popped++
		routes = routes[1:]
	}
	return in, routes, nil
}

// maddr undoes a maddr that names us (RFC 3261 16.4, third paragraph): with it
// go the port and the transport that led here.
func (in *inbound) maddr(isSelf func(uri.URI) bool) {
	host, ok := in.parsed.Param("maddr")
	if !ok {
		return
	}
	m := in.parsed
	m.Host, m.Params = host, ""
	if !isSelf(m) {
		return
	}
	u := in.parsed.WithoutParam("maddr").WithoutParam("transport")
	u.Port = 0
	in.parsed, in.uri, in.rewrote = u, u.String(), true
}

// outbound is a request's routing information as it leaves (RFC 3261 16.6,
// steps 6 and 7).
type outbound struct {
	uri    string // the Request-URI
	hop    string // the URI whose host is the next hop
	strict bool   // the next hop is a strict router: uri is the top Route entry, and the request's own one goes to the end of the route set
}

// leave decides where a request with that Request-URI and that topmost Route
// URI ("" for none) goes: a next hop without lr is a strict router and wants
// itself in the Request-URI.
func leave(ruri, top string) outbound {
	if top == "" {
		return outbound{uri: ruri, hop: ruri}
	}
	if u, err := uri.Parse(top); err == nil && !u.HasParam("lr") {
		return outbound{uri: top, hop: top, strict: true}
	}
	return outbound{uri: ruri, hop: top}
}
