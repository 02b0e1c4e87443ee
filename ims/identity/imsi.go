package identity

import (
	"fmt"
	"strings"
)

// PLMN is a mobile network code pair: MCC three digits, MNC two or three.
type PLMN struct{ MCC, MNC string }

// Domain returns the home network domain that a UE without ISIM derives (TS
// 23.003 13.2): "ims.mnc001.mcc001.3gppnetwork.org". An MNC of two digits gets
// a leading zero.
func (p PLMN) Domain() string {
	mnc := p.MNC
	if len(mnc) == 2 {
		mnc = "0" + mnc
	}
	return "ims.mnc" + mnc + ".mcc" + p.MCC + ".3gppnetwork.org"
}

// PLMNOf reads the codes out of such a domain. The MNC comes back with three
// digits: the domain does not tell 01 from 001.
func PLMNOf(domain string) (PLMN, bool) {
	const sample = "ims.mnc000.mcc000.3gppnetwork.org"
	if len(domain) != len(sample) {
		return PLMN{}, false
	}
	d := lowerASCII(domain)
	p := PLMN{MNC: d[7:10], MCC: d[14:17]}
	if d[:7] != sample[:7] || d[10:14] != sample[10:14] || d[17:] != sample[17:] || !digits(p.MNC) || !digits(p.MCC) {
		return PLMN{}, false
	}
	return p, true
}

// PLMNFromIMSI splits an IMSI. mncDigits is 2 or 3; the SIM says which (EF_AD,
// TS 31.102 4.2.18), the IMSI itself does not.
func PLMNFromIMSI(imsi string, mncDigits int) (PLMN, error) {
	if err := checkIMSI(imsi); err != nil {
		return PLMN{}, err
	}
	if mncDigits != 2 && mncDigits != 3 {
		return PLMN{}, fmt.Errorf("MNC of %d digits: it has 2 or 3", mncDigits)
	}
	return PLMN{MCC: imsi[:3], MNC: imsi[3 : 3+mncDigits]}, nil
}

// IMPIFromIMSI is the private identity of a UE without ISIM (TS 23.003 13.3).
func IMPIFromIMSI(imsi string, mncDigits int) (IMPI, error) {
	p, err := PLMNFromIMSI(imsi, mncDigits)
	if err != nil {
		return "", fmt.Errorf("deriving the IMPI: %w", err)
	}
	return IMPI(imsi + "@" + p.Domain()), nil
}

// TemporaryIMPU is the public identity that such a UE registers first (TS
// 23.003 13.4B). It is barred for everything else.
func TemporaryIMPU(imsi string, mncDigits int) (IMPU, error) {
	p, err := PLMNFromIMSI(imsi, mncDigits)
	if err != nil {
		return "", fmt.Errorf("deriving the temporary IMPU: %w", err)
	}
	return IMPU("sip:" + imsi + "@" + p.Domain()), nil
}

// IsTemporaryOf reports whether u is the temporary public identity that belongs
// to p: the same user and domain, of the derived form.
func (u IMPU) IsTemporaryOf(p IMPI) bool {
	rest, ok := strings.CutPrefix(string(u), "sip:")
	_, derived := p.IMSI()
	return ok && derived && rest == string(p)
}

// checkIMSI: TS 23.003 2.2, at most 15 digits; MCC, MNC and one digit at least.
func checkIMSI(imsi string) error {
	if len(imsi) < 6 || len(imsi) > 15 || !digits(imsi) {
		return fmt.Errorf("IMSI %.20q: it has 6 to 15 digits and nothing else", imsi)
	}
	return nil
}

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
