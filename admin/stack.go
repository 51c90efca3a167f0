package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"sync"
	"time"
)

// The bounds of a search for goroutines.
const (
	maxStack      = 256 << 10 // bytes of the stacks of one job
	stackInterval = time.Second
)

var errStackBusy = errors.New("admin: a goroutine profile was taken less than a second ago; try again")

// profiles limits how often a profile of the process is taken: a profile of
// 100,000 goroutines stops the program for some tenths of a second.
var profiles struct {
	sync.Mutex
	last time.Time
}

// stacksOf returns the stacks of the goroutines with the label of job id.
func stacksOf(ctx context.Context, id string) (string, error) {
	profiles.Lock()
	defer profiles.Unlock()
	if wait := stackInterval - time.Since(profiles.last); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return "", errStackBusy
		}
	}
	if ctx.Err() != nil {
		return "", errStackBusy
	}
	defer func() { profiles.last = time.Now() }()
	f := &stackFilter{want: fmt.Appendf(nil, "%q:%q", jobLabel, id)}
	if err := pprof.Lookup("goroutine").WriteTo(f, 1); err != nil {
		return "", err
	}
	f.end()
	if f.out.Len() == 0 {
		return "", errors.New("admin: no goroutine of this job was found: it was started before stacks were turned on, runs in another process, or has ended")
	}
	return f.out.String(), nil
}

// stackFilter reads the text form of a goroutine profile and keeps the groups
// with the wanted label.
type stackFilter struct {
	want  []byte
	line  []byte // an incomplete line
	group bytes.Buffer
	keep  bool
	out   bytes.Buffer
}

func (f *stackFilter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			f.line = append(f.line, p...)
			break
		}
		f.line = append(f.line, p[:i]...)
		f.add(f.line)
		f.line, p = f.line[:0], p[i+1:]
	}
	return n, nil
}

func (f *stackFilter) add(line []byte) {
	if len(line) == 0 {
		f.end()
		return
	}
	if bytes.HasPrefix(line, []byte("# labels:")) && bytes.Contains(line, f.want) {
		f.keep = true
	}
	if f.group.Len() < maxStack {
		f.group.Write(line)
		f.group.WriteByte('\n')
	}
}

// end ends a group.
func (f *stackFilter) end() {
	if f.keep && f.out.Len()+f.group.Len() < maxStack {
		f.out.Write(f.group.Bytes())
		f.out.WriteByte('\n')
	}
	f.group.Reset()
	f.keep = false
}
