package ipsec

import (
	"net/netip"
	"time"
)

// Report is what is known about the protection of one phone. As JSON it is what
// GET /debug/ipsec?impi= answers; there is no key in it. Complete is called last.
type Report struct {
	IMPI    string    `json:"impi"`
	At      time.Time `json:"at"`
	Policy  string    `json:"policy"`  // "none" or "required"
	Backend string    `json:"backend"` // "kernel" or "user"
	// BackendWhy is why that one was chosen.
	BackendWhy string `json:"backend_why,omitempty"`
	Facts      Facts  `json:"facts"`
	// Sets are those that stand, the one in use first; where the phone was before it
	// changed its address, behind those where it is.
	Sets []SetReport `json:"sets"`
	// Explanation is what follows from all that: see Explain.
	Explanation []Sentence `json:"explanation"`
}

// Facts is what the P-CSCF has seen of a phone besides its sets. A zero time is
// never.
type Facts struct {
	// RegisterAt is when the last REGISTER in clear came, Source from where, Via
	// what address the phone itself believes to have. BehindNAT is that the two
	// differ.
	RegisterAt time.Time      `json:"register_at,omitzero"`
	Source     netip.AddrPort `json:"source,omitzero"`
	Via        string         `json:"via,omitempty"`
	BehindNAT  bool           `json:"behind_nat,omitempty"`
	// Offers is the Security-Client of that REGISTER.
	Offers []Mechanism `json:"security_client,omitempty"`
	// RefusedAt is when we refused a REGISTER ourselves, with RefusedStatus and
	// for RefusedFor, an error of this package or of a back end.
	RefusedAt     time.Time `json:"refused_at,omitzero"`
	RefusedStatus int       `json:"refused_status,omitempty"`
	RefusedFor    error     `json:"-"`
	RefusedText   string    `json:"refused_for,omitempty"` // RefusedFor in words
	// ForwardedAt is when a REGISTER was last passed on, HomeAt when its last answer
	// came, HomeStatus which.
	ForwardedAt time.Time `json:"forwarded_at,omitzero"`
	HomeAt      time.Time `json:"home_at,omitzero"`
	HomeStatus  int       `json:"home_status,omitempty"`
	// ChallengedAt is when the last 401 was sent. Challenges, Resyncs and
	// MACFailures count since the last success: 401s, REGISTERs with auts, and
	// REGISTERs that answer a challenge with an empty response.
	ChallengedAt time.Time `json:"challenged_at,omitzero"`
	Challenges   int       `json:"challenges,omitempty"`
	Resyncs      int       `json:"resyncs,omitempty"`
	MACFailures  int       `json:"mac_failures,omitempty"`
	// GaveWayAt is when a set of a challenge whose 401 had left was taken from it for the
	// sake of others, before anything had come over it.
	GaveWayAt time.Time `json:"gave_way_at,omitzero"`
	// AnsweredAt is when a REGISTER last came over a temporary set.
	AnsweredAt time.Time `json:"answered_at,omitzero"`
	// RegisteredAt is when the last 200 was sent that left a registration; Registered
	// is that it still is one.
	RegisteredAt time.Time `json:"registered_at,omitzero"`
	Registered   bool      `json:"registered"`
	// The counters that follow are since the last success.
	//
	// UnknownSPIs counts ESP packets from the phone's address that belong to no set,
	// since the last challenge; UnknownSPI is that of the last.
	UnknownSPIs uint64 `json:"unknown_spis,omitempty"`
	UnknownSPI  uint32 `json:"unknown_spi,omitempty"`
	// ClearDropped counts messages in clear from its address to our protected ports,
	// ClearRefused requests in clear to the open port that may not come so.
	ClearDropped uint64 `json:"clear_dropped,omitempty"`
	ClearRefused uint64 `json:"clear_refused,omitempty"`
	// Unanswered counts requests to the phone to which no response came, since its
	// last message.
	Unanswered int `json:"unanswered,omitempty"`
}

// SetReport is one set.
type SetReport struct {
	ID     SetID     `json:"id"`
	State  string    `json:"state"`
	Ends   time.Time `json:"ends"`
	Alg    string    `json:"alg"`
	EAlg   string    `json:"ealg"`
	Mode   string    `json:"mode"`
	Local  EndReport `json:"local"`
	Remote EndReport `json:"remote"`
	// Outer is where ESP in UDP comes from and goes to.
	Outer netip.AddrPort `json:"outer,omitzero"`
	// In and Out are the associations by our port: that of the server, that of the client.
	In  [2]SAReport `json:"in"`
	Out [2]SAReport `json:"out"`
}

// EndReport is one side of a set.
type EndReport struct {
	Addr  netip.Addr `json:"address"`
	PortC uint16     `json:"port_c"`
	PortS uint16     `json:"port_s"`
	SPIC  uint32     `json:"spi_c"`
	SPIS  uint32     `json:"spi_s"`
}

// SAReport is one association, and what has gone over it.
type SAReport struct {
	SPI       uint32         `json:"spi"`
	Src       netip.AddrPort `json:"from"`
	Dst       netip.AddrPort `json:"to"`
	Packets   uint64         `json:"packets"`
	Octets    uint64         `json:"octets"`
	Last      time.Time      `json:"last,omitzero"`
	BadICV    uint64         `json:"bad_icv,omitempty"`
	Replayed  uint64         `json:"replayed,omitempty"`
	Malformed uint64         `json:"malformed,omitempty"`
	Selector  uint64         `json:"selector,omitempty"`
}

// ReportSet describes a set that is in that state until ends.
func ReportSet(s *Set, state State, ends time.Time, stats SetStats) SetReport {
	r := SetReport{
		ID: s.ID, State: state.String(), Ends: ends,
		Alg: s.Pair.Alg.String(), EAlg: s.Pair.EAlg.String(), Mode: s.Mode.String(),
		Local: EndReport(s.Local), Remote: EndReport(s.Remote), Outer: s.Outer,
	}
	in, out := s.In(), s.Out()
	for i := range in {
		r.In[i] = reportSA(in[i], stats.In[i])
		r.Out[i] = reportSA(out[i], stats.Out[i])
	}
	return r
}

func reportSA(sa SA, st SAStats) SAReport {
	return SAReport{
		SPI: sa.SPI, Src: sa.Src, Dst: sa.Dst,
		Packets: st.Packets, Octets: st.Octets, Last: st.Last,
		BadICV: st.BadICV, Replayed: st.Replayed, Malformed: st.Malformed, Selector: st.Selector,
	}
}

// received adds up what has come over both inbound associations.
func (s SetReport) received() (sum SAStats) {
	for _, a := range s.In {
		sum.Packets += a.Packets
		sum.BadICV += a.BadICV
		sum.Replayed += a.Replayed
		sum.Malformed += a.Malformed
		sum.Selector += a.Selector
		if a.Last.After(sum.Last) {
			sum.Last = a.Last
		}
	}
	return sum
}

func (s SetReport) pair() string { return s.Alg + "/" + s.EAlg }
