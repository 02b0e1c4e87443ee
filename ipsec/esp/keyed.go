package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"errors"
	"fmt"
	"hash"

	"github.com/gocscf/gocscf/ipsec"
)

const desBlockSize = des.BlockSize

// keyed is what the keys of a pair are expanded to: half a kilobyte to two. It serves
// one packet at a time.
type keyed struct {
	mac      hash.Hash // nil with GCM and GMAC
	enc, dec modeIV    // nil without CBC
	aead     cipher.AEAD
	nonce    [12]byte // salt, and the IV of the packet in work
	sum      [sha1.Size]byte
}

// modeIV is a CBC mode that is used for more than one packet.
type modeIV interface {
	cipher.BlockMode
	SetIV(iv []byte)
}

// expand makes the state that p works with of its keys.
func expand(p ipsec.Pair, m ipsec.Material) (*keyed, error) {
	k := new(keyed)
	switch p.Alg {
	case ipsec.HMACMD5:
		if len(m.Integrity) != md5.Size {
			return nil, fmt.Errorf("a key of %d octets, want %d", len(m.Integrity), md5.Size)
		}
		k.mac = hmac.New(md5.New, m.Integrity)
	case ipsec.HMACSHA1:
		if len(m.Integrity) != sha1.Size {
			return nil, fmt.Errorf("a key of %d octets, want %d", len(m.Integrity), sha1.Size)
		}
		k.mac = hmac.New(sha1.New, m.Integrity)
	case ipsec.AESGMAC:
		return k, k.setGCM(m.Integrity, m.Salt)
	}
	switch p.EAlg {
	case ipsec.AESCBC:
		b, err := aes.NewCipher(m.Encryption)
		if err != nil {
			return nil, err
		}
		return k, k.setCBC(b)
	case ipsec.DESEDE3CBC:
		b, err := des.NewTripleDESCipher(m.Encryption)
		if err != nil {
			return nil, err
		}
		return k, k.setCBC(b)
	case ipsec.AESGCM:
		return k, k.setGCM(m.Encryption, m.Salt)
	}
	return k, nil
}

func (k *keyed) setCBC(b cipher.Block) error {
	var zero [aes.BlockSize]byte
	var ok1, ok2 bool
	k.enc, ok1 = cipher.NewCBCEncrypter(b, zero[:b.BlockSize()]).(modeIV)
	k.dec, ok2 = cipher.NewCBCDecrypter(b, zero[:b.BlockSize()]).(modeIV)
	if !ok1 || !ok2 {
		return errors.New("this Go version has no CBC mode whose IV can be set")
	}
	return nil
}

func (k *keyed) setGCM(key []byte, salt [4]byte) error {
	b, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	copy(k.nonce[:], salt[:])
	k.aead, err = cipher.NewGCM(b)
	return err
}

// authenticate returns the ICV over b, good until the next call.
func (k *keyed) authenticate(b []byte) []byte {
	k.mac.Reset()
	k.mac.Write(b)
	return k.mac.Sum(k.sum[:0])[:macICVLen]
}
