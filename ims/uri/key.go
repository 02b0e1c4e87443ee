package uri

// Key returns the canonical form of the identity that u names, fit as a map
// key and as a Public-Identity on Cx: scheme, user and host alone (RFC 3261
// 10.3, TS 23.003 13.4). Port, parameters, headers and password are dropped,
// the host is in lower case, escapes that are not needed are decoded. Telephone
// numbers lose their visual separators; a local one keeps its phone-context,
// without which it names nobody. A tel URI and the sip URI of the same number
// have different keys: see TelFromUserPhone. So have sip and sips.
//
// The key is itself a URI, and its own key.
func (u URI) Key() string {
	var buf [96]byte
	return string(u.AppendKey(buf[:0]))
}

// AppendKey appends Key to dst; a map lookup by the result allocates nothing.
func (u URI) AppendKey(dst []byte) []byte {
	dst = append(dst, u.Scheme...)
	dst = append(dst, ':')
	switch {
	case u.Scheme == TEL:
		return u.appendPhone(dst)
	case u.User != "" && u.IsPhone():
		if _, ok := checkNumber(u.Number()); ok {
			dst = u.appendPhone(dst)
		} else {
			dst = appendUser(dst, u.User)
		}
		dst = append(dst, '@')
	case u.User != "":
		dst = appendUser(dst, u.User)
		dst = append(dst, '@')
	}
	return appendHost(dst, u)
}

// appendPhone writes the number and, if it is local, its context. What may
// stand unescaped differs between a user part and a tel URI.
func (u URI) appendPhone(dst []byte) []byte {
	digit, text := cUser, cUser
	if u.Scheme == TEL {
		digit, text = cPhone, cUnreserved
	}
	number := u.Number()
	dst = appendDigits(dst, number, digit)
	if nth(number, 0) == '+' {
		return dst
	}
	ctx, ok := u.PhoneContext()
	if !ok || ctx == "" {
		return dst
	}
	dst = append(dst, ";phone-context="...)
	if nth(ctx, 0) == '+' {
		return appendDigits(dst, ctx, text)
	}
	for i := 0; i < len(ctx); {
		c, _, n := next(ctx, i)
		dst = appendOctet(dst, lower(c), text)
		i += n
	}
	return dst
}

func appendDigits(dst []byte, number string, bits uint16) []byte {
	for i := 0; ; {
		c, ok := nextDigit(number, &i)
		if !ok {
			return dst
		}
		if c == '+' {
			dst = append(dst, c)
		} else {
			dst = appendOctet(dst, c, bits)
		}
	}
}

// appendUser decodes what need not be escaped and writes what must be in one way.
func appendUser(dst []byte, user string) []byte {
	for i := 0; i < len(user); {
		c, _, n := next(user, i)
		dst = appendOctet(dst, c, cUser)
		i += n
	}
	return dst
}

func appendHost(dst []byte, u URI) []byte {
	if u.Host != "" && u.Host[0] == '[' {
		if a, ok := u.Addr(); ok {
			dst = append(dst, '[')
			dst = a.AppendTo(dst)
			return append(dst, ']')
		}
	}
	host := u.Host
	if len(host) > 1 && host[len(host)-1] == '.' {
		host = host[:len(host)-1] // the root's dot names the same host
	}
	for i := 0; i < len(host); i++ {
		dst = append(dst, lower(host[i]))
	}
	return dst
}
