package twill_test

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/twillgo/twill"
)

// fuzzText says what an error is, by what it is made of.
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
	case interface{ Unwrap() []error }: // also that of Any
		return "[" + strings.Join(fuzzLeaves(e), "+") + "]"
	}
	if err := errors.Unwrap(err); err != nil {
		return "wrapped(" + fuzzText(err) + ")"
	}
	return err.Error()
}

// fuzzLeaves is what errors were joined, in however many steps.
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

// fuzzSum makes a number of a list's results, so that all futures are of ints.
func fuzzSum(rs []twill.Result[int]) int {
	sum := fnv.New32a()
	for _, r := range rs {
		fmt.Fprintf(sum, "%d %s,", r.Value, fuzzText(r.Err))
	}
	return int(sum.Sum32() % 1000)
}
