//go:build go1.27

package twill_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/twillgo/twill"
)

func TestFluentChain(t *testing.T) {
	f := twill.Resolved("20").
		Then(strconv.Atoi).
		ThenFuture(func(n int) *twill.Future[int] { return twill.Resolved(n + 1) }).
		Then(func(n int) (float64, error) { return float64(2 * n), nil })
	awaitValue(t, f, 42.0)

	fallback := twill.Resolved("many").
		Then(strconv.Atoi).
		Catch(func(error) (int, error) { return -1, nil })
	awaitValue(t, fallback, -1)
}

func TestFluentHandle(t *testing.T) {
	text := func(n int, err error) (string, error) {
		if err != nil {
			return "none", nil
		}
		return strconv.Itoa(n), nil
	}
	awaitValue(t, twill.Resolved(1).Handle(text), "1")
	awaitValue(t, twill.Rejected[int](errBoom).Handle(text), "none")
	f := twill.Rejected[int](errBoom).HandleFuture(func(_ int, err error) *twill.Future[string] {
		return twill.Rejected[string](errors.Join(err, errFirst))
	})
	awaitError(t, f, errBoom)
	awaitError(t, f, errFirst)
}
