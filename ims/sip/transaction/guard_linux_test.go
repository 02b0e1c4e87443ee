package transaction

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// guardSlabs has the system end the test that touches a chunk of a slab which is free.
func guardSlabs() {
	guard = func(chunk []byte, free bool) {
		may := unix.PROT_READ | unix.PROT_WRITE
		if free {
			may = unix.PROT_NONE
		}
		if err := unix.Mprotect(chunk, may); err != nil {
			panic(fmt.Sprintf("guarding a chunk: %v", err))
		}
	}
}
