// Package ladder draws trace events as a ladder: a column a node, an arrow a
// message, double where IPsec protects it, and beside it what the message does and
// the clause that asks for it.
// It is for the person who wants to know why a phone does not register.
package ladder

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gocscf/gocscf/ims/trace"
)

// Node is a column.
type Node struct {
	Name  string // trace.Event.Node
	Title string // what stands above the column
	// Addrs are addresses known beforehand as HOST:PORT; others are learned from
	// the node's own events.
	Addrs []string
	// DiameterHost is its Origin-Host, empty when it speaks no Diameter.
	DiameterHost string
}

// Options of a Ladder.
type Options struct {
	Nodes []Node
	// Width is where text is wrapped, in columns of the terminal; 0 never wraps.
	Width int
	// Decisions also draws what the functions decided between messages.
	Decisions bool
	// Engine also draws the steps of the SIP engine.
	Engine bool
	// Color paints failures and what is beside the arrows.
	Color bool
	// Start is time zero of the first column; the first event's time when zero.
	Start time.Time
}

// Ladder draws. It is for one goroutine.
type Ladder struct {
	out   io.Writer
	opt   Options
	cols  []string       // names, in order
	col   map[string]int // name → column
	addr  map[string]int // HOST:PORT → column
	host  map[string]int // Diameter host → column
	seen  seen
	held  []trace.Event // sent to addresses that nobody has claimed yet
	err   error
	drawn bool
}

// The measures of the drawing.
const (
	timeWidth = 8
	colWidth  = 15
	// maxColumns bounds the drawing: senders that no node claims get columns of
	// their own, and a flood must not make it any wider.
	maxColumns = 12
)

// New returns a ladder that draws to w.
func New(w io.Writer, o Options) *Ladder {
	l := &Ladder{out: w, opt: o, col: map[string]int{}, addr: map[string]int{}, host: map[string]int{}, seen: seen{}}
	for _, n := range o.Nodes {
		c := l.column(n.Name)
		for _, a := range n.Addrs {
			l.addr[a] = c
		}
		if n.DiameterHost != "" {
			l.host[n.DiameterHost] = c
		}
	}
	return l
}

// Write draws one event. Events must come in the order of their times.
func (l *Ladder) Write(e trace.Event) error {
	if l.opt.Start.IsZero() {
		l.opt.Start = e.Time
	}
	at := l.column(e.Node)
	if e.Local != "" {
		local := within(e, e.Local)
		if _, known := l.addr[local]; !known {
			l.addr[local] = at
		}
	}
	l.release(e.Time.Add(-claim))
	switch e.Kind {
	case trace.SIP, trace.Diameter:
		l.message(at, e)
	case trace.Decision:
		if l.opt.Decisions {
			l.note(at, e)
		}
	case trace.Engine:
		if l.opt.Engine {
			l.note(at, e)
		}
	default:
		l.note(at, e)
	}
	return l.err
}

// protected reports whether a message was in ESP.
func protected(e trace.Event) bool { return strings.HasPrefix(e.Proto, trace.ESP) }

// within is an address as a name: within ESP the ports are others than those of
// sockets, and the same number may stand for somebody else.
func within(e trace.Event, addr string) string {
	if protected(e) {
		return trace.ESP + addr
	}
	return addr
}

// claim is how long a node has to show that an address is its own before the
// address counts as somebody's who tells no events.
const claim = 100 * time.Millisecond

// maxHeld bounds the messages that wait for that.
const maxHeld = 256

// release draws what was sent, until then, to addresses that are still nobody's,
// and forgets what has arrived at a node meanwhile.
func (l *Ladder) release(until time.Time) {
	held := l.held
	l.held = nil
	for _, e := range held {
		remote := within(e, e.Remote)
		_, known := l.addr[remote]
		switch {
		case known && l.tells(l.addr[remote]):
		case known || e.Time.Before(until) || len(held) > maxHeld,
			!until.IsZero() && e.Time.After(until.Add(2*claim)): // somebody has set the clock back
			l.draw(l.column(e.Node), l.stranger(remote), e)
		default:
			l.held = append(l.held, e)
		}
	}
}

// stranger gives an address that no node has claimed a column of its own.
func (l *Ladder) stranger(addr string) int {
	c := l.column(addr)
	l.addr[addr] = c
	return c
}

// Close draws what is still held back. It returns the first error of all.
func (l *Ladder) Close() error {
	l.release(time.Unix(1<<40, 0))
	return l.err
}

// column returns the column of a node, a new one if it has none yet.
func (l *Ladder) column(name string) int {
	if c, ok := l.col[name]; ok {
		return c
	}
	if len(l.cols) >= maxColumns {
		return maxColumns - 1
	}
	c := len(l.cols)
	l.cols = append(l.cols, name)
	l.col[name] = c
	l.drawn = false
	return c
}

// message draws a message once: where it arrives, or where it leaves for a peer
// that tells no events.
func (l *Ladder) message(at int, e trace.Event) {
	peer, known := l.peer(e)
	switch {
	case e.Dir == trace.Out && known && l.tells(peer):
		// It is drawn where it arrives.
	case e.Dir == trace.Out && known:
		l.draw(at, peer, e)
	case e.Dir == trace.Out:
		l.held = append(l.held, e)
	case known:
		l.draw(peer, at, e)
	default:
		from := l.stranger(within(e, e.Remote))
		l.release(time.Time{}) // what was sent there before
		l.draw(from, at, e)
	}
}

// tells reports whether a column is a node that tells events, not an address.
func (l *Ladder) tells(c int) bool {
	name := l.cols[c]
	at, isAddress := l.addr[name]
	return !isAddress || at != c
}

// draw draws a message's arrow.
func (l *Ladder) draw(from, to int, e trace.Event) {
	var m message
	if e.Kind == trace.SIP {
		m = describeSIP(e.Raw, l.names(from), l.names(to))
	} else {
		m = describeDiameter(e.Raw)
	}
	if m.key != "" && l.seen.again(m.key, from, to, e.Time) {
		m.text = "sent again, no answer yet"
		m.clause = "RFC 3261 17"
	}
	shaft := "─"
	if protected(e) {
		shaft = "═"
	}
	l.line(e.Time, l.arrow(from, to, shaft, m.label, m.failed), m.text, m.clause, m.failed)
	if m.cause != "" {
		l.line(time.Time{}, l.lifelines(-1, ""), m.cause, "", m.failed)
	}
}

// peer finds the column of the other end of a message.
func (l *Ladder) peer(e trace.Event) (int, bool) {
	if c, ok := l.host[e.Peer]; ok && e.Peer != "" {
		return c, true
	}
	c, ok := l.addr[within(e, e.Remote)]
	return c, ok
}

func (l *Ladder) names(c int) string { return l.cols[c] }

// note draws what a node says about itself.
func (l *Ladder) note(at int, e trace.Event) {
	mark, failed := "●", false
	switch e.Kind {
	case trace.Failure:
		mark, failed = "✗", true
	case trace.IFC:
		mark = "◆"
	}
	l.line(e.Time, l.lifelines(at, mark), e.Text, e.Clause, failed)
	if e.Next != "" {
		l.line(time.Time{}, l.lifelines(-1, ""), "→ "+e.Next, "", failed)
	}
}

// lifelines draws the vertical lines, with mark in place of one of them.
func (l *Ladder) lifelines(at int, mark string) string {
	var b strings.Builder
	for c := range l.cols {
		if c == at {
			b.WriteString(mark)
		} else {
			b.WriteString("│")
		}
		if c < len(l.cols)-1 {
			b.WriteString(strings.Repeat(" ", colWidth-1))
		}
	}
	return b.String()
}

// arrow draws label on a line, single or double, from one column to another. A
// message of a node to itself is a loop beside its line.
func (l *Ladder) arrow(from, to int, shaft, label string, failed bool) string {
	lo, hi := min(from, to), max(from, to)
	var b strings.Builder
	for c := range l.cols {
		switch {
		case lo == hi && c == lo:
			b.WriteString("↻ " + label)
			b.WriteString(strings.Repeat(" ", max(colWidth-2-utf8.RuneCountInString(label), 1)))
			continue
		case c == lo:
			b.WriteString(l.shaft(from < to, (hi-lo)*colWidth-1, shaft, label))
			continue
		case c > lo && c < hi:
			continue
		default:
			b.WriteString("│")
		}
		if c < len(l.cols)-1 {
			b.WriteString(strings.Repeat(" ", colWidth-1))
		}
	}
	if failed && l.opt.Color {
		return red + b.String() + plain
	}
	return b.String()
}

// shaft draws the first column's line and the arrow of the given width after it.
func (l *Ladder) shaft(right bool, width int, line, label string) string {
	if n := width - 2; utf8.RuneCountInString(label) > n {
		label = string([]rune(label)[:n])
	}
	rest := width - 1 - utf8.RuneCountInString(label)
	left := strings.Repeat(line, rest/2)
	tail := strings.Repeat(line, rest-rest/2)
	if right {
		return "├" + left + label + tail + "▶"
	}
	return "│◀" + left + label + tail
}

// ANSI sequences.
const (
	red   = "\x1b[31m"
	dim   = "\x1b[2m"
	bold  = "\x1b[1m"
	plain = "\x1b[0m"
)

// line writes a drawing with its time and its text. A zero time leaves the
// first column empty.
func (l *Ladder) line(at time.Time, drawing, text, clause string, failed bool) {
	if !l.drawn {
		l.drawn = true
		l.header()
	}
	stamp := strings.Repeat(" ", timeWidth)
	if !at.IsZero() {
		stamp = fmt.Sprintf("%*.1f", timeWidth, float64(at.Sub(l.opt.Start).Microseconds())/1000)
	}
	if clause != "" {
		text += "  [" + clause + "]"
	}
	indent := timeWidth + 2 + len(l.cols)*colWidth - colWidth + 1 + 2
	for i, part := range wrap(text, l.opt.Width-indent) {
		if i > 0 {
			stamp, drawing = strings.Repeat(" ", timeWidth), l.lifelines(-1, "")
		}
		l.printf("%s  %s  %s\n", stamp, drawing, l.paint(part, failed))
	}
}

func (l *Ladder) paint(s string, failed bool) string {
	switch {
	case !l.opt.Color || s == "":
		return s
	case failed:
		return red + s + plain
	default:
		return dim + s + plain
	}
}

// header writes the titles, again whenever a column has been added.
func (l *Ladder) header() {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%*s  ", timeWidth, "ms")
	for _, name := range l.cols {
		title := name
		for _, n := range l.opt.Nodes {
			if n.Name == name && n.Title != "" {
				title = n.Title
			}
		}
		if utf8.RuneCountInString(title) > colWidth-1 {
			title = string([]rune(title)[:colWidth-1])
		}
		b.WriteString(title + strings.Repeat(" ", colWidth-utf8.RuneCountInString(title)))
	}
	s := strings.TrimRight(b.String(), " ")
	if l.opt.Color {
		s = bold + s + plain
	}
	l.printf("%s\n", s)
}

func (l *Ladder) printf(format string, args ...any) {
	if l.err == nil {
		if _, err := fmt.Fprintf(l.out, format, args...); err != nil {
			l.err = fmt.Errorf("drawing the ladder: %w", err)
		}
	}
}

// wrap breaks s at spaces into lines of at most width runes. A width too narrow
// to read in does not wrap.
func wrap(s string, width int) []string {
	const narrowest = 24
	if width < narrowest || utf8.RuneCountInString(s) <= width {
		return []string{s}
	}
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
