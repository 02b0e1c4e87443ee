package transaction

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapSlab returns slabSize octets that are not of the heap, from a multiple of slabSize
// on: only there the kernel can make one large page of them, which it is asked for.
func mapSlab() ([]byte, error) {
	p, err := unix.MmapPtr(-1, 0, nil, 2*slabSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("mapping memory for transactions that are over: %w", err)
	}
	before := -uintptr(p) & (slabSize - 1)
	start := unsafe.Add(p, before)
	if before > 0 {
		_ = unix.MunmapPtr(p, before)
	}
	_ = unix.MunmapPtr(unsafe.Add(start, slabSize), slabSize-before) // it lay on both sides of a multiple: there is some
	mem := unsafe.Slice((*byte)(start), slabSize)
	_ = unix.Madvise(mem, unix.MADV_HUGEPAGE) // a kernel without them has small pages
	return mem, nil
}

func unmapSlab(mem []byte) { _ = unix.MunmapPtr(unsafe.Pointer(&mem[0]), slabSize) }
