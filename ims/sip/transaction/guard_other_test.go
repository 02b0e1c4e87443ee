//go:build !linux

package transaction

func guardSlabs() {}
