package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"sync"

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
type Transform struct {
	ivLen, block, icvLen int

	mu       sync.Mutex
	mac      hash.Hash // nil with GCM and GMAC
	enc, dec modeIV    // nil without CBC
	aead     cipher.AEAD
	gmac     bool
	nonce    [12]byte // salt, and the IV of the packet in work
	sum      [sha1.Size]byte
	ivBase   uint64
	ivCount  uint64
	drawIV   func([]byte) // nil but in tests: instead of random octets
}

// modeIV is a CBC mode that is used for more than one packet.
type modeIV interface {
	cipher.BlockMode
	SetIV(iv []byte)
}

// NewTransform keys the algorithms of p with m.
func NewTransform(p ipsec.Pair, m ipsec.Material) (*Transform, error) {
	t := &Transform{block: 4}
	var err error
	switch p.Alg {
	case ipsec.HMACMD5:
		t.mac, t.icvLen = hmac.New(md5.New, m.Integrity), macICVLen
	case ipsec.HMACSHA1:
		t.mac, t.icvLen = hmac.New(sha1.New, m.Integrity), macICVLen
	case ipsec.AESGMAC:
		t.gmac = true
		err = t.setGCM(m.Integrity, m.Salt)
	}
	switch {
	case err != nil || !p.Valid():
	case p.EAlg == ipsec.AESCBC:
		var b cipher.Block
		if b, err = aes.NewCipher(m.Encryption); err == nil {
			err = t.setCBC(b)
		}
	case p.EAlg == ipsec.DESEDE3CBC:
		var b cipher.Block
		if b, err = des.NewTripleDESCipher(m.Encryption); err == nil {
			err = t.setCBC(b)
		}
	case p.EAlg == ipsec.AESGCM:
		err = t.setGCM(m.Encryption, m.Salt)
	}
	if err == nil && !p.Valid() {
		err = errors.New("no such pair in TS 33.203 Annex H")
	}
	if err != nil {
		return nil, fmt.Errorf("esp: keying %v: %w", p, err)
	}
	return t, nil
}

func (t *Transform) setCBC(b cipher.Block) error {
	var zero [aes.BlockSize]byte
	var ok1, ok2 bool
	t.ivLen, t.block = b.BlockSize(), b.BlockSize()
	t.enc, ok1 = cipher.NewCBCEncrypter(b, zero[:t.block]).(modeIV)
	t.dec, ok2 = cipher.NewCBCDecrypter(b, zero[:t.block]).(modeIV)
	if !ok1 || !ok2 {
		return errors.New("this Go version has no CBC mode whose IV can be set")
	}
	return nil
}

func (t *Transform) setGCM(key []byte, salt [4]byte) error {
	b, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	if t.aead, err = cipher.NewGCM(b); err != nil {
		return err
	}
	t.ivLen, t.icvLen = gcmIVLen, gcmICVLen
	copy(t.nonce[:], salt[:])
	var base [8]byte
	_, _ = rand.Read(base[:]) // does not fail
	t.ivBase = binary.BigEndian.Uint64(base[:])
	return nil
}

// Head is how far from the start of a packet its payload begins.
func (t *Transform) Head() int { return headerLen + t.ivLen }

// Size is the length of a packet with n octets of payload.
func (t *Transform) Size(n int) int { return t.Head() + n + t.padLen(n) + trailerLen + t.icvLen }

func (t *Transform) padLen(n int) int {
	return (t.block - (n+trailerLen)%t.block) % t.block
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
	end := len(p) - t.icvLen

	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.aead != nil:
		iv := p[headerLen:head]
		t.nextIV(iv)
		copy(t.nonce[4:], iv)
		if t.gmac {
			t.aead.Seal(p[end:end], t.nonce[:], nil, p[:end])
			return p
		}
		t.aead.Seal(p[head:head], t.nonce[:], p[head:end], p[:headerLen])
		return p
	case t.enc != nil:
		iv := p[headerLen:head]
		if t.drawIV != nil {
			t.drawIV(iv)
		} else {
			_, _ = rand.Read(iv) // unpredictable, as RFC 3602 3 asks; does not fail
		}
		t.enc.SetIV(iv)
		t.enc.CryptBlocks(p[head:end], p[head:end])
	}
	copy(p[end:], t.authenticate(p[:end]))
	return p
}

// nextIV never gives the same value twice under one key (RFC 4106 3.1). Both sides
// of a set, and all of its associations, have the same key and salt, so a count
// from 1 in each would be fatal: one count serves a Transform, from a random
// start, like the kernel's seqiv.
func (t *Transform) nextIV(iv []byte) {
	if t.drawIV != nil {
		t.drawIV(iv)
		return
	}
	binary.BigEndian.PutUint64(iv, t.ivBase^t.ivCount)
	t.ivCount++
}

// authenticate returns the ICV over b, good until the next call.
func (t *Transform) authenticate(b []byte) []byte {
	t.mac.Reset()
	t.mac.Write(b)
	return t.mac.Sum(t.sum[:0])[:macICVLen]
}

// Open checks and decrypts a packet in place and returns the payload within it. A
// packet that fails its check is not decrypted.
func (t *Transform) Open(p []byte) (payload []byte, next uint8, err error) {
	head, end := t.Head(), len(p)-t.icvLen
	if end-head < trailerLen || (end-head)%t.block != 0 {
		return nil, 0, ErrTruncated
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.gmac:
		copy(t.nonce[4:], p[headerLen:head])
		if _, err := t.aead.Open(p[end:end], t.nonce[:], p[end:], p[:end]); err != nil {
			return nil, 0, ErrICV
		}
	case t.aead != nil:
		copy(t.nonce[4:], p[headerLen:head])
		if _, err := t.aead.Open(p[head:head], t.nonce[:], p[head:], p[:headerLen]); err != nil {
			return nil, 0, ErrICV
		}
	default:
		if subtle.ConstantTimeCompare(t.authenticate(p[:end]), p[end:]) != 1 {
			return nil, 0, ErrICV
		}
		if t.dec != nil {
			t.dec.SetIV(p[headerLen:head])
			t.dec.CryptBlocks(p[head:end], p[head:end])
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
