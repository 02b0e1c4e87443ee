//go:build race

package proxy

// With the race detector, pools lose some of what is put into them.
const lostByPools = 3
