package conformance_test

import (
	"os"
	"testing"

	"github.com/twillgo/twill"
)

// Many tests drop failures on purpose; those about unhandled ones set a
// function of their own.
func TestMain(m *testing.M) {
	twill.OnUnhandled(nil)
	os.Exit(m.Run())
}
