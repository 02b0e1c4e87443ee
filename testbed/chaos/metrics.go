package chaos

import (
	"bufio"
	"bytes"
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
	// askTimes is how often a service that should be there is asked: on a busy machine one
	// answer may be too late.
	askTimes = 5
	askPause = 200 * time.Millisecond
)

// ask is scrape for those that must answer.
func (c *core) ask(ctx context.Context, name string) (s series, err error) {
	for range askTimes {
		if s, err = c.scrape(ctx, name); err == nil || ctx.Err() != nil {
			break
		}
		pause(ctx, askPause)
	}
	return s, err
}

// scrape asks a service for its metrics.
func (c *core) scrape(ctx context.Context, name string) (series, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.http[name]+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s for its metrics: %w", name, err)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking %s for its metrics: %w", name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking %s for its metrics: it answers %s", name, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxScrape+1))
	if err != nil {
		return nil, fmt.Errorf("asking %s for its metrics: %w", name, err)
	}
	if len(body) > maxScrape {
		return nil, fmt.Errorf("asking %s for its metrics: they are more than %d octets", name, maxScrape)
	}
	return readSeries(bytes.NewReader(body))
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

// has reports whether there is a series that sum would add up.
func (s series) has(metric, label string) bool {
	for name := range s {
		if base, labels, _ := strings.Cut(name, "{"); base == metric && strings.Contains(labels, label) {
			return true
		}
	}
	return false
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
