//go:build suites

package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// secret is a value, a key, an argument or an error of the user that must not
// be printed.
type secret string

const hidden = "do not print"

func (s secret) Error() string { return string(s) }

func (s secret) String() string { return string(s) }

// printedValues returns one or more values of each type that hides its fields.
func printedValues(t *testing.T) map[string][]any {
	s := secret(hidden)
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	blocks := func(context.Context, secret) (secret, error) { <-block; return s, nil }
	failed := twill.Rejected[secret](s)
	failed.Poll()

	var pool twill.Pool
	var queue twill.Queue[secret]
	var priority twill.PriorityQueue[secret]
	var dict twill.Dict[secret, secret]
	var promise, resolved twill.Promise[secret]
	require.NoError(t, pool.Add(promise.Future()))
	resolved.Resolve(s)
	require.NoError(t, queue.Put(s))
	item, err := priority.Put(s, 3)
	require.NoError(t, err)
	require.NoError(t, dict.Set(s, s))
	dispatch := twill.NewResizableDispatchQueue(func(_ context.Context, s secret) (secret, error) { return s, s }, nil)
	job := kit.PutJob(t, dispatch, s, 0)
	<-job.Done()
	job.Poll()
	busy := twill.NewResizableDispatchQueue(blocks, nil)
	pooler := twill.NewPooler(blocks)
	pooler.Call(context.Background(), s)
	race := twill.NewRace[secret, secret](nil)
	race.Register(blocks)
	init := twill.NewInit(context.Background(), func(context.Context) (secret, error) { return s, nil })
	<-init.Ready().Done()
	var lock twill.Lock
	lock.TryAcquire()
	return map[string][]any{
		"Future":                 {promise.Future(), resolved.Future(), failed},
		"Promise":                {&promise, &resolved},
		"DeferredList":           {twill.NewDeferredList([]*twill.Future[secret]{twill.Resolved(s), failed}, 0)},
		"Job":                    {job, kit.PutJob(t, busy, s, 0), kit.PutJob(t, busy, s, 0)},
		"Pool":                   {&pool},
		"Pooler":                 {pooler, new(twill.Pooler[secret, secret])},
		"Queue":                  {&queue},
		"PriorityQueue":          {&priority},
		"PriorityItem":           {item},
		"Dict":                   {&dict},
		"Lock":                   {&lock, new(twill.Lock)},
		"Semaphore":              {twill.NewSemaphore(2)},
		"Init":                   {init, new(twill.Init[secret])},
		"RetryingCall":           {twill.NewRetryingCall(func(context.Context) (secret, error) { return s, nil }, nil)},
		"Race":                   {race},
		"ResizableDispatchQueue": {dispatch, busy},
		"Budget":                 {twill.NewBudget(10, 1)},
	}
}

// Whatever the verb or the slog handler is, the type and the state are printed.
func TestPrintingShowsNoValues(t *testing.T) {
	for name, values := range printedValues(t) {
		for i, v := range values {
			t.Run(fmt.Sprint(name, " ", i), func(t *testing.T) {
				var texts []string
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q", "%t", "%10v", "%[1]v in %[1]v"} {
					texts = append(texts, fmt.Sprintf(verb, v))
				}
				texts = append(texts, fmt.Sprint(struct{ V any }{v}), fmt.Sprint([]any{v}),
					v.(fmt.Stringer).String(), v.(fmt.GoStringer).GoString(), v.(slog.LogValuer).LogValue().String())
				for _, handler := range []func(*bytes.Buffer) slog.Handler{
					func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
					func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
				} {
					var b bytes.Buffer
					slog.New(handler(&b)).Info("value", "v", v)
					texts = append(texts, b.String())
				}
				require.Equal(t, texts[0], texts[1])
				require.Equal(t, texts[0], texts[2])
				require.True(t, strings.HasPrefix(texts[0], name), texts[0])
				for _, text := range texts {
					require.NotContains(t, text, hidden)
					require.NotContains(t, text, fmt.Sprintf("%x", hidden))
					require.NotContains(t, text, "PANIC")
					require.NotContains(t, text, "{{", "fields")
				}
			})
		}
	}
}

type treeNode struct {
	Parent *twill.Future[*treeNode]
	Name   string
}

type cyclicError struct{ F *twill.Future[any] }

func (e *cyclicError) Error() string { return fmt.Sprintf("%+v", e.F) }

// Printing ends for futures that refer to themselves.
func TestPrintingEnds(t *testing.T) {
	parent := twill.NewPromise[*treeNode]()
	node := &treeNode{Parent: parent.Future(), Name: hidden}
	parent.Resolve(node)
	self := twill.NewPromise[any]()
	self.Resolve(self.Future())
	failed := twill.NewPromise[any]()
	failed.Reject(&cyclicError{failed.Future()})
	failed.Future().Poll()
	kit.Watchdog(t, func() {
		require.Equal(t, "Future[*conformance_test.treeNode](resolved)", fmt.Sprintf("%+v", node.Parent))
		require.Equal(t, "Future[interface {}](resolved)", fmt.Sprint(self.Future()))
		require.Equal(t, "Future[interface {}](failed: *conformance_test.cyclicError)", fmt.Sprint(failed.Future()))
		for _, v := range []any{node, *node, self, failed, &cyclicError{failed.Future()}, []any{self.Future()}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
				_ = fmt.Sprintf(verb, v)
			}
		}
	})
}

// Every exported type that has unexported fields has the four methods.
func TestEveryTypePrints(t *testing.T) {
	files, err := filepath.Glob("../../../*.go")
	require.NoError(t, err)
	hides, methods := map[string]bool{}, map[string]int{}
	// Errors, and numbers that are meant to be printed.
	mayShow := map[string]bool{"DispatchStats": true, "HeldResult": true, "Histogram": true, "PoolStats": true, "PoolerStats": true}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || strings.HasSuffix(file, "_go127.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range parsed.Decls {
			switch d := decl.(type) {
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					typ, ok := spec.(*ast.TypeSpec)
					if !ok || !typ.Name.IsExported() {
						continue
					}
					s, ok := typ.Type.(*ast.StructType)
					if !ok {
						continue
					}
					for _, field := range s.Fields.List {
						for _, name := range field.Names {
							hides[typ.Name.Name] = hides[typ.Name.Name] || !name.IsExported()
						}
					}
				}
			case *ast.FuncDecl:
				if typ, method, ok := strings.Cut(exportedName(d), "."); ok {
					switch method {
					case "String", "Format", "GoString", "LogValue":
						methods[typ]++
					case "Error":
						mayShow[typ] = true
					}
				}
			}
		}
	}
	values := printedValues(t)
	for name, is := range hides {
		if is && !mayShow[name] {
			require.Equal(t, 4, methods[name], "the methods of %s", name)
			require.Contains(t, values, name)
		}
	}
}

// A type that is embedded passes its methods on to the struct around it. Values
// that people save have none that would take the place of the struct's own
// JSON.
func TestEmbeddedValuesLeaveTheJSONOfTheStruct(t *testing.T) {
	type (
		Record  = twill.JobRecord[int]
		Outcome = twill.Result[int]
		Event   = twill.DispatchEvent[int, int]
		all     struct {
			Record
			Outcome
			twill.DispatchStats
			twill.PoolStats
			twill.PoolerStats
			twill.GroupLimit
			twill.RetryEvent
			Event
			Own string
		}
	)
	for _, in := range []any{
		struct {
			Record
			Own string
		}{Own: "kept"}, struct {
			Outcome
			Own string
		}{Own: "kept"}, struct {
			twill.DispatchStats
			Own string
		}{Own: "kept"}, struct {
			twill.GroupLimit
			Own string
		}{Own: "kept"}, struct {
			Event
			Own string
		}{Own: "kept"}, all{Own: "kept"},
	} {
		text, err := json.Marshal(in)
		require.NoError(t, err)
		require.Contains(t, string(text), `"Own":"kept"`, "%T", in)
	}

	// Of the structs, only these have a method for JSON or text: to embed one
	// means to be one.
	require.Equal(t, []string{"Histogram", "Job"}, typesWith(t, "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText"))
}

// typesWith are the exported structs of the package that have one of some
// methods.
func typesWith(t *testing.T, methods ...string) (names []string) {
	files, err := filepath.Glob("../../../*.go")
	require.NoError(t, err)
	structs, have := map[string]bool{}, map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || strings.Contains(name, "go127") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if _, ok := n.Type.(*ast.StructType); ok {
					structs[n.Name.Name] = n.Name.IsExported()
				}
			case *ast.FuncDecl:
				if n.Recv != nil && slices.Contains(methods, n.Name.Name) {
					ast.Inspect(n.Recv.List[0].Type, func(n ast.Node) bool {
						if id, ok := n.(*ast.Ident); ok && !have[id.Name] {
							have[id.Name] = true
						}
						return true
					})
				}
				return false
			}
			return true
		})
	}
	for name := range have {
		if structs[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
