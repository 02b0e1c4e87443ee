package load

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
)

// A plot has two panels over the same time: operations a second above, latency below.
const (
	plotWidth, panel = 900.0, 200.0
	left, right      = 60.0, 20.0
	top, gap         = 30.0, 50.0
)

// line is one curve.
type line struct {
	name, colour string
	value        func(Second) float64
}

var panels = [2]struct {
	unit  string
	lines []line
}{
	{"operations/s", []line{
		{"due", "#999999", func(s Second) float64 { return float64(s.Due) }},
		{"succeeded", "#1a7f37", func(s Second) float64 { return float64(s.Succeeded) }},
		{"failed", "#cf222e", func(s Second) float64 { return float64(s.Failed) }},
	}},
	{"latency, ms", []line{
		{"p50", "#0969da", func(s Second) float64 { return s.P50 }},
		{"p99", "#bf8700", func(s Second) float64 { return s.P99 }},
	}},
}

// Plot draws the series as SVG.
func (r *Report) Plot() []byte {
	var b bytes.Buffer
	height := 2*panel + top + 2*gap
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<rect width="%g" height="%g" fill="white"/>`+"\n", plotWidth, height)
	end := 1.0
	for _, s := range r.Series {
		end = max(end, s.Seconds)
	}
	x := func(t float64) float64 { return left + t/end*(plotWidth-left-right) }
	for i, p := range panels {
		base := top + float64(i)*(panel+gap) + panel
		high := 1.0
		for _, s := range r.Series {
			for _, l := range p.lines {
				high = max(high, l.value(s))
			}
		}
		high = nice(high)
		y := func(v float64) float64 { return base - v/high*panel }
		for _, share := range []float64{0, 0.25, 0.5, 0.75, 1} {
			at := y(high * share)
			fmt.Fprintf(&b, `<line x1="%g" y1="%.1f" x2="%g" y2="%.1f" stroke="#dddddd"/>`+"\n", left, at, plotWidth-right, at)
			fmt.Fprintf(&b, `<text x="%g" y="%.1f" text-anchor="end">%s</text>`+"\n", left-6, at+4, number(high*share))
		}
		fmt.Fprintf(&b, `<text x="%g" y="%.1f">%s</text>`+"\n", left, base-panel-8, p.unit)
		for j, l := range p.lines {
			fmt.Fprintf(&b, `<text x="%g" y="%.1f" fill="%s">%s</text>`+"\n", left+120+90*float64(j), base-panel-8, l.colour, l.name)
			fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, l.colour)
			for _, s := range r.Series {
				fmt.Fprintf(&b, "%.1f,%.1f ", x(s.Seconds), y(l.value(s)))
			}
			b.WriteString("\"/>\n")
		}
	}
	for _, share := range []float64{0, 0.25, 0.5, 0.75, 1} {
		fmt.Fprintf(&b, `<text x="%.1f" y="%g" text-anchor="middle">%s s</text>`+"\n", x(end*share), height-gap+20, number(end*share))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// nice is the next of 1, 2, 5, 10 and so on.
func nice(v float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*decade {
			return m * decade
		}
	}
	return 10 * decade
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }
