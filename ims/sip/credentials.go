package sip

// Credentials is an Authorization or Proxy-Authorization (RFC 3261 §20.7; auts of
// RFC 3310 §3.4; integrity-protected of TS 24.229 §7.2A.2, which the P-CSCF adds;
// ik and ck as in Challenge). Values are without quotes.
type Credentials struct {
	Scheme    string // "Digest"; of another scheme only Scheme and Params are set
	Username  string
	Realm     string
	Nonce     string
	URI       string
	Response  string // not shown by String
	Algorithm string
	CNonce    string
	Opaque    string
	QOP       string
	NC        string // 8 hex digits
	AUTS      string // base64

	IntegrityProtected string // "yes", "no", "ip-assoc-pending", …; "" when absent
	IK, CK             string
	Params             AuthParams
}

func (c *Credentials) fields() [14]authField {
	return [...]authField{
		{"username", true, true, &c.Username},
		{"realm", true, true, &c.Realm},
		{"nonce", true, true, &c.Nonce},
		{"uri", true, true, &c.URI},
		{"response", true, true, &c.Response},
		{"algorithm", false, false, &c.Algorithm},
		{"cnonce", true, false, &c.CNonce},
		{"opaque", true, false, &c.Opaque},
		{"qop", false, false, &c.QOP},
		{"nc", false, false, &c.NC},
		{"auts", true, false, &c.AUTS},
		{"integrity-protected", true, false, &c.IntegrityProtected},
		{"ik", true, false, &c.IK},
		{"ck", true, false, &c.CK},
	}
}

// ParseCredentials reads the value of one header line. Parameters may be quoted
// or not: phones differ in that for algorithm, qop and nc.
func ParseCredentials(s string) (Credentials, error) {
	var c Credentials
	f := c.fields()
	scheme, params, err := parseAuth(s, f[:])
	if err != nil {
		return Credentials{}, err
	}
	c.Scheme, c.Params = scheme, params
	return c, nil
}

// AppendTo appends the header value, keys and response included.
func (c Credentials) AppendTo(dst []byte) []byte {
	if !equalFold(c.Scheme, "Digest") && c.Scheme != "" {
		return append(append(append(dst, c.Scheme...), ' '), c.Params...)
	}
	f := c.fields()
	return appendAuth(dst, "Digest", f[:], c.Params)
}

// String is for people: it shows neither keys nor the response. Use AppendTo for
// the wire.
func (c Credentials) String() string {
	c.IK, c.CK, c.Response = hidden(c.IK), hidden(c.CK), hidden(c.Response)
	return string(c.AppendTo(nil))
}

// GoString keeps keys out of %#v.
func (c Credentials) GoString() string { return c.String() }
