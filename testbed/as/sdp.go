package as

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pion/sdp/v3"
)

// mediaPort stands in our session descriptions. Nobody listens there: signalling is
// what the testbed shows.
const mediaPort = 49170

// answerSDP answers an offer (RFC 3264 6): the first codec of each audio stream and
// telephone-event, nothing else. An offer without audio is an error.
func answerSDP(offer []byte, at netip.Addr) ([]byte, error) {
	var o sdp.SessionDescription
	if err := o.Unmarshal(offer); err != nil {
		return nil, fmt.Errorf("the offer cannot be read: %w", err)
	}
	a := session(at, o.Origin.SessionID)
	a.TimeDescriptions = o.TimeDescriptions
	taken := false
	for _, m := range o.MediaDescriptions {
		n := &sdp.MediaDescription{MediaName: m.MediaName}
		if m.MediaName.Media == "audio" && m.MediaName.Port.Value != 0 && len(m.MediaName.Formats) > 0 {
			taken = true
			n.MediaName.Port = sdp.RangedPort{Value: mediaPort}
			n.MediaName.Formats = chosen(m)
			n.Attributes = describe(m, n.MediaName.Formats)
			n.Attributes = append(n.Attributes, sdp.NewPropertyAttribute(mirror(&o, m)))
		} else {
			n.MediaName.Port = sdp.RangedPort{Value: 0}
		}
		a.MediaDescriptions = append(a.MediaDescriptions, n)
	}
	if !taken {
		return nil, errors.New("the offer has no audio stream")
	}
	return a.Marshal()
}

// offerSDP offers what every phone has.
func offerSDP(at netip.Addr) ([]byte, error) {
	a := session(at, 1)
	a.TimeDescriptions = []sdp.TimeDescription{{}}
	a.MediaDescriptions = []*sdp.MediaDescription{{
		MediaName: sdp.MediaName{Media: "audio", Port: sdp.RangedPort{Value: mediaPort}, Protos: []string{"RTP", "AVP"}, Formats: []string{"96", "8"}},
		Attributes: []sdp.Attribute{
			sdp.NewAttribute("rtpmap", "96 AMR/8000"), sdp.NewAttribute("rtpmap", "8 PCMA/8000"),
			sdp.NewPropertyAttribute("sendrecv"),
		},
	}}
	return a.Marshal()
}

func session(at netip.Addr, id uint64) *sdp.SessionDescription {
	family := "IP4"
	if at.Is6() {
		family = "IP6"
	}
	return &sdp.SessionDescription{
		Origin:      sdp.Origin{Username: "-", SessionID: id, SessionVersion: 1, NetworkType: "IN", AddressType: family, UnicastAddress: at.String()},
		SessionName: "-",
		ConnectionInformation: &sdp.ConnectionInformation{
			NetworkType: "IN", AddressType: family, Address: &sdp.Address{Address: at.String()},
		},
	}
}

// chosen are the formats to answer with.
func chosen(m *sdp.MediaDescription) []string {
	events := map[string]bool{}
	for _, a := range m.Attributes {
		if format, name, ok := strings.Cut(a.Value, " "); ok && a.Key == "rtpmap" && strings.HasPrefix(strings.ToLower(name), "telephone-event/") {
			events[format] = true
		}
	}
	var codec, event []string
	for _, f := range m.MediaName.Formats {
		switch {
		case events[f] && event == nil:
			event = []string{f}
		case !events[f] && codec == nil:
			codec = []string{f}
		}
	}
	return append(codec, event...)
}

// describe are the attributes of the chosen formats, as offered.
func describe(m *sdp.MediaDescription, formats []string) []sdp.Attribute {
	var list []sdp.Attribute
	for _, a := range m.Attributes {
		if a.Key != "rtpmap" && a.Key != "fmtp" {
			continue
		}
		format, _, _ := strings.Cut(a.Value, " ")
		for _, f := range formats {
			if f == format {
				list = append(list, a)
			}
		}
	}
	return list
}

// mirror is our direction (RFC 3264 6.1).
func mirror(o *sdp.SessionDescription, m *sdp.MediaDescription) string {
	for _, attributes := range [][]sdp.Attribute{m.Attributes, o.Attributes} {
		for _, a := range attributes {
			switch a.Key {
			case "sendonly":
				return "recvonly"
			case "recvonly":
				return "sendonly"
			case "inactive", "sendrecv":
				return a.Key
			}
		}
	}
	return "sendrecv"
}
