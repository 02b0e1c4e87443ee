package proxy

// split shares a Max-Breadth of total among n parallel branches (RFC 5393
// 5.3.3): every branch gets at least 1, none less than another by more than 1,
// the first ones more. It reports false when there is not enough for all.
func split(total, n, i int) (share int, ok bool) {
	if n <= 0 || total < n {
		return 0, false
	}
	share = total / n
	if i < total%n {
		share++
	}
	return share, true
}
