package esp

import (
	"crypto/aes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/gocscf/gocscf/ipsec"
)

// Sizes in octets.
const (
	headerLen  = 8  // SPI and sequence number (RFC 4303 2.1, 2.2)
	trailerLen = 2  // pad length and next header
	gcmIVLen   = 8  // RFC 4106 3.1, RFC 4543 3.2
	gcmICVLen  = 16 // the only length that Linux and TS 33.203 Annex H have in common
	macICVLen  = 12 // RFC 2403 2, RFC 2404 2

	// MaxOverhead is the most that a packet grows: header, IV, padding, trailer
	// and ICV of the pair that needs most.
	MaxOverhead = headerLen + aes.BlockSize + (aes.BlockSize - 1) + trailerLen + macICVLen
)

// What is wrong with a packet that does not open.
var (
	ErrTruncated = errors.New("esp: packet is shorter than its transform needs, or no multiple of its block")
	ErrICV       = errors.New("esp: integrity check failed")
	ErrPadding   = errors.New("esp: pad length exceeds the payload")
)

// Transform is a pair of algorithms with its keys. All four associations of a set
// share one (TS 33.203 Annex I). It may be used from any goroutine; one packet is
// sealed or opened at a time.
//
// A phone at rest has the keys alone: what they are expanded to takes five to twenty
// times their room, is made when a packet comes, and goes when others need it more.
type Transform struct {
	pair                 ipsec.Pair
	ivLen, block, icvLen uint8
	gmac                 bool
	salt                 [4]byte
	integrity            [20]byte // as long as the algorithm wants it
	encryption           [24]byte
	ivBase               uint64

	warm  *warm // where what is expanded counts; nil keeps it for good
	place int   // there; guarded by it
	used  atomic.Bool
	ready atomic.Pointer[keyed] // nil for not expanded

	mu      sync.Mutex
	ivCount uint64
	drawIV  func([]byte) // nil but in tests: instead of random octets
}

// NewTransform keys the algorithms of p with m.
func NewTransform(p ipsec.Pair, m ipsec.Material) (*Transform, error) {
	t := new(Transform)
	if err := t.key(p, m); err != nil {
		return nil, err
	}
	return t, nil
}

// key makes t what it is, and expands its keys: whoever has just got them will use
// them, and what is wrong with them shows at once.
func (t *Transform) key(p ipsec.Pair, m ipsec.Material) error {
	if !p.Valid() {
		return fmt.Errorf("esp: keying %v: no such pair in TS 33.203 Annex H", p)
	}
	t.pair, t.salt = p, m.Salt
	copy(t.integrity[:], m.Integrity)
	copy(t.encryption[:], m.Encryption)
	t.block, t.icvLen = 4, macICVLen
	switch {
	case p.Alg == ipsec.AESGMAC || p.EAlg == ipsec.AESGCM:
		t.gmac = p.Alg == ipsec.AESGMAC
		t.ivLen, t.icvLen = gcmIVLen, gcmICVLen
		var base [8]byte
		_, _ = rand.Read(base[:]) // does not fail
		t.ivBase = binary.BigEndian.Uint64(base[:])
	case p.EAlg == ipsec.AESCBC:
		t.ivLen, t.block = aes.BlockSize, aes.BlockSize
	case p.EAlg == ipsec.DESEDE3CBC:
		t.ivLen, t.block = desBlockSize, desBlockSize
	}
	k, err := expand(p, m)
	if err != nil {
		return fmt.Errorf("esp: keying %v: %w", p, err)
	}
	t.ready.Store(k)
	return nil
}

// Head is how far from the start of a packet its payload begins.
func (t *Transform) Head() int { return headerLen + int(t.ivLen) }

// Size is the length of a packet with n octets of payload.
func (t *Transform) Size(n int) int {
	return t.Head() + n + t.padLen(n) + trailerLen + int(t.icvLen)
}

func (t *Transform) padLen(n int) int {
	block := int(t.block)
	return (block - (n+trailerLen)%block) % block
}

// Seal makes a packet in place. The payload stands at p[t.Head():t.Head()+n], and
// p has a capacity of at least t.Size(n). next says what the payload is.
func (t *Transform) Seal(p []byte, n int, next uint8, spi, seq uint32) []byte {
	head, pad := t.Head(), t.padLen(n)
	p = p[:t.Size(n)]
	binary.BigEndian.PutUint32(p, spi)
	binary.BigEndian.PutUint32(p[4:], seq)
	trailer := p[head+n:]
	for i := range pad { // RFC 4303 2.4
		trailer[i] = byte(i + 1)
	}
	trailer[pad], trailer[pad+1] = byte(pad), next
	end := len(p) - int(t.icvLen)

	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.expanded()
	switch {
	case k.aead != nil:
		iv := p[headerLen:head]
		t.nextIV(iv)
		copy(k.nonce[4:], iv)
		if t.gmac {
			k.aead.Seal(p[end:end], k.nonce[:], nil, p[:end])
			return p
		}
		k.aead.Seal(p[head:head], k.nonce[:], p[head:end], p[:headerLen])
		return p
	case k.enc != nil:
		iv := p[headerLen:head]
		if t.drawIV != nil {
			t.drawIV(iv)
		} else {
			_, _ = rand.Read(iv) // unpredictable, as RFC 3602 3 asks; does not fail
		}
		k.enc.SetIV(iv)
		k.enc.CryptBlocks(p[head:end], p[head:end])
	}
	copy(p[end:], k.authenticate(p[:end]))
	return p
}

// nextIV never gives the same value twice under one key (RFC 4106 3.1). Both sides
// of a set, and all of its associations, have the same key and salt, so a count
// from 1 in each would be fatal: one count serves a Transform, from a random
// start, like the kernel's seqiv. It outlives what the keys are expanded to.
func (t *Transform) nextIV(iv []byte) {
	if t.drawIV != nil {
		t.drawIV(iv)
		return
	}
	binary.BigEndian.PutUint64(iv, t.ivBase^t.ivCount)
	t.ivCount++
}

// Open checks and decrypts a packet in place and returns the payload within it. A
// packet that fails its check is not decrypted.
func (t *Transform) Open(p []byte) (payload []byte, next uint8, err error) {
	head, end := t.Head(), len(p)-int(t.icvLen)
	if end-head < trailerLen || (end-head)%int(t.block) != 0 {
		return nil, 0, ErrTruncated
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.expanded()
	switch {
	case t.gmac:
		copy(k.nonce[4:], p[headerLen:head])
		if _, err := k.aead.Open(p[end:end], k.nonce[:], p[end:], p[:end]); err != nil {
			return nil, 0, ErrICV
		}
	case k.aead != nil:
		copy(k.nonce[4:], p[headerLen:head])
		if _, err := k.aead.Open(p[head:head], k.nonce[:], p[head:], p[:headerLen]); err != nil {
			return nil, 0, ErrICV
		}
	default:
		if subtle.ConstantTimeCompare(k.authenticate(p[:end]), p[end:]) != 1 {
			return nil, 0, ErrICV
		}
		if k.dec != nil {
			k.dec.SetIV(p[headerLen:head])
			k.dec.CryptBlocks(p[head:end], p[head:end])
		}
	}
	// The padding's values are not looked at: they prove nothing beside an ICV, and
	// some senders fill it otherwise.
	pad := int(p[end-2])
	if pad > end-head-trailerLen {
		return nil, 0, ErrPadding
	}
	return p[head : end-trailerLen-pad], p[end-1], nil
}

// expanded is what the keys are expanded to. The caller holds t.mu, and owns it for as
// long: that others push it out meanwhile takes nothing from him.
func (t *Transform) expanded() *keyed {
	if t.warm == nil {
		return t.ready.Load()
	}
	if !t.used.Load() { // most often it is, and nothing is written
		t.used.Store(true)
	}
	k := t.ready.Load()
	if k == nil {
		var err error
		if k, err = expand(t.pair, t.material()); err != nil {
			panic("esp: keys that were good cannot be expanded: " + err.Error())
		}
		t.ready.Store(k)
		t.warm.add(t)
	}
	return k
}

// material is what t was keyed with.
func (t *Transform) material() ipsec.Material {
	m := ipsec.Material{Salt: t.salt, Integrity: t.integrity[:], Encryption: t.encryption[:]}
	if t.pair.Alg != ipsec.HMACSHA1 {
		m.Integrity = t.integrity[:16]
	}
	if t.pair.EAlg != ipsec.DESEDE3CBC {
		m.Encryption = t.encryption[:16]
	}
	return m
}
