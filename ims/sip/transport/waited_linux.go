package transport

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// siocgstampns asks for the time at which the datagram that was read last arrived
	// (socket(7)): SIOCGSTAMPNS_NEW, whose struct is two 64-bit numbers everywhere. The
	// first call switches the stamps on.
	siocgstampns = 0x80108907
	// askAgain is how long an answer holds: asking costs a system call.
	askAgain = time.Millisecond
	// longestWait is more than a socket's buffer holds, whatever its size.
	longestWait = 10 * time.Second
)

// waited is what is known of the datagrams of the last read.
type waited struct {
	fd    uintptr // that is being read
	fresh bool    // nobody has asked since
	asked time.Time
	last  time.Duration
}

// Waited compares that stamp with the clock, the same one, of this moment. A control
// message would tell it of every datagram; asking now and then costs the others nothing.
func (c *packetConn) Waited() time.Duration {
	w := &c.in.waited
	if !w.fresh {
		return w.last
	}
	w.fresh = false
	now := time.Now()
	if now.Sub(w.asked) < askAgain {
		return w.last
	}
	w.asked, w.last = now, 0
	var at [2]int64 // seconds, nanoseconds
	if _, _, errno := syscall.RawSyscall(unix.SYS_IOCTL, w.fd, siocgstampns, uintptr(unsafe.Pointer(&at))); errno != 0 {
		return 0
	}
	if d := now.Sub(time.Unix(at[0], at[1])); d > 0 && d < longestWait { // or somebody has set the clock
		w.last = d
	}
	return w.last
}
