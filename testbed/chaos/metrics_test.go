package chaos

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// told answers a service's metrics in place of the network.
type told func(service string) (string, error)

func (f told) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := f(r.URL.Host)
	if err != nil {
		return nil, err
	}
	if text == "" { // it is frozen
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

// coreOf has services that tell what f does.
func coreOf(f told) *core {
	c := &core{http: map[string]string{}, client: http.Client{Transport: f}}
	for _, name := range services {
		c.http[name] = name
	}
	return c
}

// TestAsk: a service that should be there is asked again, and one that does not tell all
// has told nothing.
func TestAsk(t *testing.T) {
	for name, tt := range map[string]struct {
		says func(try int) (string, error)
		want string // of the error
	}{
		"at once":     {func(int) (string, error) { return "x 1\n", nil }, ""},
		"late":        {func(try int) (string, error) { return strings.Repeat("x 1\n", try/2), nil }, ""},
		"not at once": {func(try int) (string, error) { return "x 1\n", map[bool]error{true: errors.New("refused")}[try < 4] }, ""},
		"never":       {func(int) (string, error) { return "", errors.New("refused") }, "refused"},
		"frozen":      {func(int) (string, error) { return "", nil }, "deadline"},
		"endless":     {func(int) (string, error) { return strings.Repeat("x 1\n", maxScrape/4+1), nil }, "more than"},
		"nonsense":    {func(int) (string, error) { return "x y\n", nil }, "no number"},
	} {
		synctest.Test(t, func(t *testing.T) {
			try, began := 0, time.Now()
			c := coreOf(func(string) (string, error) { try++; return tt.says(try) })
			s, err := c.ask(t.Context(), pcscf)
			if tt.want == "" && (err != nil || s["x"] != 1) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: %v, %v", name, s, err)
			}
			if took := time.Since(began); took > 12*time.Second {
				t.Errorf("%s: it took %v", name, took)
			}
		})
	}
}
