package trace

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds one NDJSON line: a 64 KiB message in base64 and its keys.
const maxLine = 256 << 10

// WriteNDJSON writes e as one line of JSON.
func WriteNDJSON(w io.Writer, e Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding a trace event of %s: %w", e.Node, err)
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// ReadNDJSON calls yield for each event of r until r ends, an error occurs or
// yield returns false. A line that is too long or is not an event is an error.
func ReadNDJSON(r io.Reader, yield func(Event) bool) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 16<<10), maxLine)
	for n := 1; s.Scan(); n++ {
		if len(s.Bytes()) == 0 {
			continue
		}
		var e Event
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			return fmt.Errorf("reading a trace: line %d is not an event: %w", n, err)
		}
		if !yield(e) {
			return nil
		}
	}
	if err := s.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return fmt.Errorf("reading a trace: a line is over %d octets", maxLine)
		}
		return fmt.Errorf("reading a trace: %w", err)
	}
	return nil
}
