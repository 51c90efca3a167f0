package twill

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// This file has the sequences of pauses, jitter.go those with chance in them.
//
// Each is a plain iterator that holds its settings and nothing else: where it
// is lies in the loop that runs over it. So one value serves any number of calls at
// the same time, and each of them from the start.
//
// What they yield is never negative: sums and products that would be too large
// end at the largest duration. A negative duration among the settings counts
// as 0.

// SimpleBackoff is the sequence of the recipe: 0, and then 10 milliseconds,
// doubled each time up to 2.56 seconds. These are ten pauses, 5.11 seconds in
// all. It mirrors simpleBackoffIterator.
//
// The recipe makes a pause before the first attempt too, which is 0 there, and so
// comes to ten attempts; here a sequence gives the pauses between attempts, and
// SimpleBackoff allows eleven.
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

// Constant yields d for ever.
func Constant(d time.Duration) iter.Seq[time.Duration] { return Linear(d, 0) }

// Linear yields first, first+step, first+2*step and so on, for ever. With a
// negative step it comes down to 0 and stays there.
func Linear(first, step time.Duration) iter.Seq[time.Duration] {
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

// Exponential yields first, first*factor, first*factor*factor and so on, for
// ever. A factor that is not a number above 0 counts as 1.
func Exponential(first time.Duration, factor float64) iter.Seq[time.Duration] {
	first = max(first, 0)
	if !(factor > 0) {
		factor = 1
	}
	factor = min(factor, math.MaxFloat64) // 0 times infinity is not a number
	return func(yield func(time.Duration) bool) {
		// Not rounded between the steps: half of a nanosecond counts too.
		const most = 1 << 63
		for d := float64(first); d < most; d *= factor {
			if !yield(time.Duration(d)) {
				return
			}
		}
		for yield(math.MaxInt64) {
		}
	}
}

// FromSlice yields the delays, in their order.
func FromSlice(delays ...time.Duration) iter.Seq[time.Duration] {
	delays = slices.Clone(delays)
	return func(yield func(time.Duration) bool) {
		for _, d := range delays {
			if !yield(max(d, 0)) {
				return
			}
		}
	}
}

// Limit yields the first n of seq, or all if there are fewer. With it, n is the
// number of retries: Limit(seq, 0) leaves the first attempt alone.
func Limit(seq iter.Seq[time.Duration], n int) iter.Seq[time.Duration] {
	if seq == nil {
		panic("twill: Limit of a nil sequence")
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

// Cap yields seq with each delay that is above most replaced by that. Jitter
// belongs outside, FullJitter(Cap(seq, most)): a cap around jitter turns what is
// above it to the same value, which is the end of the jitter.
func Cap(seq iter.Seq[time.Duration], most time.Duration) iter.Seq[time.Duration] {
	if seq == nil {
		panic("twill: Cap of a nil sequence")
	}
	most = max(most, 0)
	return func(yield func(time.Duration) bool) {
		for d := range seq {
			if !yield(min(max(d, 0), most)) {
				return
			}
		}
	}
}

// FullJitter yields, for each delay of seq, one between 0 and that, all equally
// likely: the best spread of clients that failed at the same moment.
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

// EqualJitter yields, for each delay of seq, one between its half and the whole,
// all equally likely: it never comes back at once.
func EqualJitter(seq iter.Seq[time.Duration]) iter.Seq[time.Duration] {
	if seq == nil {
		panic("twill: EqualJitter of a nil sequence")
	}
	return func(yield func(time.Duration) bool) {
		for d := range seq {
			d = max(d, 0)
			if !yield(between(d/2, d)) {
				return
			}
		}
	}
}

// DecorrelatedJitter yields, for ever, delays that grow by chance: each is
// between first and three times the one before, all equally likely, and at most
// most. The bound is applied before the draw, so that the delays are still
// spread when they have come to it. With a first of 0 they are all 0.
func DecorrelatedJitter(first, most time.Duration) iter.Seq[time.Duration] {
	most = max(most, 0)
	first = min(max(first, 0), most)
	return func(yield func(time.Duration) bool) {
		for d := first; ; {
			to := most
			if d <= most/3 {
				to = max(3*d, first)
			}
			if d = between(first, to); !yield(d) {
				return
			}
		}
	}
}

// between draws a duration from low to high, both included and not negative.
func between(low, high time.Duration) time.Duration {
	return low + time.Duration(rand.Uint64N(uint64(high-low)+1))
}

// Budget bounds what retries and hedges add to the load of a server that is in
// trouble, over all the calls that share it. Unlike a rate limiter it does not
// count time: calls that succeed pay for those that are repeated. It is the
// token bucket of gRPC's retry throttling (proposal A6).
//
// The bucket is full at first. Each failed attempt that might be repeated takes
// one token, as long as there are any, and each success brings back a fraction
// of one, the ratio. A retry is made only if more than half of the tokens remain.
// So n calls make at most n*ratio retries and, once, half of the tokens more; a
// server that answers nothing gets no more than that half. A hedge takes a token
// too.
//
// No token gets lost: when a call is cancelled before the retry for which it took
// one is made, or it panics before or in that retry, the token is given back.
//
// The zero value is NewBudget(100, 0.1). A Budget must not be copied after
// first use. It may be used by several goroutines.
type Budget struct {
	tokens, ratio int64        // in millionths, 0 for those of the zero value; not changed after NewBudget
	missing       atomic.Int64 // from 0 to tokens, in millionths
}

// The units of a budget.
const (
	oneToken     = 1_000_000
	maxTokens    = math.MaxInt64 / oneToken / 4
	zeroTokens   = 100 * oneToken
	zeroPerToken = oneToken / 10
)

// NewBudget returns a full bucket of so many tokens, to which each success
// returns ratio tokens: 0.1 allows one retry for ten successes. It panics if
// there are fewer than 3 tokens, as no retry could be made, or ratio is not a
// number above 0.
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

// Tokens returns the number of tokens that are there.
func (b *Budget) Tokens() float64 {
	return float64(b.size()-b.missing.Load()) / oneToken
}

func (b *Budget) size() int64 {
	if b.tokens == 0 {
		return zeroTokens
	}
	return b.tokens
}

// fail takes a token for a failed attempt, and reports whether it may be
// repeated.
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

// allow takes a token for an attempt that is to be made beside others, if that
// leaves more than half.
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

// refund gives a token back that fail or allow took when they reported true.
func (b *Budget) refund() { b.put(oneToken) }

// earn returns what a success earns.
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

// lookahead reads a sequence bit by bit without the goroutine that [iter.Pull]
// would hold through all pauses, and leave behind in a call that is dropped:
// it iterates anew and skips what it has had. It reads as much again each time, up to
// a bound, so that this is seldom.
type lookahead struct {
	delays []time.Duration // read and not used yet
	had    int             // read
	done   bool            // there are no more
}

func (l *lookahead) next(seq iter.Seq[time.Duration]) (time.Duration, bool) {
	if len(l.delays) == 0 && !l.done {
		l.read(seq)
	}
	if len(l.delays) == 0 {
		return 0, false
	}
	d := l.delays[0]
	l.delays = l.delays[1:]
	return d, true
}

// read reads the next delays.
func (l *lookahead) read(seq iter.Seq[time.Duration]) {
	skip, n := l.had, min(max(l.had, 16), 4096)
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
	l.had += len(l.delays)
}
