package xfrm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// openDrops opens the counters of this thread's network namespace: the file stays
// with the namespace it was opened in.
func openDrops() *os.File {
	f, err := os.Open("/proc/thread-self/net/xfrm_stat")
	if err != nil {
		return nil
	}
	return f
}

// Drops reads the kernel's counters.
func (b *Backend) Drops() (Drops, error) {
	if b.drops == nil {
		return Drops{}, errors.New("read /proc/net/xfrm_stat: this kernel has no CONFIG_XFRM_STATISTICS")
	}
	buf := make([]byte, 8192)
	n, err := b.drops.ReadAt(buf, 0)
	if n == 0 {
		return Drops{}, fmt.Errorf("read /proc/net/xfrm_stat: %w", err)
	}
	return parseDrops(buf[:n]), nil
}

func parseDrops(b []byte) (d Drops) {
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) != 2 {
			continue
		}
		n, err := strconv.ParseUint(words[1], 10, 64)
		if err != nil {
			continue
		}
		switch words[0] {
		case "XfrmInPolBlock", "XfrmInTmplMismatch", "XfrmInNoPols":
			d.Clear += n
		case "XfrmInNoStates":
			d.UnknownSPI += n
		case "XfrmInStateProtoError":
			d.BadICV += n
		case "XfrmInStateSeqError":
			d.Replayed += n
		case "XfrmInStateExpired", "XfrmInStateInvalid":
			d.Expired += n
		case "XfrmInHdrError", "XfrmInStateModeError", "XfrmInStateMismatch", "XfrmInBufferError":
			d.Malformed += n
		case "XfrmOutPolBlock":
			d.OutBlocked += n
		case "XfrmOutNoStates", "XfrmOutStateExpired", "XfrmOutStateInvalid":
			d.OutNoState += n
		}
	}
	return d
}
