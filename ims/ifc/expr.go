package ifc

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// maxExpr bounds an expression, in octets. Go's engine needs time in proportion
// to text and expression, whatever they are.
const maxExpr = 1024

// expr is a compiled expression. Most are plain text, which needs no engine.
type expr struct {
	text    string // as in the profile, for explanations
	literal string // if re is nil: what must be contained (or equal, for names)
	re      *regexp.Regexp
}

// compileContent compiles an expression that searches, with case.
func compileContent(text string) (expr, string, error) {
	inner := text
	if n := len(text); n > 2 && text[0] == '"' && text[n-1] == '"' {
		// Without the quotes it also finds what stands within them.
		inner = text[1 : n-1]
	}
	tree, warning, err := parse(inner)
	if err != nil {
		return expr{}, "", err
	}
	e := expr{text: text}
	if e.literal, err = plain(tree); err != nil {
		e.re, err = regexp.Compile(tree.String())
	}
	return e, warning, err
}

// compileName compiles an expression for a header's name: whole, without case.
func compileName(text string) (expr, string, error) {
	tree, warning, err := parse(text)
	if err != nil {
		return expr{}, "", err
	}
	e := expr{text: text}
	if e.literal, err = plain(tree); err != nil {
		e.re, err = regexp.Compile(`(?i)\A(?:` + tree.String() + `)\z`)
	}
	return e, warning, err
}

// parse reads a POSIX extended expression. Only whether it matches is asked,
// so the leftmost-longest rule of POSIX is of no matter, and the tree may be
// compiled as any other: anchors then hold the text, not a line of it, which
// also is faster.
func parse(text string) (tree *syntax.Regexp, warning string, err error) {
	const posix = syntax.POSIX | syntax.OneLine
	if len(text) > maxExpr {
		return nil, "", fmt.Errorf("expression of %d octets, more than %d", len(text), maxExpr)
	}
	if tree, err = syntax.Parse(text, posix); err == nil {
		return tree, "", nil
	}
	if tree, perlErr := syntax.Parse(text, syntax.Perl); perlErr == nil {
		return tree, fmt.Sprintf("expression %q is not POSIX, read as Go's", text), nil
	}
	// "+g.3gpp.smsip" is a feature tag, written by somebody who forgot that it
	// is an expression; POSIX leaves open what a leading '+' means.
	if text != "" && strings.IndexByte("+*?", text[0]) >= 0 {
		if tree, plusErr := syntax.Parse(`\`+text, posix); plusErr == nil {
			return tree, fmt.Sprintf("expression %q begins with an operator, read as that character", text), nil
		}
	}
	return nil, "", fmt.Errorf("expression %q is not a POSIX extended one: %w", text, err)
}

var errNotPlain = errors.New("not plain text")

// plain returns the text that the expression is nothing but.
func plain(tree *syntax.Regexp) (string, error) {
	switch {
	case tree.Op == syntax.OpEmptyMatch:
		return "", nil
	case tree.Op == syntax.OpLiteral && tree.Flags&syntax.FoldCase == 0:
		return string(tree.Rune), nil
	}
	return "", errNotPlain
}

// find reports whether s contains what e asks for.
func (e *expr) find(s string) bool {
	if e.re == nil {
		return strings.Contains(s, e.literal)
	}
	return e.re.MatchString(s)
}

// isName reports whether e, compiled as a name, matches the header name s.
func (e *expr) isName(s string) bool {
	if e.re == nil {
		return strings.EqualFold(s, e.literal)
	}
	return e.re.MatchString(s)
}
