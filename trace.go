package twill

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"weak"

	"github.com/twillgo/twill/internal/settle"
)

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

func init() {
	settle.Trace = trace
	if os.Getenv("TWILLDEBUG") == "1" {
		SetDebug(true)
	}
}
