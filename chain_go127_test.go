//go:build go1.27

package twill_test

import (
	"errors"
	"strconv"
	"testing"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestFluentChain(t *testing.T) {
	f := twill.Resolved("20").
		Then(strconv.Atoi).
		ThenFuture(func(n int) *twill.Future[int] { return twill.Resolved(n + 1) }).
		Then(func(n int) (float64, error) { return float64(2 * n), nil })
	kit.AwaitValue(t, f, 42.0)

	fallback := twill.Resolved("many").
		Then(strconv.Atoi).
		Catch(func(error) (int, error) { return -1, nil })
	kit.AwaitValue(t, fallback, -1)
}

func TestFluentHandle(t *testing.T) {
	text := func(n int, err error) (string, error) {
		if err != nil {
			return "none", nil
		}
		return strconv.Itoa(n), nil
	}
	kit.AwaitValue(t, twill.Resolved(1).Handle(text), "1")
	kit.AwaitValue(t, twill.Rejected[int](kit.ErrBoom).Handle(text), "none")
	f := twill.Rejected[int](kit.ErrBoom).HandleFuture(func(_ int, err error) *twill.Future[string] {
		return twill.Rejected[string](errors.Join(err, kit.ErrFirst))
	})
	kit.AwaitError(t, f, kit.ErrBoom)
	kit.AwaitError(t, f, kit.ErrFirst)
}
