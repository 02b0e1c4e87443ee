package aka

import (
	"crypto/subtle"
	"fmt"
	"io"
)

// XOR is the test algorithm of TS 34.108 clause 8.1.2, which test USIMs run. It
// protects nothing: K can be read from one RAND and RES.
type XOR struct{ k Secret }

// NewXOR binds the test algorithm to K, 16 octets; another length is a
// *LengthError. The octets are copied.
func NewXOR(k Secret) (*XOR, error) {
	if k.Len() != 16 {
		return nil, &LengthError{"XOR K", k.Len(), "16 octets"}
	}
	return &XOR{NewSecret(k.Bytes())}, nil
}

// F1 gives MAC-A, 8 octets: XDOUT ⊕ (SQN‖AMF).
func (x *XOR) F1(rand RAND, sqn SQN, amf AMF) []byte {
	xdout := x.xdout(rand)
	s := sqn.Bytes()
	cdout := [8]byte{s[0], s[1], s[2], s[3], s[4], s[5], byte(amf >> 8), byte(amf)}
	mac := make([]byte, 8)
	subtle.XORBytes(mac, xdout[:8], cdout[:])
	return mac
}

// F1Star gives MAC-S: the function is f1.
func (x *XOR) F1Star(rand RAND, sqn SQN, amf AMF) []byte { return x.F1(rand, sqn, amf) }

// F2345 gives RES, CK and IK, 16 octets each, which are XDOUT rotated left by 0, 1
// and 2 octets, and AK, its octets 3 to 8.
func (x *XOR) F2345(rand RAND) (res, ck, ik Secret, ak AK) {
	xdout := x.xdout(rand)
	rotated := func(n int) Secret {
		return ownSecret(append(append(make([]byte, 0, 16), xdout[n:]...), xdout[:n]...))
	}
	copy(ak[:], xdout[3:9])
	return rotated(0), rotated(1), rotated(2), ak
}

// F5Star gives the AK of AUTS: the function is f5.
func (x *XOR) F5Star(rand RAND) (ak AK) {
	xdout := x.xdout(rand)
	copy(ak[:], xdout[3:9])
	return ak
}

func (x *XOR) xdout(rand RAND) (out [16]byte) {
	subtle.XORBytes(out[:], x.k.Bytes(), rand[:])
	return out
}

// String names the algorithm and hides its key.
func (XOR) String() string { return "XOR[key hidden]" }

// Format does as String, whatever the verb.
func (x XOR) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, x.String()) }
