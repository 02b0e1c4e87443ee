package xfrm

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/gocscf/gocscf/ipsec"
)

// requestID marks every state and template of ours, whichever instance's they are.
const requestID = 33203 // the number of the specification, easy to see in "ip xfrm state"

// The kernel's numbers that the library has not.
const (
	modeTransport    = 0 // XFRM_MODE_TRANSPORT
	modeTunnel       = 1 // XFRM_MODE_TUNNEL
	encapESPInUDP    = 2 // UDP_ENCAP_ESPINUDP
	mappingThreshold = 5 // seconds between two reports of one association's mapping
)

// association is one of a set's four, with what is outside the packet.
type association struct {
	ipsec.SA
	in       bool
	src, dst netip.Addr // of the ESP packet
	// The ports of ESP in UDP, 0 for none.
	sport, dport uint16
	tunnel       bool
}

// key is what the kernel finds a state by: two states of a host cannot share it.
type key struct {
	dst netip.Addr
	spi uint32
}

func (a association) key() key { return key{a.dst, a.SPI} }

// associations lists the four of a set, those we receive on first. port is where ESP
// in UDP comes to at our side.
func (in *installed) associations(port uint16) []association {
	s := in.set
	a := association{in: true, src: s.Remote.Addr, dst: s.Local.Addr}
	out := association{src: s.Local.Addr, dst: s.Remote.Addr}
	if s.Mode == ipsec.UDPTunnel {
		a.src, a.tunnel = in.from, true
		out.dst, out.tunnel = in.outer.Addr(), true
	}
	if in.outer.IsValid() {
		a.sport, a.dport = in.outer.Port(), port
		out.sport, out.dport = port, in.outer.Port()
	}
	list := make([]association, 0, 4)
	for _, sa := range s.In() {
		a.SA = sa
		list = append(list, a)
	}
	for _, sa := range s.Out() {
		out.SA = sa
		list = append(list, out)
	}
	return list
}

// limits makes the kernel's lifetime of what the kernel takes to have begun at added, and
// what ends at hard, zero for never. The kernel counts whole seconds from the beginning.
func limits(added, hard time.Time, soft bool) nl.XfrmLifetimeCfg {
	l := nl.XfrmLifetimeCfg{
		SoftByteLimit: nl.XFRM_INF, HardByteLimit: nl.XFRM_INF,
		SoftPacketLimit: nl.XFRM_INF, HardPacketLimit: nl.XFRM_INF,
	}
	if hard.IsZero() {
		return l
	}
	life := max(hard.Sub(added), time.Second)
	l.HardAddExpiresSeconds = uint64(math.Ceil(life.Seconds()))
	if soft {
		before := min(softBefore, life/2)
		l.SoftAddExpiresSeconds = uint64((life - before).Seconds())
	}
	return l
}

// stateAdd tells the kernel of an association. oseq is the sequence number of the
// last packet that went out on it: a key must never see one twice.
func stateAdd(kind uint16, a association, s *ipsec.Set, life nl.XfrmLifetimeCfg, oseq uint32) request {
	info := &nl.XfrmUsersaInfo{
		Sel:    selector(a.Src, a.Dst),
		Id:     nl.XfrmId{Daddr: address(a.dst), Spi: nl.Swap32(a.SPI), Proto: unix.IPPROTO_ESP},
		Saddr:  address(a.src),
		Lft:    life,
		Reqid:  requestID,
		Family: family(a.dst),
		Mode:   modeTransport,
	}
	if a.tunnel {
		info.Mode = modeTunnel
	}
	r := request{kind, []nl.NetlinkRequestData{info}}
	for _, alg := range transforms(s.Pair, s.Material()) {
		r.parts = append(r.parts, alg)
	}
	if a.sport != 0 || a.dport != 0 {
		e := &nl.XfrmEncapTmpl{EncapType: encapESPInUDP, EncapSport: nl.Swap16(a.sport), EncapDport: nl.Swap16(a.dport)}
		r.parts = append(r.parts, nl.NewRtAttr(nl.XFRMA_ENCAP, e.Serialize()))
	}
	switch {
	case a.in:
		// A window wider than 32 needs the longer form, which does not mean extended
		// sequence numbers: these go with a flag that is not set.
		w := &nl.XfrmReplayStateEsn{BmpLen: ReplayWindow / 32, ReplayWindow: ReplayWindow}
		r.parts = append(r.parts, nl.NewRtAttr(nl.XFRMA_REPLAY_ESN_VAL, append(w.Serialize(), make([]byte, ReplayWindow/8)...)))
		if a.sport != 0 {
			r.parts = append(r.parts, nl.NewRtAttr(nl.XFRMA_MTIMER_THRESH, nl.Uint32Attr(mappingThreshold)))
		}
	case oseq != 0:
		r.parts = append(r.parts, nl.NewRtAttr(nl.XFRMA_REPLAY_VAL, (&nl.XfrmReplayState{OSeq: oseq}).Serialize()))
	}
	return r
}

func stateID(k key) *nl.XfrmUsersaId {
	return &nl.XfrmUsersaId{Daddr: address(k.dst), Spi: nl.Swap32(k.spi), Family: family(k.dst), Proto: unix.IPPROTO_ESP}
}

func stateDel(k key) request { return request{nl.XFRM_MSG_DELSA, []nl.NetlinkRequestData{stateID(k)}} }

func stateGet(k key) request { return request{nl.XFRM_MSG_GETSA, []nl.NetlinkRequestData{stateID(k)}} }

// transforms are the attributes that say how a packet is protected (TS 33.203 Annex I).
func transforms(p ipsec.Pair, m ipsec.Material) []*nl.RtAttr {
	aead := func(name string, k []byte) []*nl.RtAttr {
		a := &nl.XfrmAlgoAEAD{AlgICVLen: 128, AlgKey: append(append([]byte(nil), k...), m.Salt[:]...)}
		copy(a.AlgName[:], name)
		a.AlgKeyLen = uint32(len(a.AlgKey) * 8)
		return []*nl.RtAttr{nl.NewRtAttr(nl.XFRMA_ALG_AEAD, a.Serialize())}
	}
	switch {
	case p.EAlg == ipsec.AESGCM:
		return aead(names(p)[0], m.Encryption)
	case p.Alg == ipsec.AESGMAC:
		return aead(names(p)[0], m.Integrity)
	}
	auth := &nl.XfrmAlgoAuth{AlgKeyLen: uint32(len(m.Integrity) * 8), AlgTruncLen: 96, AlgKey: m.Integrity}
	copy(auth.AlgName[:], names(p)[0])
	crypt := &nl.XfrmAlgo{AlgKeyLen: uint32(len(m.Encryption) * 8), AlgKey: m.Encryption}
	copy(crypt.AlgName[:], names(p)[1])
	return []*nl.RtAttr{
		nl.NewRtAttr(nl.XFRMA_ALG_AUTH_TRUNC, auth.Serialize()),
		nl.NewRtAttr(nl.XFRMA_ALG_CRYPT, crypt.Serialize()),
	}
}

// names are the kernel's for a pair: one that does both, or integrity and encryption.
func names(p ipsec.Pair) []string {
	switch {
	case p.EAlg == ipsec.AESGCM:
		return []string{"rfc4106(gcm(aes))"}
	case p.Alg == ipsec.AESGMAC:
		return []string{"rfc4543(gcm(aes))"}
	}
	alg, ealg := "hmac(md5)", "ecb(cipher_null)"
	if p.Alg == ipsec.HMACSHA1 {
		alg = "hmac(sha1)"
	}
	switch p.EAlg {
	case ipsec.AESCBC:
		ealg = "cbc(aes)"
	case ipsec.DESEDE3CBC:
		ealg = "cbc(des3_ede)"
	}
	return []string{alg, ealg}
}

// standing is what the kernel says of a state.
type standing struct {
	info  *nl.XfrmUsersaInfo
	last  time.Time
	oseq  uint32
	stats ipsec.SAStats
}

// parseState reads an answer to GETSA. The keys that are in it stay where they are.
func parseState(b []byte) (standing, bool) {
	if len(b) < nl.SizeofXfrmUsersaInfo {
		return standing{}, false
	}
	st := standing{info: nl.DeserializeXfrmUsersaInfo(b)}
	attrs, err := nl.ParseRouteAttr(b[nl.SizeofXfrmUsersaInfo:])
	if err != nil {
		return standing{}, false
	}
	for _, a := range attrs {
		switch {
		case a.Attr.Type == nl.XFRMA_LASTUSED && len(a.Value) >= 8:
			st.last = time.Unix(int64(binary.NativeEndian.Uint64(a.Value)), 0)
		case a.Attr.Type == nl.XFRMA_REPLAY_VAL && len(a.Value) >= 4:
			st.oseq = binary.NativeEndian.Uint32(a.Value)
		}
	}
	st.stats = ipsec.SAStats{
		Packets: st.info.Curlft.Packets, Octets: st.info.Curlft.Bytes,
		BadICV:   uint64(st.info.Stats.IntegrityFailed),
		Replayed: uint64(st.info.Stats.Replay) + uint64(st.info.Stats.ReplayWindow),
	}
	if st.stats.Packets != 0 {
		st.stats.Last = st.last
	}
	return st, true
}
