package diameter

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"
)

// capabilities appends what this node advertises in CER and CEA (RFC 6733 5.3).
func (c *conn) capabilities(m *Message) {
	cfg := &c.n.cfg
	m.Add(newAVP(avp.OriginHost, datatype.DiameterIdentity(cfg.OriginHost)),
		newAVP(avp.OriginRealm, datatype.DiameterIdentity(cfg.OriginRealm)))
	for _, ip := range c.hostIPs() {
		m.Add(newAVP(avp.HostIPAddress, datatype.Address(ip.AsSlice())))
	}
	m.Add(newAVP(avp.VendorID, datatype.Unsigned32(cfg.VendorID)),
		newAVP(avp.ProductName, datatype.UTF8String(cfg.ProductName)),
		newAVP(avp.OriginStateID, datatype.Unsigned32(cfg.OriginStateID)))
	seen := make(map[uint32]bool)
	for _, a := range cfg.Applications {
		if a.Vendor != 0 && !seen[a.Vendor] {
			seen[a.Vendor] = true
			m.Add(newAVP(avp.SupportedVendorID, datatype.Unsigned32(a.Vendor)))
		}
	}
	for _, a := range cfg.Applications {
		m.Add(a.avp())
	}
	m.Add(newAVP(avp.InbandSecurityID, datatype.Unsigned32(0))) // NO_INBAND_SECURITY
}

// avp is how an application is named in CER, CEA and in each of its messages.
func (a Application) avp() *AVP {
	id := newAVP(avp.AuthApplicationID, datatype.Unsigned32(a.ID))
	if a.Vendor == 0 {
		return id
	}
	return newAVP(avp.VendorSpecificApplicationID, NewGroup(newAVP(avp.VendorID, datatype.Unsigned32(a.Vendor)), id))
}

func (c *conn) hostIPs() []netip.Addr {
	if ips := c.n.cfg.HostIPs; len(ips) > 0 {
		return ips
	}
	if t, ok := c.nc.LocalAddr().(*net.TCPAddr); ok {
		if ip, ok := netip.AddrFromSlice(t.IP); ok {
			return []netip.Addr{ip.Unmap()}
		}
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
}

// negotiate sets the applications that both ends speak and reports whether there
// is one. Peers name an application of a vendor in
// Vendor-Specific-Application-Id, in Auth-Application-Id, or in both.
func (c *conn) negotiate(m *Message) bool {
	theirs := make(map[uint32]bool)
	note := func(avps []*AVP) {
		for _, a := range avps {
			if a.VendorID == 0 && (a.Code == avp.AuthApplicationID || a.Code == avp.AcctApplicationID) {
				if id, ok := Uint32(a); ok {
					theirs[id] = true
				}
			}
		}
	}
	note(m.AVPs)
	for _, a := range m.AVPs {
		if a.Code == avp.VendorSpecificApplicationID && a.VendorID == 0 {
			note(Group(a))
		}
	}
	relay := theirs[RelayApplication]
	apps := make(map[uint32]bool)
	for _, a := range c.n.cfg.Applications {
		// An answer that names no application at all still says 2001.
		if relay || a.ID == RelayApplication || theirs[a.ID] || len(theirs) == 0 && !m.IsRequest() {
			apps[a.ID] = true
		}
	}
	c.mu.Lock()
	c.apps, c.relay = apps, relay
	c.mu.Unlock()
	return len(apps) > 0
}

func (c *conn) setIdentity(m *Message) {
	c.mu.Lock()
	c.host, c.realm = m.OriginHost(), m.OriginRealm()
	c.mu.Unlock()
}

// readCapabilities reads the first message of a connection, which must be the
// CER or CEA.
func (c *conn) readCapabilities(f *frameReader, request bool) (*Message, *AVPError, error) {
	frame, fault, err := f.next()
	if err != nil {
		return nil, nil, fmt.Errorf("waiting for capabilities: %w", err)
	}
	var m *Message
	if fault == nil {
		m, fault = c.n.cfg.Dictionary.Decode(frame)
	} else {
		m, _ = decodeHeader(frame)
	}
	c.observeReceived(frame, faultError(fault))
	if m.Command != CapabilitiesExchange || m.IsRequest() != request {
		return nil, nil, fmt.Errorf("the first message is not a capabilities exchange but %v", m)
	}
	return m, fault, nil
}

// answerCapabilities takes the CER of a peer that connected and answers it.
func (c *conn) answerCapabilities(f *frameReader) error {
	m, fault, err := c.readCapabilities(f, true)
	if err != nil {
		return err
	}
	if fault == nil {
		fault = c.n.cfg.Dictionary.Check(m)
	}
	if fault == nil {
		fault = c.judge(m)
	}
	if fault != nil {
		c.refuseCapabilities(m, fault)
		return fault
	}
	// The negotiated applications stand before identify lets requests come here.
	c.setIdentity(m)
	place := c.n.identify(c, c.host)
	if place.refuse != 0 {
		fault := &AVPError{Code: place.refuse, Reason: fmt.Sprintf("%s may not connect here: %v", c.host, place.refuse)}
		c.refuseCapabilities(m, fault)
		return fault
	}
	answer := &Message{Command: m.Command, HopByHop: m.HopByHop, EndToEnd: m.EndToEnd}
	answer.Add(Base(Success).AVP())
	c.capabilities(answer)
	return c.open(answer, place)
}

// judge decides on the content of a CER.
func (c *conn) judge(m *Message) *AVPError {
	if !c.negotiate(m) {
		return &AVPError{Code: NoCommonApplication, Reason: fmt.Sprintf("%s advertises no application that %s speaks", m.OriginHost(), c.n.cfg.OriginHost)}
	}
	if c.n.cfg.isHost(m.OriginHost()) {
		return &AVPError{Code: UnknownPeer, Reason: "a peer uses this node's own Origin-Host"}
	}
	offered, plain := false, false
	for _, a := range m.AVPs {
		if a.Code == avp.InbandSecurityID && a.VendorID == 0 {
			v, _ := Uint32(a)
			offered, plain = true, plain || v == 0
		}
	}
	if offered && !plain {
		return &AVPError{Code: NoCommonSecurity, Reason: "only in-band TLS is offered; connect with TLS from the start (RFC 6733 13.1)"}
	}
	return nil
}

func (c *conn) refuseCapabilities(m *Message, fault *AVPError) {
	answer := &Message{Command: m.Command, HopByHop: m.HopByHop, EndToEnd: m.EndToEnd}
	if fault.Code.isProtocolError() {
		answer.Flags = FlagError
	}
	answer.Add(Base(fault.Code).AVP())
	c.capabilities(answer)
	answer.Add(newAVP(avp.ErrorMessage, datatype.UTF8String(fault.Reason)))
	if fault.AVP != nil {
		answer.Add(newAVP(avp.FailedAVP, NewGroup(fault.AVP)))
	}
	_ = c.enqueue(answer) // the connection ends either way
}

// exchangeCapabilities sends the CER on a connection that this node opened and
// judges the CEA.
func (c *conn) exchangeCapabilities(f *frameReader) error {
	cer := &Message{Flags: FlagRequest, Command: CapabilitiesExchange}
	c.capabilities(cer)
	c.mu.Lock()
	err := c.requestLocked(cer)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	m, fault, err := c.readCapabilities(f, false)
	if err != nil {
		return err
	}
	if fault != nil {
		return fault
	}
	if m.HopByHop != cer.HopByHop {
		return errors.New("the CEA does not belong to our CER (Hop-by-Hop identifier)")
	}
	if res, ok := m.Result(); !ok || !res.IsSuccess() {
		return &ResultError{Result: res, Message: errorMessage(m), Peer: m.OriginHost()}
	}
	want := c.peer.cfg.Host
	switch host := m.OriginHost(); {
	case !validIdentity(host):
		return errors.New("the CEA has no usable Origin-Host")
	case want != "" && !strings.EqualFold(want, host):
		return fmt.Errorf("the peer at %s calls itself %s, configured is %s; set the peer's host to its Origin-Host, or leave it empty", c.address, host, want)
	case !c.negotiate(m):
		return fmt.Errorf("%s speaks none of our applications (%v)", host, NoCommonApplication)
	}
	c.setIdentity(m)
	place := c.n.identify(c, c.host)
	if place.refuse != 0 {
		return fmt.Errorf("connection to %s is not wanted: %v", c.host, place.refuse)
	}
	return c.open(nil, place)
}

// open makes the connection usable and, on the accepting side, lets the CEA out
// before anything else can be queued. The connection that this one replaces ends
// last, so that its requests find a way to go on.
func (c *conn) open(answer *Message, place place) error {
	c.mu.Lock()
	err := c.err
	if err == nil && answer != nil {
		err = c.enqueueLocked(answer)
	}
	state := Okay
	if err == nil {
		if place.reopen {
			state = Reopen
		}
		c.state = state
		c.startWatchdogLocked()
	}
	c.mu.Unlock()
	if place.ends != nil {
		place.ends.fail(place.cause)
	}
	if err != nil {
		return err
	}
	c.observe(state, nil)
	return nil
}

// faultError avoids a non-nil error that holds a nil *AVPError.
func faultError(e *AVPError) error {
	if e == nil {
		return nil
	}
	return e
}

func errorMessage(m *Message) string {
	s := m.Text(avp.ErrorMessage, 0)
	return s[:min(len(s), 200)]
}
