package proxy

// rank orders final responses for the choice of RFC 3261 16.7 step 6: the lower
// the better. Any 6xx is best, then the lowest class. In a class the standard
// prefers what lets the caller do better: 401, 407, 415, 420, 484. What says
// least about the callee goes last: 408, 430 and 487 (RFC 5626 5.3 wants no 430
// passed on where another answer exists), 503.
func rank(status int) int {
	switch {
	case status >= 600:
		return status - 600
	case status < 300:
		return 0
	}
	r := (status / 100) * 10000
	switch status {
	case 401, 407:
	case 415, 420, 484:
		r += 1000
	case 408, 430, 503:
		r += 4000
	case 487:
		r += 3000
	default:
		r += 2000
	}
	return r + status%100
}

// better reports whether a final response of status a is preferred to b.
func better(a, b int) bool { return rank(a) < rank(b) }
