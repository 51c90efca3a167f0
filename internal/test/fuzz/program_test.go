//go:build suites

package fuzz_test

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/twillgo/twill"
)

// A fuzzed program is a list of ops on numbered futures; the meaning of a
// number is determined when the op is run. Handlers and cancelers have their
// own ops, which they run before they return.
type fuzzOp struct {
	kind    fuzzKind
	f, g    int // futures, or promises
	v       int
	members []int
	h       *fuzzHandler
}

type fuzzKind byte

const (
	opNew fuzzKind = iota
	opResolve
	opReject
	opCancel
	opThen
	opCatch
	opHandle
	opFinally
	opTap
	opThenFuture
	opCatchFuture
	opHandleFuture
	opFollow
	opOnCancel
	opList
	opShield
	opVia
	opWork
	opTimeout
	opWatch
	opResolved
	opRejected
	opKinds
)

// fuzzHandler is a handler or a canceler.
type fuzzHandler struct {
	id    int
	does  byte // fuzzDoes
	v     int
	inner int
	ops   []*fuzzOp
}

// The result of a handler.
const (
	doesPass   = iota // its argument
	doesAdd           // its argument plus one
	doesValue         // its own value
	doesError         // an error
	doesPanic         //
	doesNil           // a nil future
	doesFuture        // a future
	doesKinds
)

// The kinds of lists.
const (
	listAll = iota
	listAny
	listFirst
	listSettled
	listFlags // and the following values, for each combination of flags
	listKinds = listFlags + 8
)

// fuzzError is an error of a program, one of a few.
type fuzzError int

func (e fuzzError) Error() string { return fmt.Sprintf("e%d", int(e)) }

const (
	fuzzMaxOps   = 60
	fuzzMaxDepth = 3
)

// fuzzParser makes a program of any bytes: missing bytes are 0.
type fuzzParser struct {
	data []byte
	ops  int
	ids  int
}

func parseFuzz(data []byte) (ops []*fuzzOp) {
	p := &fuzzParser{data: data}
	for len(p.data) > 0 && p.ops < fuzzMaxOps {
		ops = append(ops, p.op(0))
	}
	return ops
}

func (p *fuzzParser) next() int {
	if len(p.data) == 0 {
		return 0
	}
	b := p.data[0]
	p.data = p.data[1:]
	return int(b)
}

func (p *fuzzParser) op(depth int) *fuzzOp {
	p.ops++
	op := &fuzzOp{kind: fuzzKind(p.next()) % opKinds}
	switch op.kind {
	case opNew, opWork:
		return op
	}
	op.f = p.next()
	switch op.kind {
	case opResolve, opReject, opCancel, opResolved, opRejected:
		op.v = p.next() % 8
	case opFollow:
		op.g = p.next()
	case opVia:
		op.v = p.next() % 3
	case opList:
		op.v = p.next() % listKinds
		for range p.next() % 4 {
			op.members = append(op.members, p.next())
		}
	case opShield, opTimeout, opWatch:
	default:
		op.h = p.handler(depth)
	}
	return op
}

func (p *fuzzParser) handler(depth int) *fuzzHandler {
	p.ids++
	b := p.next()
	h := &fuzzHandler{id: p.ids, does: byte(b % doesKinds), v: b / doesKinds % 8}
	if h.does == doesFuture {
		h.inner = p.next()
	}
	if depth < fuzzMaxDepth && p.ops < fuzzMaxOps && b >= 128 {
		for range 1 + b/64%2 {
			h.ops = append(h.ops, p.op(depth+1))
		}
	}
	return h
}

// fuzzText describes an error by its parts.
func fuzzText(err error) string {
	switch e := err.(type) {
	case nil:
		return "-"
	case *twill.CanceledError:
		return "canceled(" + fuzzText(e.Cause) + ")"
	case *twill.PanicError:
		return fmt.Sprintf("panic(%v)", e.Value)
	case *twill.TimeoutError:
		return "timeout"
	case *twill.IndexError:
		return fmt.Sprintf("%d:%s", e.Index, fuzzText(e.Err))
	case interface{ Unwrap() []error }: // including that of Any
		return "[" + strings.Join(fuzzLeaves(e), "+") + "]"
	}
	if err := errors.Unwrap(err); err != nil {
		return "wrapped(" + fuzzText(err) + ")"
	}
	return err.Error()
}

// fuzzLeaves returns the errors that were joined, in any number of steps.
func fuzzLeaves(joined interface{ Unwrap() []error }) (leaves []string) {
	for _, err := range joined.Unwrap() {
		if more, ok := err.(interface{ Unwrap() []error }); ok {
			leaves = append(leaves, fuzzLeaves(more)...)
		} else {
			leaves = append(leaves, fuzzText(err))
		}
	}
	return leaves
}

// fuzzSum makes a number of a list's results, so that all futures are futures
// of ints.
func fuzzSum(rs []twill.Result[int]) int {
	sum := fnv.New32a()
	for _, r := range rs {
		fmt.Fprintf(sum, "%d %s,", r.Value, fuzzText(r.Err))
	}
	return int(sum.Sum32() % 1000)
}
