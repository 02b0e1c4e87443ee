package sip

// Challenge is a WWW-Authenticate or Proxy-Authenticate (RFC 3261 §20.44, digest
// parameters of RFC 2617 and RFC 7616; ik and ck of TS 24.229 §7.2A.1, which the
// S-CSCF sends to the P-CSCF alone). Values are without quotes.
type Challenge struct {
	Scheme    string // "Digest"; of another scheme only Scheme and Params are set
	Realm     string
	Nonce     string
	Algorithm string // "AKAv1-MD5", …
	QOP       string // comma-separated list: "auth,auth-int"
	Opaque    string
	Domain    string
	Stale     string // "true" in any case, or not
	IK, CK    string // hex; keys: String does not show them
	Params    AuthParams
}

func (c *Challenge) fields() [9]authField {
	return [...]authField{
		{"realm", true, true, &c.Realm},
		{"nonce", true, true, &c.Nonce},
		{"algorithm", false, false, &c.Algorithm},
		{"qop", true, false, &c.QOP},
		{"opaque", true, false, &c.Opaque},
		{"domain", true, false, &c.Domain},
		{"stale", false, false, &c.Stale},
		{"ik", true, false, &c.IK},
		{"ck", true, false, &c.CK},
	}
}

// ParseChallenge reads the value of one header line.
func ParseChallenge(s string) (Challenge, error) {
	var c Challenge
	f := c.fields()
	scheme, params, err := parseAuth(s, f[:])
	if err != nil {
		return Challenge{}, err
	}
	c.Scheme, c.Params = scheme, params
	return c, nil
}

// OffersQOP reports whether qop lists the value.
func (c Challenge) OffersQOP(qop string) bool {
	for v := range SplitValues(c.QOP) {
		if equalFold(v, qop) {
			return true
		}
	}
	return false
}

// AppendTo appends the header value, keys included.
func (c Challenge) AppendTo(dst []byte) []byte {
	if !equalFold(c.Scheme, "Digest") && c.Scheme != "" {
		return append(append(append(dst, c.Scheme...), ' '), c.Params...)
	}
	f := c.fields()
	return appendAuth(dst, "Digest", f[:], c.Params)
}

// String is for people: it shows no keys. Use AppendTo for the wire.
func (c Challenge) String() string {
	c.IK, c.CK = hidden(c.IK), hidden(c.CK)
	return string(c.AppendTo(nil))
}

// GoString keeps keys out of %#v.
func (c Challenge) GoString() string { return c.String() }
