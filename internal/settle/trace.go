package settle

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"weak"
)

// Tracing turns debug mode on: cores record where they were made, settled and
// canceled.
var Tracing atomic.Bool

// origins has what was recorded about each core.
var origins sync.Map // of weak.Pointer[Core] to *Origin

// Origin is what debug mode has recorded about one core.
type Origin struct {
	mu     sync.Mutex
	events []event // guarded by mu; each name at most once
}

type event struct {
	name  string
	stack []uintptr
}

// Made records, in debug mode, where c was made.
func Made(c *Core) {
	if Tracing.Load() {
		trace(c, "made")
	}
}

// OriginOf returns what was recorded about c, or nil.
func OriginOf(c *Core) *Origin {
	if v, ok := origins.Load(weak.Make(c)); ok {
		return v.(*Origin)
	}
	return nil
}

// String lists the events with their stacks, without this package's frames and
// those of the root package.
func (o *Origin) String() string {
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

// trace records the stack of the first event with the given name. It must be
// called without the lock of c.
func trace(c *Core, name string) {
	var pcs [32]uintptr
	stack := pcs[:runtime.Callers(3, pcs[:])]
	key := weak.Make(c)
	v, loaded := origins.LoadOrStore(key, &Origin{})
	if !loaded {
		runtime.AddCleanup(c, func(key weak.Pointer[Core]) { origins.Delete(key) }, key)
	}
	o := v.(*Origin)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if e.name == name {
			return
		}
	}
	o.events = append(o.events, event{name, append([]uintptr(nil), stack...)})
}

func ours(f runtime.Frame) bool {
	const path = "github.com/twillgo/twill"
	rest, ok := strings.CutPrefix(f.Function, path)
	return ok && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "/internal/settle.")) &&
		!strings.HasSuffix(f.File, "_test.go")
}
