package conformance

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const (
	module = "github.com/gocscf/gocscf"
	own    = module + "/testbed/conformance"
)

// claim is one ID in one call of Shows or Partly.
type claim struct {
	id     string
	partly bool
	test   string // "TestName (package)", as the table writes it
	pos    string // file:line
}

// goFiles calls visit for each Go file of the module in fsys, whatever its build
// tags. What the go command ignores, and modules of their own, are left out.
func goFiles(fsys fs.FS, visit func(name string) error) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if !d.IsDir() {
			if path.Ext(base) != ".go" || base[0] == '.' || base[0] == '_' {
				return nil
			}
			return visit(name)
		}
		if name == "." {
			return nil
		}
		if base[0] == '.' || base[0] == '_' || base == "testdata" {
			return fs.SkipDir
		}
		if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil {
			return fs.SkipDir
		}
		return nil
	})
}

// claims finds every call of Shows and Partly in the tests of fsys. A call whose
// IDs cannot be read from the source, or that stands outside of a test, is a fault.
func claims(fsys fs.FS) (found []claim, faults []string, err error) {
	err = goFiles(fsys, func(name string) error {
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		local := localName(file, own)
		if local == "" {
			return nil
		}
		ast.Inspect(file, func(n ast.Node) bool {
			fn, ok := n.(*ast.FuncDecl)
			if !ok {
				return true
			}
			f, bad := claimsIn(fset, fn, local, path.Dir(name))
			found, faults = append(found, f...), append(faults, bad...)
			return false
		})
		return nil
	})
	slices.SortFunc(found, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.test, b.test))
	})
	return found, faults, err
}

// claimsIn reads the calls inside one function of the package in directory dir.
func claimsIn(fset *token.FileSet, fn *ast.FuncDecl, local, dir string) (found []claim, faults []string) {
	ast.Inspect(fn, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		if pkg, ok := sel.X.(*ast.Ident); !ok || pkg.Name != local {
			return true
		}
		pos := fset.Position(call.Pos()).String()
		if !isTest(fn) {
			faults = append(faults, fmt.Sprintf("%s: %s is called in %s; call it in a Test or Fuzz function, so that the table can name one", pos, sel.Sel.Name, fn.Name.Name))
			return true
		}
		for _, arg := range call.Args[1:] {
			lit, ok := arg.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				faults = append(faults, fmt.Sprintf("%s: an ID is not a string literal; the check reads IDs from the source", pos))
				continue
			}
			id, _ := strconv.Unquote(lit.Value)
			found = append(found, claim{id, sel.Sel.Name == "Partly", fmt.Sprintf("%s (%s)", fn.Name.Name, dir), pos})
		}
		return true
	})
	return found, faults
}

// isTest reports whether the go command runs fn as a test or a fuzz target.
func isTest(fn *ast.FuncDecl) bool {
	name := fn.Name.Name
	return fn.Recv == nil && (strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz"))
}

// localName is the name under which file imports the package, "" when it does not.
func localName(file *ast.File, importPath string) string {
	for _, spec := range file.Imports {
		if p, _ := strconv.Unquote(spec.Path.Value); p != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}
