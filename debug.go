package twill

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"weak"

	"github.com/twillgo/twill/internal/settle"
)

// SetDebug turns debug mode on or off. While it is on, futures record where
// they were made, settled and cancelled; the format verb %+v shows that, and so does
// the report of an unhandled failure. It costs a few microseconds and some
// hundred bytes for each future. The environment variable TWILLDEBUG=1 turns it on from the start.
func SetDebug(on bool) { settle.Tracing.Store(on) }

func init() {
	settle.Trace = trace
	if os.Getenv("TWILLDEBUG") == "1" {
		SetDebug(true)
	}
}

// origins holds what is known of each core, by weak.Pointer[settle.Core].
var origins sync.Map

// origin is what debug mode knows of one future.
type origin struct {
	mu     sync.Mutex
	events []event // guarded by mu; each name at most once
}

type event struct {
	name  string
	stack []uintptr
}

func made(c *settle.Core) {
	if settle.Tracing.Load() {
		trace(c, "made")
	}
}

func trace(c *settle.Core, name string) {
	var pcs [32]uintptr
	stack := pcs[:runtime.Callers(3, pcs[:])]
	key := weak.Make(c)
	v, loaded := origins.LoadOrStore(key, &origin{})
	if !loaded {
		runtime.AddCleanup(c, func(key weak.Pointer[settle.Core]) { origins.Delete(key) }, key)
	}
	o := v.(*origin)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if e.name == name {
			return // the first time counts
		}
	}
	o.events = append(o.events, event{name, append([]uintptr(nil), stack...)})
}

func originOf(c *settle.Core) *origin {
	if v, ok := origins.Load(weak.Make(c)); ok {
		return v.(*origin)
	}
	return nil
}

// String lists the events with their stacks, leaving out this package's own
// frames.
func (o *origin) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var b strings.Builder
	for _, e := range o.events {
		fmt.Fprintf(&b, "%s at:\n", e.name)
		frames := runtime.CallersFrames(e.stack)
		for {
			f, more := frames.Next()
			if f.Function != "" && !ours(f) {
				fmt.Fprintf(&b, "\t%s\n\t\t%s:%d\n", f.Function, f.File, f.Line)
			}
			if !more {
				break
			}
		}
	}
	return b.String()
}

func ours(f runtime.Frame) bool {
	const path = "github.com/twillgo/twill"
	rest, ok := strings.CutPrefix(f.Function, path)
	return ok && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "/internal/settle.")) &&
		!strings.HasSuffix(f.File, "_test.go")
}

// tracedError is an unhandled error with its future's origin, which %+v shows.
type tracedError struct {
	error
	origin *origin
}

func (e *tracedError) Unwrap() error { return e.error }

// Format shows the origin for %+v.
func (e *tracedError) Format(s fmt.State, verb rune) {
	fmt.Fprint(s, e.Error())
	if verb == 'v' && s.Flag('+') {
		fmt.Fprintf(s, "\n%s", e.origin)
	}
}

// String says what f is: pending, its value, or its error. That does not take
// the error.
func (f *Future[T]) String() string {
	name := fmt.Sprintf("Future[%v]", reflect.TypeFor[T]())
	if !f.core.Settled() {
		return name + "(pending)"
	}
	if fail := f.core.Failure(); fail != nil {
		return fmt.Sprintf("%s(failed: %v)", name, fail.Err)
	}
	return fmt.Sprintf("%s(%v)", name, f.val)
}

// Format implements [fmt.Formatter]: String for every verb, and in debug mode
// the places where f was made, settled and cancelled for %+v.
func (f *Future[T]) Format(s fmt.State, verb rune) {
	fmt.Fprint(s, f.String())
	if verb == 'v' && s.Flag('+') {
		if o := originOf(&f.core); o != nil {
			fmt.Fprintf(s, "\n%s", o)
		}
	}
}
