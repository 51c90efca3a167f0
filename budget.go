package twill

import (
	"fmt"
	"math"
	"sync/atomic"
)

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
