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
	Sets       int    // SA sets, of the P-CSCF
}

// max returns the larger of each.
func (g Gauges) max(o Gauges) Gauges {
	return Gauges{max(g.Goroutines, o.Goroutines), max(g.Open, o.Open), max(g.Lingering, o.Lingering), max(g.Heap, o.Heap), max(g.RSS, o.RSS), max(g.Sets, o.Sets)}
}

// Service is a part of the core that is watched.
type Service struct {
	Name string
	// Read returns the sum over each metric's labels, by the metric's name.
	Read func(context.Context) (map[string]float64, error)
	// Collect has its garbage collected.
	Collect func(context.Context) error
}

// Live returns how many octets of its heap a collection leaves.
func (s Service) Live(ctx context.Context) (uint64, error) {
	for range 2 { // what is kept for the next user (sync.Pool) goes with the second
		if err := s.Collect(ctx); err != nil {
			return 0, fmt.Errorf("having %s collect its garbage: %w", s.Name, err)
		}
	}
	v, err := s.Read(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the metrics of %s: %w", s.Name, err)
	}
	const allocated = "go_memstats_heap_alloc_bytes" // without garbage, right after a collection
	n, has := v[allocated]
	if !has {
		return 0, fmt.Errorf("the metrics of %s have no %s", s.Name, allocated)
	}
	return uint64(n), nil
}

// Gauges reads them.
func (s Service) Gauges(ctx context.Context) (Gauges, error) {
	v, err := s.Read(ctx)
	if err != nil {
		return Gauges{}, fmt.Errorf("reading the metrics of %s: %w", s.Name, err)
	}
	return Gauges{
		Goroutines: int(v["go_goroutines"]), Open: int(v[`gocscf_sip_transactions{state="open"}`]), Lingering: int(v[`gocscf_sip_transactions{state="lingering"}`]),
		Heap: uint64(v["go_memstats_heap_inuse_bytes"]), RSS: uint64(v["process_resident_memory_bytes"]), Sets: int(v["gocscf_pcscf_sa_sets"]),
	}, nil
}

// Scraped is a service that is asked over HTTP at its address, as http://127.0.0.1:9060.
func Scraped(name, at string) Service {
	client := &http.Client{Timeout: 10 * time.Second}
	get := func(ctx context.Context, path string, use func(io.Reader) error) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at+path, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s was answered %s", path, resp.Status)
		}
		return use(resp.Body)
	}
	return Service{
		Name: name,
		Read: func(ctx context.Context) (out map[string]float64, err error) {
			err = get(ctx, "/metrics", func(r io.Reader) (err error) {
				out, err = readMetrics(r)
				return err
			})
			return out, err
		},
		// The profile itself is of no use here.
		Collect: func(ctx context.Context) error {
			return get(ctx, "/debug/pprof/heap?gc=1", func(r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
		},
	}
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
