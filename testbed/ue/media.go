package ue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

const sdpType = "application/sdp"

const (
	firstMedia = 49152
	lastMedia  = 65534
)

// codec is a payload format that a VoLTE phone offers (IR.92 3.2, TS 26.114).
type codec struct {
	payload uint8
	name    string // of rtpmap
	fmtp    string
}

var codecs = []codec{
	{97, "AMR-WB/16000/1", "mode-change-capability=2;max-red=220"},
	{98, "AMR/8000/1", "mode-change-capability=2;max-red=220"},
	{99, "telephone-event/16000", "0-15"},
	{100, "telephone-event/8000", "0-15"},
}

// maxFormats bounds the formats of an offer that are looked at.
const maxFormats = 64

// errNoCodec is an offer of nothing that the phone speaks.
var errNoCodec = errors.New("the offer has no audio that this phone speaks: want AMR-WB or AMR")

// media is the phone's side of the session description of one call (RFC 3264), with
// the preconditions of RFC 3312. No RTP is sent.
type media struct {
	addr    netip.Addr
	port    int
	id      uint64
	version uint64

	preconditions bool   // those of RFC 3312 are in use
	localQoS      string // "none" or "sendrecv": what we have reserved
	remoteQoS     string // what the peer has
	direction     string // ours
	peerDirection string // the peer's, as it last offered or answered
	chosen        []codec
	agreed        bool // an offer has been answered
}

// newMedia gives a call its media stream.
func (p *Phone) newMedia(preconditions bool) *media {
	p.mu.Lock()
	defer p.mu.Unlock()
	port := p.port
	if p.port += 2; p.port > lastMedia {
		p.port = firstMedia
	}
	return &media{
		addr: p.Addr().Addr(), port: port, id: uint64(rand.Uint32()), preconditions: preconditions,
		localQoS: "none", remoteQoS: "none", direction: "sendrecv",
	}
}

// offer writes an offer.
func (m *media) offer() string {
	use := m.chosen
	if use == nil {
		use = codecs
	}
	return m.write(use, m.direction, false)
}

// answer reads an offer and writes the answer.
func (m *media) answer(offer string) (string, error) {
	audio, err := m.read(offer)
	if err != nil {
		return "", err
	}
	if m.chosen = common(audio); m.chosen == nil {
		return "", errNoCodec
	}
	m.agreed = true
	direction := map[string]string{"sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}[m.peerDirection]
	if direction == "" {
		direction = "sendrecv"
	}
	return m.write(m.chosen, direction, true), nil
}

// accept reads the answer to our offer.
func (m *media) accept(answer string) error {
	audio, err := m.read(answer)
	if err != nil {
		return err
	}
	if chosen := common(audio); chosen != nil {
		m.chosen = chosen
	}
	m.agreed = true
	return nil
}

// met reports whether the mandatory preconditions of both sides are fulfilled.
func (m *media) met() bool {
	return !m.preconditions || m.localQoS == "sendrecv" && m.remoteQoS == "sendrecv"
}

// read takes what the peer says of itself.
func (m *media) read(body string) (*sdp.MediaDescription, error) {
	var s sdp.SessionDescription
	if err := s.UnmarshalString(body); err != nil {
		return nil, fmt.Errorf("reading the peer's SDP: %w", err)
	}
	for _, d := range s.MediaDescriptions {
		if d.MediaName.Media != "audio" || d.MediaName.Port.Value == 0 {
			continue
		}
		m.peerDirection = "sendrecv"
		conditions := false
		for _, attrs := range [][]sdp.Attribute{s.Attributes, d.Attributes} {
			for _, a := range attrs {
				switch f := strings.Fields(a.Value); {
				case a.Key == "sendrecv" || a.Key == "sendonly" || a.Key == "recvonly" || a.Key == "inactive":
					m.peerDirection = a.Key
				case a.Key == "curr" && len(f) == 3 && f[0] == "qos":
					conditions = true
					if f[1] == "local" { // the peer's local is our remote
						m.remoteQoS = f[2]
					}
				}
			}
		}
		m.preconditions = m.preconditions && conditions
		return d, nil
	}
	return nil, errors.New("the peer's SDP has no audio stream")
}

// common returns what of an offer the phone speaks, with the offer's payload
// numbers: the first codec, and the telephone-event of its clock.
func common(d *sdp.MediaDescription) []codec {
	var chosen []codec
	clock := ""
	for _, f := range d.MediaName.Formats[:min(len(d.MediaName.Formats), maxFormats)] {
		pt, err := strconv.ParseUint(f, 10, 7)
		if err != nil {
			continue
		}
		name, fmtp := "", ""
		for _, a := range d.Attributes {
			number, value, _ := strings.Cut(a.Value, " ")
			switch {
			case number != f:
			case a.Key == "rtpmap":
				name = value
			case a.Key == "fmtp":
				fmtp = value
			}
		}
		for _, c := range codecs {
			if !strings.EqualFold(strings.TrimSuffix(c.name, "/1"), strings.TrimSuffix(name, "/1")) {
				continue
			}
			parts := strings.Split(name, "/")
			event := strings.EqualFold(parts[0], "telephone-event")
			switch {
			case !event && clock == "":
				clock = parts[1]
			case event && parts[1] == clock:
			default:
				continue
			}
			chosen = append(chosen, codec{uint8(pt), name, fmtp})
		}
	}
	if clock == "" {
		return nil
	}
	return chosen
}

// write writes our description; confirm asks the peer to tell when it has reserved
// its resources (RFC 3312 5).
func (m *media) write(use []codec, direction string, confirm bool) string {
	m.version++
	family := "IP4"
	if m.addr.Is6() {
		family = "IP6"
	}
	where := &sdp.ConnectionInformation{NetworkType: "IN", AddressType: family, Address: &sdp.Address{Address: m.addr.String()}}
	d := &sdp.MediaDescription{
		MediaName:             sdp.MediaName{Media: "audio", Port: sdp.RangedPort{Value: m.port}, Protos: []string{"RTP", "AVP"}},
		ConnectionInformation: where,
		// AMR-WB 12.65 with RTP, UDP and IP headers (TS 26.114 annex K).
		Bandwidth: []sdp.Bandwidth{{Type: "AS", Bandwidth: 41}, {Type: "RS", Bandwidth: 0}, {Type: "RR", Bandwidth: 2000}},
	}
	attr := func(key, value string) { d.Attributes = append(d.Attributes, sdp.Attribute{Key: key, Value: value}) }
	for _, c := range use {
		pt := strconv.Itoa(int(c.payload))
		d.MediaName.Formats = append(d.MediaName.Formats, pt)
		attr("rtpmap", pt+" "+c.name)
		if c.fmtp != "" {
			attr("fmtp", pt+" "+c.fmtp)
		}
	}
	attr("ptime", "20")
	attr("maxptime", "240")
	if m.preconditions {
		attr("curr", "qos local "+m.localQoS)
		attr("curr", "qos remote "+m.remoteQoS)
		attr("des", "qos mandatory local sendrecv")
		if confirm {
			attr("des", "qos mandatory remote sendrecv")
			if m.remoteQoS != "sendrecv" {
				attr("conf", "qos remote sendrecv")
			}
		} else {
			attr("des", "qos optional remote sendrecv")
		}
	}
	attr(direction, "")
	s := sdp.SessionDescription{
		Origin: sdp.Origin{
			Username: "-", SessionID: m.id, SessionVersion: m.version,
			NetworkType: "IN", AddressType: family, UnicastAddress: m.addr.String(),
		},
		SessionName:       "-",
		Bandwidth:         []sdp.Bandwidth{{Type: "AS", Bandwidth: 41}},
		TimeDescriptions:  []sdp.TimeDescription{{}},
		MediaDescriptions: []*sdp.MediaDescription{d},
	}
	s.ConnectionInformation = where
	b, err := s.Marshal()
	if err != nil { // nothing in it comes from outside but payload names
		return ""
	}
	return string(b)
}
