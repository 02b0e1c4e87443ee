package aka

import (
	"crypto/sha3"
	"fmt"
	"io"
	"slices"
)

// TUAKOptions are the lengths and the strength that an operator chooses for TUAK
// (TS 35.231 clause 5). Zero means the value named first.
type TUAKOptions struct {
	RESBits    int // 64, 32, 128 or 256
	MACBits    int // 64, 128 or 256; AUTN has room for 64 only
	CKBits     int // 128 or 256
	IKBits     int // 128 or 256
	Iterations int // applications of Keccak-f[1600] in a function: 1, up to 255
}

// TUAK is the algorithm set of TS 35.231.
type TUAK struct {
	k, topc Secret
	opt     TUAKOptions
}

// NewTUAK binds TUAK to K, 16 or 32 octets, and TOPc, 32 octets; other lengths
// are a *LengthError. The octets are copied.
func NewTUAK(k, topc Secret, opt TUAKOptions) (*TUAK, error) {
	opt = opt.withDefaults()
	if err := opt.check(); err != nil {
		return nil, err
	}
	if err := checkTUAKKeys(k, "TUAK TOPc", topc); err != nil {
		return nil, err
	}
	return &TUAK{k: NewSecret(k.Bytes()), topc: NewSecret(topc.Bytes()), opt: opt}, nil
}

// TUAKTOPc derives TOPc from K, 16 or 32 octets, and the operator's TOP, 32
// octets, with the given number of Keccak iterations, 0 meaning 1 (TS 35.231
// clause 6.1).
func TUAKTOPc(k, top Secret, iterations int) (Secret, error) {
	opt := TUAKOptions{Iterations: iterations}.withDefaults()
	if err := opt.check(); err != nil {
		return Secret{}, err
	}
	if err := checkTUAKKeys(k, "TUAK TOP", top); err != nil {
		return Secret{}, err
	}
	t := TUAK{k: k, topc: top, opt: opt}
	var out [tuakOut]byte
	t.keccak(&out, 0, nil, 0, 0)
	return ownSecret(reversed(out[:32])), nil
}

func checkTUAKKeys(k Secret, name string, top Secret) error {
	if n := k.Len(); n != 16 && n != 32 {
		return &LengthError{"TUAK K", n, "16 or 32 octets"}
	}
	if top.Len() != 32 {
		return &LengthError{name, top.Len(), "32 octets"}
	}
	return nil
}

func (o TUAKOptions) withDefaults() TUAKOptions {
	for _, d := range []struct {
		v *int
		n int
	}{{&o.RESBits, 64}, {&o.MACBits, 64}, {&o.CKBits, 128}, {&o.IKBits, 128}, {&o.Iterations, 1}} {
		if *d.v == 0 {
			*d.v = d.n
		}
	}
	return o
}

func (o TUAKOptions) check() error {
	for _, c := range []struct {
		what    string
		v       int
		allowed []int
	}{
		{"TUAK RES", o.RESBits, []int{32, 64, 128, 256}},
		{"TUAK MAC", o.MACBits, []int{64, 128, 256}},
		{"TUAK CK", o.CKBits, []int{128, 256}},
		{"TUAK IK", o.IKBits, []int{128, 256}},
	} {
		if !slices.Contains(c.allowed, c.v) {
			return &LengthError{c.what, c.v, fmt.Sprint(c.allowed, " bits")}
		}
	}
	if o.Iterations < 1 || o.Iterations > 255 {
		return &LengthError{"TUAK Keccak iterations", o.Iterations, "1 to 255"}
	}
	return nil
}

// The INSTANCE octet (TS 35.231 clauses 6.1 to 6.5): the function in the upper
// bits, then the length of MAC or RES in units of 64 bits times 8 (none for 32
// bits), CK of 256 bits, IK of 256 bits, K of 256 bits.
const (
	tuakF1     = 0x00
	tuakF2345  = 0x40
	tuakF1Star = 0x80
	tuakF5Star = 0xc0
	tuakCK256  = 0x04
	tuakIK256  = 0x02
	tuakK256   = 0x01
)

// F1 gives MAC-A, MACBits long.
func (t *TUAK) F1(rand RAND, sqn SQN, amf AMF) []byte { return t.mac(tuakF1, rand, sqn, amf) }

// F1Star gives MAC-S, MACBits long.
func (t *TUAK) F1Star(rand RAND, sqn SQN, amf AMF) []byte { return t.mac(tuakF1Star, rand, sqn, amf) }

func (t *TUAK) mac(instance byte, rand RAND, sqn SQN, amf AMF) []byte {
	var out [tuakOut]byte
	t.keccak(&out, instance|byte(t.opt.MACBits/64*8), &rand, sqn, amf)
	return reversed(out[:t.opt.MACBits/8])
}

// F2345 gives RES, CK and IK, as long as configured, and AK.
func (t *TUAK) F2345(rand RAND) (res, ck, ik Secret, ak AK) {
	instance := tuakF2345 | byte(t.opt.RESBits/64*8)
	if t.opt.CKBits == 256 {
		instance |= tuakCK256
	}
	if t.opt.IKBits == 256 {
		instance |= tuakIK256
	}
	var out [tuakOut]byte
	t.keccak(&out, instance, &rand, 0, 0)
	res = ownSecret(reversed(out[:t.opt.RESBits/8]))
	ck = ownSecret(reversed(out[32 : 32+t.opt.CKBits/8]))
	ik = ownSecret(reversed(out[64 : 64+t.opt.IKBits/8]))
	copy(ak[:], reversed(out[96:102]))
	return res, ck, ik, ak
}

// F5Star gives the AK of AUTS.
func (t *TUAK) F5Star(rand RAND) (ak AK) {
	var out [tuakOut]byte
	t.keccak(&out, tuakF5Star, &rand, 0, 0)
	copy(ak[:], reversed(out[96:102]))
	return ak
}

// tuakOut is how much of OUT any function uses: up to the end of AK.
const tuakOut = 102

// keccak applies Keccak-f[1600] Iterations times to TOPc‖INSTANCE‖ALGONAME‖RAND‖
// AMF‖SQN‖KEY and its padding, and gives the first octets of OUT. A nil rand
// stands for the zeros of TOPc's derivation.
//
// TUAK's padding of the 96 octets is that of SHAKE256, whose rate is 136 octets.
// So n applications are SHAKE256's n-th output block, and the standard library's
// permutation, fast and tested, serves for all of TUAK.
func (t *TUAK) keccak(out *[tuakOut]byte, instance byte, rand *RAND, sqn SQN, amf AMF) {
	const rate = 136
	var in [96]byte
	putReversed(in[0:32], t.topc.Bytes())
	if t.k.Len() == 32 {
		instance |= tuakK256
	}
	in[32] = instance
	putReversed(in[33:40], []byte("TUAK1.0"))
	if rand != nil {
		putReversed(in[40:56], rand[:])
	}
	in[56], in[57] = byte(amf), byte(amf>>8)
	s := sqn.Bytes()
	putReversed(in[58:64], s[:])
	putReversed(in[64:64+t.k.Len()], t.k.Bytes()) // a K of 16 octets leaves zeros behind it

	h := sha3.NewSHAKE256()
	_, _ = h.Write(in[:])
	var skip [rate]byte
	for range t.opt.Iterations - 1 {
		_, _ = h.Read(skip[:])
	}
	_, _ = h.Read(out[:])
}

// TUAK numbers the bits of its inputs from the other end than Keccak does, which
// comes to the octets of each field in reverse order.
func putReversed(dst, src []byte) {
	copy(dst, src)
	slices.Reverse(dst[:len(src)])
}

func reversed(b []byte) []byte {
	r := slices.Clone(b)
	slices.Reverse(r)
	return r
}

// String names the algorithm and hides its keys.
func (TUAK) String() string { return "TUAK[keys hidden]" }

// Format does as String, whatever the verb.
func (t TUAK) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }
