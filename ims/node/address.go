package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"
)

// lookupTimeout bounds the time that a start waits for the addresses of a name.
const lookupTimeout = 5 * time.Second

// AddressError is an address that cannot be used.
type AddressError struct {
	Text string // as written
	Err  error
}

func (e *AddressError) Error() string { return strconv.Quote(e.Text) + ": " + e.Err.Error() }

func (e *AddressError) Unwrap() error { return e.Err }

// ParseAddress reads IP:PORT or HOST:PORT. A name is looked up once, now, as the
// system does it (/etc/hosts, DNS): a service that is told to listen at a name needs
// the address behind it. Of several, the first IPv4 address counts. The error is an *AddressError.
func ParseAddress(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a, nil
	}
	host, port, err := net.SplitHostPort(s)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || bad != nil {
		return netip.AddrPort{}, &AddressError{s, errors.New("no address: want IP:PORT or HOST:PORT")}
	}
	ip, err := lookup(host)
	if err != nil {
		return netip.AddrPort{}, &AddressError{s, err}
	}
	return netip.AddrPortFrom(ip, uint16(n)), nil
}

func lookup(host string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(ips) == 0 {
		return netip.Addr{}, fmt.Errorf("no address is known for %s (%w): write IP:PORT, or name it in /etc/hosts or the DNS", host, err)
	}
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.Is4() {
			return ip, nil
		}
	}
	return ips[0], nil
}

// names lets configurations have names where they have addresses.
var names = yaml.CustomUnmarshaler(func(a *netip.AddrPort, b []byte) error {
	var s string
	if err := yaml.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("reading an address: %w", err)
	}
	var err error
	*a, err = ParseAddress(s)
	return err
})
