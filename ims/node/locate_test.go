package node

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestFaultsOfACheckHaveTheirLine(t *testing.T) {
	src := []byte("# a comment\ndomain: x\nipsec: {policy: maybe}\nscscfs:\n  - name: sip:a\n  - name: nonsense\n")
	inner := errors.New("reason")
	tests := []struct {
		name string
		err  error
		want []string // the lines
	}{
		{"a key", errors.New("domain is x: too short"), []string{"[2:9] domain is x: too short"}},
		{"a key inside", errors.New("ipsec.policy is maybe"), []string{"[3:17] ipsec.policy is maybe"}},
		{"an entry of a list", fmt.Errorf("scscfs[1].name is nonsense: %w", inner), []string{"[6:11] scscfs[1].name is nonsense: reason"}},
		{"what is missing has no line", errors.New("listen.gm is missing"), []string{"listen.gm is missing"}},
		{"no key", errors.New("Nothing to see"), []string{"Nothing to see"}},
		{"text around several", fmt.Errorf("domain is x: %w and %w", inner, inner), []string{"[2:9] domain is x: reason and reason"}},
		{"several", errors.Join(errors.New("domain is x"), errors.Join(errors.New("ipsec.policy is maybe"), errors.New("http is missing"))),
			[]string{"[2:9] domain is x", "[3:17] ipsec.policy is maybe", "http is missing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := locate(src, tt.err)
			if got.Error() != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%v\nwant\n%s", got, strings.Join(tt.want, "\n"))
			}
			if tt.name == "an entry of a list" && !errors.Is(got, inner) {
				t.Error("the cause is lost")
			}
		})
	}
	if err := locate([]byte(":::"), errors.New("domain is x")); err.Error() != "domain is x" {
		t.Errorf("a file that is no YAML: %v", err)
	}
}
