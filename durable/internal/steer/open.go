package steer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twillgo/twill/durable/internal/store"
)

// Opened is what Open returns.
type Opened struct {
	Doer

	// Found are the errors about what was found damaged or missing when the file
	// was opened; none if an owner has it, which has reported them.
	Found []error

	// Owner is the process that has the file open, 0 if this one has.
	Owner int

	store *store.Store
}

// Close closes the file if this process has it open.
func (o *Opened) Close() error {
	if o.store == nil {
		return nil
	}
	return o.store.Close()
}

// Open returns what carries out requests to the queue whose file is at path:
// its owner if a process has the file open, else a service on the file, which
// this process then owns. It waits for an owner that is yet to listen, or for
// another command, at most that long. So long may an owner give no sign of life
// later on, but at least two seconds. It does not make a file.
func Open(ctx context.Context, path string, wait time.Duration, waiting func(owner int)) (*Opened, error) {
	began := time.Now()
	for first := true; ; first = false {
		s, err := store.Open(path, store.Options{MustExist: true})
		if err == nil {
			return onFile(s)
		}
		if !errors.Is(err, store.ErrInUse) {
			return nil, err
		}
		owner, readErr := store.ReadOwner(path)
		switch {
		case readErr != nil:
			return nil, errors.Join(err, readErr)
		case owner.Address == store.Off:
			return nil, fmt.Errorf("%w, which does not listen, as its Options.NoListener says so", err)
		case owner.Address != "" && owner.Address != store.Tool:
			c := &client{owner, max(wait, minSilence)}
			conn, dialErr := c.dial(ctx)
			if dialErr == nil {
				conn.Close()
				return &Opened{Doer: c, Owner: owner.Process}, nil
			}
			err = fmt.Errorf("%w, which cannot be reached: %w", err, dialErr)
		}
		if time.Since(began) >= wait {
			return nil, err
		}
		if first && waiting != nil {
			waiting(owner.Process)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// onFile returns a service on a file.
func onFile(s *store.Store) (*Opened, error) {
	o := &Opened{store: s}
	o.Doer = &Service{Store: s, Queue: &fileQueue{s: s}}
	_ = s.Announce(store.Tool, "")
	damage, err := s.Load(func(store.Job) {})
	s.Start(nil, nil)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	for _, d := range damage {
		o.Found = append(o.Found, d.Err)
	}
	a := s.About()
	if a.Missing+a.Extra > 0 {
		o.Found = append(o.Found, fmt.Errorf("%w: %d jobs are missing that should be there, and %d are there that should not be", store.ErrDamaged, a.Missing, a.Extra))
	}
	if a.DroppedFrames > 0 {
		o.Found = append(o.Found, fmt.Errorf("%w: SQLite has dropped %d pages of the log, and %d transactions with them: what those wrote is lost", store.ErrDamaged, a.DroppedFrames, a.DroppedCommits))
	}
	return o, nil
}
