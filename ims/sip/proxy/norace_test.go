//go:build !race

package proxy

const lostByPools = 0
