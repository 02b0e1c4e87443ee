package chaos

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
)

// A plot has three panels over the same time; faults are grey and numbered.
const (
	plotWidth, plotPanel  = 900.0, 150.0
	plotLeft, plotRight   = 60.0, 20.0
	plotTop, plotGap      = 40.0, 50.0
	plotPoints            = 200 // of a line: more cannot be seen
	plotHeight            = plotTop + 3*(plotPanel+plotGap)
	plotGrid              = 4
	plotLegend, plotLabel = 90.0, 150.0
)

var plotColours = map[string]string{hss: "#8250df", icscf: "#0969da", scscf: "#1a7f37", pcscf: "#cf222e"}

var plotPanels = []struct {
	unit  string
	value func(*Sample) float64
}{
	{"memory, MiB (PSS)", func(x *Sample) float64 { return x.PSS / 1024 }},
	{"goroutines", func(x *Sample) float64 { return x.Goroutines }},
	{"SIP transactions held", func(x *Sample) float64 { return x.Transactions }},
}

// Plot draws the samples as SVG.
func (r *SoakReport) Plot() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%g" height="%g" fill="white"/>`+"\n", plotWidth, plotHeight)
	end := 1.0
	for _, s := range r.Samples {
		end = max(end, s.Seconds)
	}
	x := func(t float64) float64 { return plotLeft + t/end*(plotWidth-plotLeft-plotRight) }
	for i, o := range r.Outcomes {
		from, to := o.window.began.Sub(r.loaded).Seconds(), o.window.ended.Sub(r.loaded).Seconds()
		fmt.Fprintf(&b, `<rect x="%.1f" y="%g" width="%.1f" height="%g" fill="#eeeeee"><title>%s</title></rect>`+"\n", x(from), plotTop, max(1, x(to)-x(from)), plotHeight-plotTop-plotGap, o.Fault)
		fmt.Fprintf(&b, `<text x="%.1f" y="14" text-anchor="middle" font-size="10">%d</text>`+"\n", x((from+to)/2), i+1)
	}
	for i, p := range plotPanels {
		base := plotTop + float64(i)*(plotPanel+plotGap) + plotPanel
		high := 1.0
		for j := range r.Samples {
			high = max(high, p.value(&r.Samples[j]))
		}
		high = niceHigh(high)
		for g := range plotGrid + 1 {
			v := high * float64(g) / plotGrid
			at := base - v/high*plotPanel
			fmt.Fprintf(&b, `<line x1="%g" y1="%.1f" x2="%g" y2="%.1f" stroke="#dddddd"/>`+"\n", plotLeft, at, plotWidth-plotRight, at)
			fmt.Fprintf(&b, `<text x="%g" y="%.1f" text-anchor="end">%s</text>`+"\n", plotLeft-6, at+4, strconv.FormatFloat(v, 'g', 4, 64))
		}
		fmt.Fprintf(&b, `<text x="%g" y="%.1f">%s</text>`+"\n", plotLeft, base-plotPanel-8, p.unit)
		for k, name := range services {
			var line []*Sample
			for j := range r.Samples {
				if r.Samples[j].Service == name && p.value(&r.Samples[j]) > 0 {
					line = append(line, &r.Samples[j])
				}
			}
			if len(line) == 0 {
				continue
			}
			fmt.Fprintf(&b, `<text x="%g" y="%.1f" fill="%s">%s</text>`+"\n", plotLeft+plotLabel+plotLegend*float64(k), base-plotPanel-8, plotColours[name], name)
			fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.2" points="`, plotColours[name])
			step := max(1, len(line)/plotPoints)
			for j := 0; j < len(line); j += step {
				fmt.Fprintf(&b, "%.1f,%.1f ", x(line[j].Seconds), base-p.value(line[j])/high*plotPanel)
			}
			b.WriteString("\"/>\n")
		}
	}
	for g := range plotGrid + 1 {
		t := end * float64(g) / plotGrid
		fmt.Fprintf(&b, `<text x="%.1f" y="%g" text-anchor="middle">%.0f s</text>`+"\n", x(t), plotHeight-plotGap+18, t)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// niceHigh is the next of 1, 2, 5, 10 and so on.
func niceHigh(v float64) float64 {
	decade := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*decade {
			return m * decade
		}
	}
	return 10 * decade
}
