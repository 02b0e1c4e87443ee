package transport

import (
	"net"
	"strconv"
	"sync"
	"time"
)

// zones knows the names of interfaces, which link-local addresses carry (RFC 4007
// 11): to ask the kernel for each datagram would take longer than sending it.
var zones = zoneNames{byIndex: make(map[uint32]string), byName: make(map[string]uint32)}

// zonesFor is how long names are believed, as package net does.
const zonesFor = time.Minute

type zoneNames struct {
	mu      sync.Mutex
	read    time.Time
	byIndex map[uint32]string
	byName  map[string]uint32
}

// refresh reads the names again when they are old. The caller holds mu.
func (z *zoneNames) refresh() {
	if time.Since(z.read) < zonesFor {
		return
	}
	z.read = time.Now()
	ifs, err := net.Interfaces()
	if err != nil {
		return // those known are used on; others are numbers
	}
	clear(z.byIndex)
	clear(z.byName)
	for _, i := range ifs {
		z.byIndex[uint32(i.Index)], z.byName[i.Name] = i.Name, uint32(i.Index)
	}
}

// name returns the zone of an interface: its name, else its number.
func (z *zoneNames) name(index uint32) string {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.refresh()
	if n, ok := z.byIndex[index]; ok {
		return n
	}
	return strconv.FormatUint(uint64(index), 10)
}

// index returns the number of a zone, 0 where there is none.
func (z *zoneNames) index(zone string) uint32 {
	if zone == "" {
		return 0
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.refresh()
	if i, ok := z.byName[zone]; ok {
		return i
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}
