package node

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Question is a flag with which a service's command asks the running service over
// its HTTP address, in place of starting one.
type Question struct {
	// Flag and Usage are the flag's name and what it does; in Usage, the name of its
	// value stands in backquotes.
	Flag, Usage string
	// Path makes the path to get from the flag's value.
	Path func(value string) string
	// Print puts the answer, a JSON document, into words.
	Print func(w io.Writer, answer []byte) error
}

// asked is the question of a command line, if there is one.
type asked struct {
	question *Question
	value    string
	json     bool
}

// questions adds the flags.
func (p Program) questions(fs *flag.FlagSet) *asked {
	a := &asked{}
	for i := range p.Questions {
		q := &p.Questions[i]
		fs.Func(q.Flag, q.Usage, func(v string) error {
			if v == "" {
				return errors.New("it is empty")
			}
			a.question, a.value = q, v
			return nil
		})
	}
	if len(p.Questions) > 0 {
		fs.BoolVar(&a.json, "json", false, "print the answer to a question as JSON")
	}
	return a
}

const (
	// answerTime bounds the wait for an answer.
	answerTime = 10 * time.Second
	// maxAnswer bounds an answer's octets.
	maxAnswer = 4 << 20
)

// ask gets the answer from the service at addr and prints it.
func (a *asked) ask(ctx context.Context, addr string, out io.Writer) error {
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "0" || port == "" {
		return &ConfigError{Err: fmt.Errorf("--%s asks the running service, whose address does not follow from http: %q in the configuration; give it a host and a port", a.question.Flag, addr)}
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	url := "http://" + addr + a.question.Path(a.value)
	body, err := get(ctx, url)
	if err != nil {
		return fmt.Errorf("asking the running service: %w", err)
	}
	if a.json {
		_, err = out.Write(body)
		return err
	}
	if err := a.question.Print(out, body); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	return nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w; does it run, and with this configuration?", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s says %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}
