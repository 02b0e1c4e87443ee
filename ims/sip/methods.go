package sip

// KnownMethod reports whether a method is registered with IANA: those of RFC
// 3261 and the extensions. Methods compare with regard to case (§7.1).
func KnownMethod(method string) bool {
	switch method {
	case "INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", // RFC 3261
		"PRACK",     // RFC 3262
		"SUBSCRIBE", // RFC 6665
		"NOTIFY",
		"PUBLISH", // RFC 3903
		"UPDATE",  // RFC 3311
		"REFER",   // RFC 3515
		"MESSAGE", // RFC 3428
		"INFO":    // RFC 6086
		return true
	}
	return false
}
