package node

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"

	"github.com/goccy/go-yaml"
)

// key is how the text of a fault begins that Check has found: the key at fault, as
// in "ipsec.policy is …" or "scscfs[0].name is …".
var key = regexp.MustCompile(`^[a-z_]+(?:\.[a-z_]+|\[[0-9]+\])*`)

// locate puts line and column in front of each fault of err whose key stands in
// the configuration src. What is missing has no place.
func locate(src []byte, err error) error {
	// Only what errors.Join made is a list: a format with several %w has text of its own.
	if many, ok := err.(interface{ Unwrap() []error }); ok && errors.Join(many.Unwrap()...).Error() == err.Error() { //nolint:errorlint // this very value
		var out []error
		for _, e := range many.Unwrap() {
			out = append(out, locate(src, e))
		}
		return errors.Join(out...)
	}
	name := key.FindString(err.Error())
	if name == "" {
		return err
	}
	path, pathErr := yaml.PathString("$." + name)
	if pathErr != nil {
		return err
	}
	at, nodeErr := path.ReadNode(bytes.NewReader(src))
	if nodeErr != nil || at == nil || at.GetToken() == nil {
		return err
	}
	pos := at.GetToken().Position
	return fmt.Errorf("[%d:%d] %w", pos.Line, pos.Column, err)
}
