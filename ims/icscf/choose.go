package icscf

import (
	"slices"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/uri"
)

// choose lists the S-CSCFs to try for a user, the best first (TS 29.228 6.7, TS
// 24.229 5.3.1.2): those that the HSS prefers by name, then those with all
// mandatory capabilities, by how many of the optional ones they have. Without
// capabilities from the HSS every one will do, in the order of the configuration.
func choose(all []SCSCF, want *cx.ServerCapabilities) []string {
	if want == nil {
		want = &cx.ServerCapabilities{}
	}
	var out []string
	add := func(name string) {
		if name != "" && !slices.ContainsFunc(out, func(o string) bool { return sameServer(o, name) }) {
			out = append(out, name)
		}
	}
	for _, name := range want.ServerNames {
		add(serverURI(name))
	}
	type candidate struct {
		name  string
		score int
	}
	var fit []candidate
	for _, s := range all {
		has := func(c uint32) bool { return slices.Contains(s.Capabilities, c) }
		if slices.ContainsFunc(want.Mandatory, func(c uint32) bool { return !has(c) }) {
			continue
		}
		c := candidate{name: s.Name}
		for _, o := range want.Optional {
			if has(o) {
				c.score++
			}
		}
		fit = append(fit, c)
	}
	slices.SortStableFunc(fit, func(a, b candidate) int { return b.score - a.score })
	for _, c := range fit {
		add(c.name)
	}
	return out
}

// serverURI returns the name of an S-CSCF (or, for a PSI, an application server) as
// a SIP URI, as which it was perhaps sent; empty when it is none.
func serverURI(name string) string {
	if name = cx.ServerURI(name); name == "" {
		return ""
	}
	if u, err := uri.Parse(name); err != nil || !u.IsSIP() {
		return ""
	}
	return name
}

// sameServer compares S-CSCF names as SIP URIs: an HSS may send them back without
// a scheme or with parameters in another order.
func sameServer(a, b string) bool {
	ua, errA := uri.Parse(cx.ServerURI(a))
	ub, errB := uri.Parse(cx.ServerURI(b))
	if errA != nil || errB != nil {
		return a == b
	}
	return uri.Equal(ua, ub)
}

// without returns the names that have not been tried.
func without(names, tried []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		return slices.ContainsFunc(tried, func(t string) bool { return sameServer(t, n) })
	})
}
