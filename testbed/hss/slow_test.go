package hss

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocscf/gocscf/diameter/cx"
	"github.com/gocscf/gocscf/ims/node"
)

func TestSlow(t *testing.T) { synctest.Test(t, testSlow) }

func testSlow(t *testing.T) {
	h := startInMemory(t, subscriber(nil))
	icscf := h.connect("icscf", nil)
	a := new(node.Admin)
	Admin(h.Server, a)
	put := func(from, query string) int {
		r := httptest.NewRequest(http.MethodPut, "/debug/delay"+query, nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		a.Handle["PUT /debug/delay"].ServeHTTP(w, r)
		return w.Code
	}
	const here, elsewhere = "127.0.0.1:40000", "192.0.2.1:40000"
	for _, tt := range []struct {
		from, query string
		code        int
		takes       time.Duration
	}{
		{here, "?by=500ms", 200, 500 * time.Millisecond},
		{here, "?by=2s", 200, 2 * time.Second},
		{elsewhere, "?by=0s", 403, 2 * time.Second},
		{here, "?by=-1s", 400, 2 * time.Second},
		{here, "?by=1h", 400, 2 * time.Second},
		{here, "", 400, 2 * time.Second},
		{here, "?by=0s", 200, 0},
	} {
		if code := put(tt.from, tt.query); code != tt.code {
			t.Errorf("%s from %s: %d, want %d", tt.query, tt.from, code, tt.code)
		}
		began := time.Now()
		icscf.lir(t, cx.LIR{})
		if took := time.Since(began); took != tt.takes {
			t.Errorf("%s from %s: an answer takes %v, want %v", tt.query, tt.from, took, tt.takes)
		}
	}
}
