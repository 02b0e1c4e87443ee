package node

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestQuestions(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query().Get("impi"); r.URL.Path != "/debug/ipsec" || q != "a&b@example" {
			http.Error(w, "no phone of "+q, http.StatusNotFound)
			return
		}
		fmt.Fprint(w, `{"sentences":["It is registered."]}`)
	}))
	addr := srv.Listener.Addr().String()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	defer srv.Close()

	for _, tc := range []struct {
		name, http string
		args       []string
		code       int
		out, err   string
	}{
		{"in words", addr, []string{"--explain", "a&b@example"}, ExitOK, "It is registered.\n", ""},
		{"as JSON", addr, []string{"--explain", "a&b@example", "--json"}, ExitOK, `{"sentences":["It is registered."]}`, ""},
		{"no answer", addr, []string{"--explain", "c@example"}, ExitFailed, "", "404 Not Found: no phone of c@example"},
		{"no service", gone.Listener.Addr().String(), []string{"--explain", "c@example"}, ExitFailed, "", "does it run"},
		{"no address", "", []string{"--explain", "c@example"}, ExitConfig, "", "http:"},
		{"any port", "127.0.0.1:0", []string{"--explain", "c@example"}, ExitConfig, "", "http:"},
		{"no value", addr, []string{"--explain", ""}, ExitConfig, "", "empty"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &testConfig{}
			p := Program{
				Name: "testcscf", Config: c, Common: &c.Common, Check: func() error { return nil },
				New: func(Deps) (Service, error) { t.Error("a service was started"); return nil, io.EOF },
				Questions: []Question{{
					Flag: "explain", Usage: "say what is with `IMPI`",
					Path: func(v string) string { return "/debug/ipsec?impi=" + url.QueryEscape(v) },
					Print: func(w io.Writer, answer []byte) error {
						_, s, _ := strings.Cut(string(answer), `["`)
						_, err := fmt.Fprintln(w, strings.TrimSuffix(s, `"]}`))
						return err
					},
				}},
			}
			file := filepath.Join(t.TempDir(), "c.yaml")
			if err := os.WriteFile(file, []byte("http: \""+tc.http+"\"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			code := p.Main(append(tc.args, "--config", file), &out, &errs)
			if code != tc.code || out.String() != tc.out || !strings.Contains(errs.String(), tc.err) {
				t.Errorf("exit %d, printed %q, complained %q", code, out.String(), errs.String())
			}
		})
	}
}
