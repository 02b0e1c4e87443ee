package chaos

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

// series are a service's metrics, by name with labels as they were written.
type series map[string]float64

const (
	scrapeTime = 2 * time.Second
	maxScrape  = 4 << 20
)

// scrape asks a service for its metrics.
func (c *core) scrape(ctx context.Context, name string) (series, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.http[name]+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s for its metrics: %w", name, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking %s for its metrics: %w", name, err)
	}
	defer resp.Body.Close()
	return readSeries(io.LimitReader(resp.Body, maxScrape))
}

// readSeries reads the text format of Prometheus.
func readSeries(r io.Reader) (series, error) {
	out := series{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("reading metrics: %q has no number", line)
		}
		out[line[:i]] = v
	}
	return out, lines.Err()
}

// sum adds up the series of a metric, those alone whose labels hold a text if one is
// given.
func (s series) sum(metric, label string) (total float64) {
	for name, v := range s {
		if base, labels, _ := strings.Cut(name, "{"); base == metric && strings.Contains(labels, label) {
			total += v
		}
	}
	return total
}
