//go:build suites

package conformance_test

import (
	"os"
	"testing"

	"github.com/twillgo/twill"
)

// Many tests drop failures on purpose. Tests of unhandled failures set their
// own function.
func TestMain(m *testing.M) {
	twill.OnUnhandled(nil)
	os.Exit(m.Run())
}
