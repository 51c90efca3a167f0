package jetstream

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"
)

// check returns an error that names what is wrong with c.
func (c rateConfig) check() error {
	switch {
	case !(c.PerSecond >= 0) || math.IsInf(c.PerSecond, 0):
		return errors.New("jetstream: SetRate: rate must be a finite number and not negative")
	case c.Burst < 0:
		return errors.New("jetstream: SetRate: burst must not be negative")
	}
	return nil
}

// rateLimit is the limiter of a scheduler: a bucket that fills with PerSecond
// tokens a second up to Burst, of which each call takes one.
type rateLimit struct {
	mu     sync.Mutex // guards the fields below
	rate   float64    // 0 until it is set
	burst  float64
	tokens float64 // negative while a call waits
	at     time.Time
	full   bool // it begins with all tokens
}

func newRateLimit(full bool) *rateLimit { return &rateLimit{full: full} }

// set changes the limit. Tokens that there are stay.
func (l *rateLimit) set(c rateConfig) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fillLocked()
	l.rate, l.burst = c.PerSecond, float64(max(c.Burst, 1))
	if l.full {
		l.tokens, l.full = l.burst, false
	}
	l.tokens = min(l.tokens, l.burst)
}

func (l *rateLimit) fillLocked() {
	now := time.Now()
	if l.rate > 0 {
		l.tokens = min(l.tokens+now.Sub(l.at).Seconds()*l.rate, l.burst)
	}
	l.at = now
}

// Wait implements [twill.Limiter]. The root's queue makes one call at a time.
func (l *rateLimit) Wait(ctx context.Context) error {
	l.mu.Lock()
	l.fillLocked()
	l.tokens--
	wait := time.Duration(-l.tokens / l.rate * float64(time.Second))
	l.mu.Unlock()
	if wait <= 0 || sleep(ctx, wait) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens++
	return context.Cause(ctx)
}
