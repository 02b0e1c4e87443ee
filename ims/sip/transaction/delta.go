package transaction

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// A delta says how a message that was relayed differs from the one that came, so that it
// need not be kept beside it: whoever has that one again has both. It is a list of steps,
// each three uint16 and text: from where on so many octets are taken of what came, then
// so many of the text that follows.

// deltaLines is how many lines that were left out in one place are looked over.
const deltaLines = 8

// appendDelta writes how to differs from from. Neither is longer than a message may be.
func appendDelta(b []byte, from string, to []byte) []byte {
	i, start := 0, 0 // in from: where it goes on, where what is taken began
	text := 0        // in to: where text began that from does not have, when there is any
	step := func(j int) {
		b = binary.NativeEndian.AppendUint16(b, uint16(start))
		b = binary.NativeEndian.AppendUint16(b, uint16(i-start))
		b = binary.NativeEndian.AppendUint16(b, uint16(j-text))
		b = append(b, to[text:j]...)
	}
	own := false
	for j := 0; j < len(to); {
		if len(from)-i == len(to)-j && from[i:] == string(to[j:]) { // the rest is the same
			if own {
				step(j)
				start = i
			}
			own, i = false, len(from)
			break
		}
		line := to[j:]
		if n := bytes.IndexByte(line, '\n'); n >= 0 {
			line = line[:n+1]
		}
		at := findLine(from, i, line)
		switch {
		case at < 0 && !own:
			own, text = true, j
		case at >= 0 && (own || at != i):
			if !own {
				text = j
			}
			step(j)
			own, start, i = false, at, at
		}
		j += len(line)
		if at >= 0 {
			i += len(line)
		}
	}
	if !own {
		text = len(to)
	}
	step(len(to))
	return b
}

// findLine returns where in from line stands: at i, or behind a few lines from there; -1
// where it does not.
func findLine(from string, i int, line []byte) int {
	for range deltaLines {
		if i >= len(from) {
			return -1
		}
		if len(from)-i >= len(line) && from[i:i+len(line)] == string(line) {
			return i
		}
		n := strings.IndexByte(from[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n + 1
	}
	return -1
}

// applyDelta makes of from what appendDelta was told. It reports false where delta cannot
// be of from.
func applyDelta(b []byte, from string, delta []byte) ([]byte, bool) {
	for len(delta) > 0 {
		if len(delta) < 6 {
			return b, false
		}
		start := int(binary.NativeEndian.Uint16(delta))
		taken := int(binary.NativeEndian.Uint16(delta[2:]))
		text := int(binary.NativeEndian.Uint16(delta[4:]))
		if delta = delta[6:]; start+taken > len(from) || text > len(delta) {
			return b, false
		}
		b = append(append(b, from[start:start+taken]...), delta[:text]...)
		delta = delta[text:]
	}
	return b, true
}
