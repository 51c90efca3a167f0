package twill

import (
	"fmt"
	"iter"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// The sequences of pauses are stateless iterators; the position belongs to the
// loop. One value therefore serves any number of concurrent calls, each of them
// from the start. [slices.Values] makes a sequence of a slice of pauses.
//
// The pauses are never negative. Sums and products that would overflow become
// the largest duration. A negative duration among the settings counts as 0.

// SimpleBackoff yields 0, then 10 milliseconds, doubled each time up to 2.56
// seconds: ten pauses, 5.11 seconds in all. It has no jitter; see
// [RetryOptions] for the default of [Retry]. It is the equivalent of the
// simpleBackoffIterator of txretry.
//
// txretry also pauses before the first attempt, for 0 seconds, and makes ten
// attempts. Here a sequence contains the pauses between attempts, and
// SimpleBackoff allows eleven attempts.
func SimpleBackoff() iter.Seq[time.Duration] { return simpleBackoff }

func simpleBackoff(yield func(time.Duration) bool) {
	if !yield(0) {
		return
	}
	for d := 10 * time.Millisecond; d <= 2560*time.Millisecond; d *= 2 {
		if !yield(d) {
			return
		}
	}
}

// ConstantBackoff yields d, without end.
func ConstantBackoff(d time.Duration) iter.Seq[time.Duration] { return LinearBackoff(d, 0) }

// LinearBackoff yields first, first+step, first+2*step and so on, without end.
// With a negative step it falls to 0 and stays there.
func LinearBackoff(first, step time.Duration) iter.Seq[time.Duration] {
	first = max(first, 0)
	return func(yield func(time.Duration) bool) {
		for d := first; yield(d); {
			if step > math.MaxInt64-d {
				d = math.MaxInt64
			} else {
				d = max(d+step, 0)
			}
		}
	}
}

// ExponentialBackoff yields first, first*factor, first*factor*factor and so on,
// without end. A factor that is not a number above 0 counts as 1. Add jitter
// with [FullJitter] or [EqualJitter], so that clients that failed together do
// not return together.
func ExponentialBackoff(first time.Duration, factor float64) iter.Seq[time.Duration] {
	first = max(first, 0)
	if !(factor > 0) {
		factor = 1
	}
	factor = min(factor, math.MaxFloat64) // 0 times infinity is not a number
	return func(yield func(time.Duration) bool) {
		// Not rounded between the steps, so that half a nanosecond counts.
		const limit = 1 << 63
		for d := float64(first); d < limit; d *= factor {
			if !yield(time.Duration(d)) {
				return
			}
		}
		for yield(math.MaxInt64) {
		}
	}
}

// LimitBackoff yields the first n pauses of seq, or all of them if there are
// fewer, so that n is the number of retries: LimitBackoff(seq, 0) allows only
// the first attempt.
func LimitBackoff(seq iter.Seq[time.Duration], n int) iter.Seq[time.Duration] {
	if seq == nil {
		panic("twill: LimitBackoff of a nil sequence")
	}
	return func(yield func(time.Duration) bool) {
		if n <= 0 {
			return
		}
		left := n
		for d := range seq {
			if left--; !yield(max(d, 0)) || left == 0 {
				return
			}
		}
	}
}

// CapBackoff yields the pauses of seq, each at most limit. Apply jitter last,
// as in FullJitter(CapBackoff(seq, limit)): a cap after the jitter would
// collapse all long pauses to the same value.
func CapBackoff(seq iter.Seq[time.Duration], limit time.Duration) iter.Seq[time.Duration] {
	if seq == nil {
		panic("twill: CapBackoff of a nil sequence")
	}
	limit = max(limit, 0)
	return func(yield func(time.Duration) bool) {
		for d := range seq {
			if !yield(min(max(d, 0), limit)) {
				return
			}
		}
	}
}

// FullJitter yields, for each pause of seq, a random pause from 0 to that
// pause, uniformly distributed. It spreads clients that failed at the same
// moment as widely as possible.
func FullJitter(seq iter.Seq[time.Duration]) iter.Seq[time.Duration] {
	if seq == nil {
		panic("twill: FullJitter of a nil sequence")
	}
	return func(yield func(time.Duration) bool) {
		for d := range seq {
			if !yield(between(0, max(d, 0))) {
				return
			}
		}
	}
}

// EqualJitter yields, for each pause of seq, a random pause from half of that
// pause to the whole, uniformly distributed. A pause above 0 stays above 0.
func EqualJitter(seq iter.Seq[time.Duration]) iter.Seq[time.Duration] {
	if seq == nil {
		panic("twill: EqualJitter of a nil sequence")
	}
	return func(yield func(time.Duration) bool) {
		for d := range seq {
			d = max(d, 0)
			if !yield(between(d-d/2, d)) {
				return
			}
		}
	}
}

// DecorrelatedJitter yields pauses that grow at random, without end: each is
// from first to three times the previous one, uniformly distributed, and at
// most limit. The limit applies before the draw, so that pauses are still
// spread after they have reached it. If first is 0, all pauses are 0.
func DecorrelatedJitter(first, limit time.Duration) iter.Seq[time.Duration] {
	limit = max(limit, 0)
	first = min(max(first, 0), limit)
	return func(yield func(time.Duration) bool) {
		for d := first; ; {
			to := limit
			if d <= limit/3 {
				to = max(3*d, first)
			}
			if d = between(first, to); !yield(d) {
				return
			}
		}
	}
}

// between returns a random duration from low to high, inclusive. Neither may be
// negative.
func between(low, high time.Duration) time.Duration {
	return low + time.Duration(rand.Uint64N(uint64(high-low)+1))
}

// Budget limits the load that retries and hedges add to a server in trouble,
// over all calls that share the Budget. Unlike a rate limiter it does not count
// time: calls that succeed pay for calls that are repeated. It is the token
// bucket of gRPC's retry throttling (proposal A6).
//
// The bucket starts full. Each failed attempt that might be repeated takes one
// token, if there is one, and each success returns a fraction of a token, the
// ratio. A retry is made only if more than half of the tokens remain. Therefore
// n calls make at most n*ratio retries and, once, half of the tokens more; a
// server that answers no call receives at most that half. A function that a
// [Race] starts after the first one takes a token too.
//
// A token taken for a retry that is not made, because the call was canceled or
// panicked, is returned.
//
// The zero value is the same as NewBudget(100, 0.1). A Budget must not be
// copied after first use. It may be used concurrently.
type Budget struct {
	tokens, ratio int64        // in millionths; 0 in the zero value
	missing       atomic.Int64 // from 0 to tokens, in millionths
}

// The units of a budget.
const (
	oneToken     = 1_000_000
	maxTokens    = math.MaxInt64 / oneToken / 4
	zeroTokens   = 100 * oneToken
	zeroPerToken = oneToken / 10
)

// NewBudget returns a full bucket with the given number of tokens, to which
// each success returns ratio tokens: a ratio of 0.1 allows one retry for ten
// successes. It panics if tokens is less than 3, as no retry could be made, or
// if ratio is not a number above 0. Very large values count as the largest that
// can be represented, 2 million million tokens.
func NewBudget(tokens int, ratio float64) *Budget {
	if tokens < 3 {
		panic(fmt.Sprintf("twill: NewBudget with %d tokens", tokens))
	}
	if !(ratio > 0) {
		panic(fmt.Sprintf("twill: NewBudget with a ratio of %v", ratio))
	}
	size := min(int64(tokens), maxTokens)
	ratio = min(ratio, float64(size))
	return &Budget{tokens: size * oneToken, ratio: max(1, int64(ratio*oneToken))}
}

// Tokens returns the number of tokens in the bucket.
func (b *Budget) Tokens() float64 {
	return float64(b.size()-b.missing.Load()) / oneToken
}

// String returns the type, and how many tokens are left.
func (b *Budget) String() string {
	return printed("Budget", fmt.Sprintf("%.3g tokens", b.Tokens()))
}

// GoString returns the text of String, for %#v.
func (b *Budget) GoString() string { return b.String() }

// LogValue returns the text of String, for package slog.
func (b *Budget) LogValue() slog.Value { return slog.StringValue(b.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (b *Budget) Format(s fmt.State, verb rune) { formatText(s, verb, b.String()) }

func (b *Budget) size() int64 {
	if b.tokens == 0 {
		return zeroTokens
	}
	return b.tokens
}

// fail takes a token for a failed attempt, and reports whether the attempt may
// be repeated.
func (b *Budget) fail() bool {
	size := b.size()
	for {
		was := b.missing.Load()
		is := min(was+oneToken, size)
		if b.missing.CompareAndSwap(was, is) {
			return 2*is < size
		}
	}
}

// allow takes a token for an additional attempt, if more than half of the
// tokens remain afterwards, and reports whether it did.
func (b *Budget) allow() bool {
	size := b.size()
	for {
		was := b.missing.Load()
		if 2*(was+oneToken) >= size {
			return false
		}
		if b.missing.CompareAndSwap(was, was+oneToken) {
			return true
		}
	}
}

// refund returns a token that fail or allow has taken and that was not used.
func (b *Budget) refund() { b.put(oneToken) }

// earn adds the ratio after a success.
func (b *Budget) earn() {
	if b.tokens == 0 {
		b.put(zeroPerToken)
	} else {
		b.put(b.ratio)
	}
}

func (b *Budget) put(n int64) {
	for {
		was := b.missing.Load()
		if was == 0 || b.missing.CompareAndSwap(was, max(was-n, 0)) {
			return
		}
	}
}

// lookahead reads a sequence in portions without [iter.Pull], whose coroutine
// would exist during all pauses, and would remain if a call is dropped:
// lookahead iterates again and skips what it has read. The first 32 elements
// are read one at a time, later elements in batches of a sixteenth of those
// before, so that n elements cost less than 20*n steps.
type lookahead struct {
	delays []time.Duration // elements that were read and not used yet
	read   int             // number of elements read
	done   bool            // the sequence has ended
}

func (l *lookahead) next(seq iter.Seq[time.Duration]) (time.Duration, bool) {
	if len(l.delays) == 0 && !l.done {
		l.readNext(seq)
	}
	if len(l.delays) == 0 {
		return 0, false
	}
	d := l.delays[0]
	l.delays = l.delays[1:]
	return d, true
}

func (l *lookahead) readNext(seq iter.Seq[time.Duration]) {
	skip, n := l.read, min(max(l.read/16, 1), 4096)
	l.delays = slices.Grow(l.delays[:0], n)
	l.done = true
	for d := range seq {
		if skip > 0 {
			skip--
			continue
		}
		if l.delays = append(l.delays, d); len(l.delays) == n {
			l.done = false
			break
		}
	}
	l.read += len(l.delays)
}
