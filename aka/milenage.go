package aka

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"fmt"
	"io"
)

// Milenage is the algorithm set of TS 35.206 with AES-128 as its kernel and the
// constants c1–c5, r1–r5 of clause 4.1. It keeps the AES key schedule, so that a
// subscriber's value is worth keeping.
type Milenage struct {
	// Behind a pointer for the reason given at Secret: kernel's round keys begin
	// with K.
	keys *milenageKeys
}

type milenageKeys struct {
	kernel cipher.Block
	opc    Secret
}

// NewMilenage binds Milenage to K and OPc, 16 octets each; other lengths are a
// *LengthError. The octets are copied.
func NewMilenage(k, opc Secret) (*Milenage, error) {
	if opc.Len() != 16 {
		return nil, &LengthError{"Milenage OPc", opc.Len(), "16 octets"}
	}
	kernel, err := milenageKernel(k)
	if err != nil {
		return nil, err
	}
	return &Milenage{&milenageKeys{kernel, NewSecret(opc.Bytes())}}, nil
}

// MilenageOPc derives OPc from K and the operator's OP, 16 octets each
// (TS 35.206 clause 4.1).
func MilenageOPc(k, op Secret) (Secret, error) {
	if op.Len() != 16 {
		return Secret{}, &LengthError{"Milenage OP", op.Len(), "16 octets"}
	}
	kernel, err := milenageKernel(k)
	if err != nil {
		return Secret{}, err
	}
	opc := make([]byte, 16)
	kernel.Encrypt(opc, op.Bytes())
	subtle.XORBytes(opc, opc, op.Bytes())
	return ownSecret(opc), nil
}

func milenageKernel(k Secret) (cipher.Block, error) {
	// AES would take 24 and 32 octets too; Milenage's K has 128 bits.
	if k.Len() != 16 {
		return nil, &LengthError{"Milenage K", k.Len(), "16 octets"}
	}
	return aes.NewCipher(k.Bytes())
}

// F1 gives MAC-A, 8 octets.
func (m *Milenage) F1(rand RAND, sqn SQN, amf AMF) []byte { return m.out1(rand, sqn, amf)[:8:8] }

// F1Star gives MAC-S, 8 octets.
func (m *Milenage) F1Star(rand RAND, sqn SQN, amf AMF) []byte { return m.out1(rand, sqn, amf)[8:] }

// F2345 gives RES (8 octets), CK, IK (16 each) and AK.
func (m *Milenage) F2345(rand RAND) (res, ck, ik Secret, ak AK) {
	b := m.temp(rand)
	out := make([]byte, 48)
	out2, out3, out4 := out[0:16], out[16:32], out[32:48]
	m.out(b, out2, 0, 1)
	m.out(b, out3, 4, 2)
	m.out(b, out4, 8, 4)
	copy(ak[:], out2)
	// Capacities are cut so that an append by a holder cannot reach the next key.
	return ownSecret(out2[8:16:16]), ownSecret(out[16:32:32]), ownSecret(out4), ak
}

// F5Star gives the AK of AUTS.
func (m *Milenage) F5Star(rand RAND) (ak AK) {
	b := m.temp(rand)
	var out5 [16]byte
	m.out(b, out5[:], 12, 8)
	copy(ak[:], out5[:])
	return ak
}

// blocks is the scratch space of one call: one allocation, because what goes
// through cipher.Block escapes.
type blocks struct{ temp, in, out [16]byte }

// temp computes TEMP = E(RAND ⊕ OPc).
func (m *Milenage) temp(rand RAND) *blocks {
	b := new(blocks)
	subtle.XORBytes(b.in[:], rand[:], m.keys.opc.Bytes())
	m.keys.kernel.Encrypt(b.temp[:], b.in[:])
	return b
}

// out computes OUTn = E(rot(TEMP ⊕ OPc, r) ⊕ c) ⊕ OPc for n = 2 … 5, with the
// rotation in octets and c's last octet; its others are zero.
func (m *Milenage) out(b *blocks, dst []byte, r int, c byte) {
	opc := m.keys.opc.Bytes()
	for i := range b.in {
		j := (i + r) % 16
		b.in[i] = b.temp[j] ^ opc[j]
	}
	b.in[15] ^= c
	m.keys.kernel.Encrypt(b.out[:], b.in[:])
	subtle.XORBytes(dst, b.out[:], opc)
}

// out1 computes OUT1, where IN1 and not TEMP is rotated, by 8 octets.
func (m *Milenage) out1(rand RAND, sqn SQN, amf AMF) []byte {
	b := m.temp(rand)
	opc := m.keys.opc.Bytes()
	s := sqn.Bytes()
	in1 := [8]byte{s[0], s[1], s[2], s[3], s[4], s[5], byte(amf >> 8), byte(amf)}
	for i := range b.in {
		// IN1 is SQN‖AMF twice, so rotating it by 8 octets changes only OPc's place.
		b.in[i] = b.temp[i] ^ in1[i%8] ^ opc[(i+8)%16]
	}
	m.keys.kernel.Encrypt(b.out[:], b.in[:])
	subtle.XORBytes(b.out[:], b.out[:], opc)
	return b.out[:]
}

// String names the algorithm and hides its keys.
func (Milenage) String() string { return "Milenage[keys hidden]" }

// Format does as String, whatever the verb.
func (m Milenage) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }
