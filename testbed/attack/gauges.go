package attack

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Gauges are what a service says of itself.
type Gauges struct {
	Goroutines int
	Open       int    // transactions that owe or await something
	Lingering  int    // transactions that only absorb retransmissions
	Heap       uint64 // octets in use, what is not collected yet included
	RSS        uint64 // resident memory in octets
}

// max returns the larger of each.
func (g Gauges) max(o Gauges) Gauges {
	return Gauges{max(g.Goroutines, o.Goroutines), max(g.Open, o.Open), max(g.Lingering, o.Lingering), max(g.Heap, o.Heap), max(g.RSS, o.RSS)}
}

// Service is a part of the core that is watched.
type Service struct {
	Name string
	// Read returns the sum over each metric's labels, by the metric's name.
	Read func(context.Context) (map[string]float64, error)
}

// Gauges reads them.
func (s Service) Gauges(ctx context.Context) (Gauges, error) {
	v, err := s.Read(ctx)
	if err != nil {
		return Gauges{}, fmt.Errorf("reading the metrics of %s: %w", s.Name, err)
	}
	return Gauges{
		Goroutines: int(v["go_goroutines"]), Open: int(v[`gocscf_sip_transactions{state="open"}`]), Lingering: int(v[`gocscf_sip_transactions{state="lingering"}`]),
		Heap: uint64(v["go_memstats_heap_inuse_bytes"]), RSS: uint64(v["process_resident_memory_bytes"]),
	}, nil
}

// Scraped is a service whose metrics are read over HTTP.
func Scraped(name, url string) Service {
	client := &http.Client{Timeout: 10 * time.Second}
	return Service{Name: name, Read: func(ctx context.Context) (map[string]float64, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return readMetrics(resp.Body)
	}}
}

// readMetrics reads Prometheus's text format, each line by its name with labels, and
// what has labels also summed up by its name alone.
func readMetrics(r io.Reader) (map[string]float64, error) {
	out := map[string]float64{}
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		line := sc.Text()
		i := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || i < 0 {
			continue
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no metric: %w", line, err)
		}
		name := line[:i]
		out[name] = v
		if base, _, labelled := strings.Cut(name, "{"); labelled {
			out[base] += v
		}
	}
	return out, sc.Err()
}
